"""A guide behind a vLLM server that gives every token's hidden state.

    vllm serve MODEL --runner pooling --convert embed --pooler-config '{"task": "token_embed", "use_activation": false}'

The tokenizer and the image processor of the same model are needed here too: the server does not say which of its tokens are pictures.

Tried for real with vLLM 0.32.0 on a CPU in float32 and an untrained network of the embedded model's size: the embeddings agree with those
of `QwenGuide` to 4e-6. Not tried: a GPU, half precision, published models of billions of parameters.
"""

from __future__ import annotations

import base64
import binascii
import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request

import numpy as np
import torch
from torch import Tensor

from conservator.restorers.addresses import opener, server_address
from conservator.restorers.errors import BackendMissingError
from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.guides.form import SHIPPED, Form, Memory, turns
from conservator.restorers.guides.views import Pixels, Views

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ServedGuide"]

_CONNECT_S: Final = 5.0
_MOST_BYTES: Final = 1 << 28
_START: Final = "start one with `vllm serve MODEL --runner pooling`"


class ServedGuide:
    """Asks a server; the same embeddings as the same model's in this process, but for the server's precision.

    Attributes:
        width: D of the embeddings.
        form: how the model is asked.
        url: of the server, without `/v1`.
        model: the name to ask for.
    """

    def __init__(
        self,
        url: str,
        processor: str | Path = SHIPPED,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        views: Views | None = None,
        allow_download: bool = False,
    ) -> None:
        """Ask the server whether it is there.

        Args:
            url: of the server, with or without `/v1`.
            processor: directory or hub id with the tokenizer and the image processor of the model that it serves.
            api_key: None where the server wants none.
            timeout_s: of one picture.
            views: see `QwenGuide`.
            allow_download: fetch a processor that is not in the cache.

        Raises:
            UsageError: the address is none.
            BackendMissingError: nothing answers there, it refuses the key, or the processor is not on this machine.
            WeightsError: the processor is damaged or of another architecture.
        """
        self.url = _root(url)
        self.form = Form(processor, views=views, allow_download=allow_download)
        self.width = self.form.width
        self.memory = Memory()
        self._key, self._timeout_s = api_key, timeout_s
        listed = self._answered("/v1/models", None, _CONNECT_S)
        try:
            self.model = str(listed["data"][0]["id"])
        except (KeyError, IndexError, TypeError) as error:
            raise BackendMissingError(
                f"what answers at {self.url} serves no model; {_START}"
            ) from error

    def embed(self, image: Tensor, text: str) -> GuideEmbeddings:
        """Embed a prompt about each of (B, 3, H, W), [0, 1]; on the CPU.

        Raises:
            BackendMissingError: the server is gone, refuses, or serves another model than the processor's.
            TimeoutError: it took too long.
        """
        return self.memory.embed(image, text, self._looked)

    def _looked(self, pixels: Pixels, text: str) -> GuideEmbeddings:
        asked = self.form.ask(pixels, text)
        messages, answer = turns(text, len(asked.pictures))
        messages[1]["content"] = [
            *({"type": "image_url", "image_url": {"url": _coded(p)}} for p in asked.pictures),
            messages[1]["content"][-1],
        ]
        if answer:
            messages.append({"role": "assistant", "content": answer})
        request = {
            "model": self.model,
            "messages": messages,
            "task": "token_embed",
            "use_activation": False,
            "add_generation_prompt": not answer,
            "continue_final_message": bool(answer),
            "encoding_format": "base64",
            "embed_dtype": "float32",
            "endianness": "little",
        }
        told = self._answered("/pooling", request, self._timeout_s)
        ids = asked.inputs["input_ids"][0]
        hidden = self._hidden(told, len(ids))
        return self.form.taken(hidden, ids, asked.counts)

    def _hidden(self, told: Any, tokens: int) -> Tensor:
        """Hidden states (T, D) out of an answer."""
        try:
            raw = base64.b64decode(told["data"][0]["data"], validate=True)
            numbers = np.frombuffer(raw, "<f4")
        except (KeyError, IndexError, TypeError, ValueError, binascii.Error) as error:
            raise BackendMissingError(
                f"the server at {self.url} gives no hidden states; {_START} and the task token_embed"
            ) from error
        if numbers.size != tokens * self.width or not np.isfinite(numbers).all():
            raise BackendMissingError(
                f"the server at {self.url} gives {numbers.size} numbers for {tokens} tokens of width {self.width}; "
                "let it serve the model that the tokenizer here belongs to, with the task token_embed"
            )
        return torch.from_numpy(numbers.copy()).view(tokens, self.width)

    def _answered(self, path: str, request: Any, timeout_s: float) -> Any:
        """JSON from the server; a request is posted."""
        headers = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
        body = None
        if request is not None:
            body = json.dumps(request).encode()
            headers["Content-Type"] = "application/json"
        try:
            asked = Request(self.url + path, body, headers)
            with opener(self.url).open(asked, timeout=timeout_s) as got:
                return json.loads(got.read(_MOST_BYTES))
        except HTTPError as error:
            if error.code in (401, 403):
                raise BackendMissingError(
                    f"the server at {self.url} refuses the key; give another one"
                ) from error
            raise BackendMissingError(
                f"the server at {self.url} answers {error.code} to {path}{_said(error)}; {_START}"
            ) from error
        except TimeoutError as error:
            raise TimeoutError(f"no embeddings from {self.url} within {timeout_s:g} s") from error
        except ValueError as error:
            raise BackendMissingError(f"what answers at {self.url} is no vLLM; {_START}") from error
        except OSError as error:
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(reason, TimeoutError):
                raise TimeoutError(
                    f"no embeddings from {self.url} within {timeout_s:g} s"
                ) from error
            raise BackendMissingError(
                f"no guide answers at {self.url} ({reason}); {_START}"
            ) from error


def _root(url: str) -> str:
    parts = server_address(url)
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _said(error: HTTPError) -> str:
    """The server's own words, on one line."""
    try:
        told = json.loads(error.read(1 << 16))
        words = told.get("error", told).get("message", "")
    except (OSError, ValueError, AttributeError):
        return ""
    return f" ({' '.join(str(words).split())[:160]})" if words else ""


def _coded(picture: Image) -> str:
    stream = BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
