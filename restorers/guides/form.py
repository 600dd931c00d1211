"""What a guide is asked, in its model's own tokens, and which of its hidden states are the embeddings.

The model is asked as it is in `conservator.agent`: the system text, the views of the picture, MoFE-IR's question; where the prompt
carries an answer, the model's own turn begins with it. What counts are the hidden states behind the last decoder layer's norm.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from conservator.restorers.errors import BackendMissingError, WeightsError
from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.guides.views import COMPACT, FULL, Pixels, Views, seen
from conservator.restorers.layers.qwen import processor_of
from conservator.restorers.prompts.mofe import QUESTION
from conservator.restorers.weights import PACKAGED

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SHIPPED", "Asked", "Form", "Memory", "explained", "system_text", "turns"]

SHIPPED: Final = PACKAGED.parent / "agent" / "vlm" / "embedded" / "model"
"""The embedded model's directory in this package."""

_KEPT: Final = 32
"""Embeddings in memory; a picture's take some tens of KB."""


def system_text() -> str:
    """The system text that the embedded model was trained with."""
    return (PACKAGED.parent / "agent/prompts/system.txt").read_text(encoding="utf-8").strip()


def turns(text: str, views: int) -> tuple[list[dict[str, Any]], str]:
    """A prompt as turns for a chat template, and what the model's own turn begins with.

    Args:
        text: MoFE-IR's question, with or without the answer behind it; other text is all question.
        views: pictures before it.
    """
    question, answer = text, ""
    if text.startswith(QUESTION):
        question, answer = QUESTION, text.removeprefix(QUESTION).strip()
    content = [{"type": "image"}] * views + [{"type": "text", "text": question}]
    asked: list[dict[str, Any]] = [
        {"role": "system", "content": system_text()},
        {"role": "user", "content": content},
    ]
    return asked, answer


@dataclass(frozen=True, eq=False)
class Asked:
    """One prompt about one picture.

    Attributes:
        pictures: the views, the overview first.
        inputs: tokens and patches, as the model takes them.
        counts: tokens of each view.
    """

    pictures: list[Image]
    inputs: Any
    counts: list[int]


class Form:
    """A model's tokenizer, image processor and sizes; its weights are somebody else's matter.

    Attributes:
        source: as transformers takes it.
        processor: transformers' own.
        width: D of the hidden states.
        views: the pictures that the model sees.
        picture: id of an image token.
        merge: patches a token, either way.
        unit: px a token, either way.
    """

    def __init__(
        self, model: str | Path, *, views: Views | None = None, allow_download: bool = False
    ) -> None:
        """Read what stands beside the weights.

        Args:
            model: a directory, or a hub id that is in the local cache.
            views: None gives the embedded model small views, and larger models large ones.
            allow_download: fetch what is not in the cache.

        Raises:
            BackendMissingError: the hub's model is not on this machine, or transformers is missing.
            WeightsError: the directory is missing, damaged, or holds another architecture.
        """
        folder = Path(model).expanduser()
        if isinstance(model, Path) and not folder.is_dir():
            raise WeightsError(f"no guide at {model}; give a directory with a Qwen2.5-VL model")
        self.source = str(folder) if folder.is_dir() else str(model)
        with explained(model, allow_download=allow_download):
            config, processor = processor_of(self.source, allow_download=allow_download)
        self.processor: Any = processor
        vision = config.vision_config
        self.width = int(config.text_config.hidden_size)
        self.picture = int(config.image_token_id)
        self.merge = int(vision.spatial_merge_size)
        self.unit = int(vision.patch_size) * self.merge
        # Ours was made for views of exactly one window; published models have windows of 112 px and want more than that.
        self.views = views or (COMPACT if vision.window_size == COMPACT.crop_side else FULL)

    def ask(self, pixels: Pixels, text: str) -> Asked:
        """A prompt about (H, W, 3), [0, 1]."""
        from PIL import Image

        pictures = [Image.fromarray(view) for view in seen(pixels, self.views)]
        written = self._written(text, len(pictures))
        inputs = self.processor(text=[written], images=pictures, return_tensors="pt")
        counts = (inputs["image_grid_thw"].prod(-1) // self.merge**2).tolist()
        return Asked(pictures, inputs, counts)

    def tokens(self, text: str, counts: Sequence[int]) -> Tensor:
        """Ids (T,) of a prompt about views of so many tokens."""
        pad = self.processor.tokenizer.convert_ids_to_tokens(self.picture)
        first, *others = self._written(text, len(counts)).split(pad)
        written = first + "".join(
            pad * count + part for count, part in zip(counts, others, strict=True)
        )
        return torch.tensor(self.processor.tokenizer(written)["input_ids"])

    def taken(self, hidden: Tensor, ids: Tensor, counts: Sequence[int]) -> GuideEmbeddings:
        """The embeddings out of the hidden states (T, D) of tokens (T,), of which each view has its count."""
        at = (ids == self.picture).nonzero().flatten()
        shown = torch.split(hidden[at.to(hidden.device)], list(counts))
        image = torch.stack([view.mean(dim=0) for view in shown])[None]
        # One further token closes the last picture.
        words = hidden[None, int(at[-1]) + 2 :]
        return GuideEmbeddings(image, torch.cat([image, words], dim=1), hidden[None, -1])

    def _written(self, text: str, views: int) -> str:
        asked, answer = turns(text, views)
        template = self.processor.apply_chat_template
        return str(template(asked, add_generation_prompt=True, tokenize=False)) + answer


@contextmanager
def explained(model: str | Path, *, allow_download: bool, what: str = "guide") -> Iterator[None]:
    """Tell a model that is not here from a damaged one, whatever transformers raises.

    Args:
        model: a directory or a hub id.
        allow_download: whether the hub was asked.
        what: the model is to its user.

    Raises:
        BackendMissingError: a hub's model that is not on this machine, or transformers is missing.
        WeightsError: a directory that does not load.
    """
    from safetensors import SafetensorError

    try:
        yield
    except ImportError as error:
        raise BackendMissingError(f"{error}; pip install transformers") from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        if isinstance(error, OSError) and not Path(model).expanduser().is_dir():
            remedy = "the hub cannot be reached" if allow_download else "downloads are off"
            raise BackendMissingError(
                f"{what} {str(model)!r} is not on this machine and {remedy}; allow them "
                "(allow_download=True) or give a directory"
            ) from error
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{what} {str(model)!r} does not load: {first}") from error


@dataclass
class Memory:
    """The last embeddings, by picture and text."""

    kept: OrderedDict[tuple[str, str], GuideEmbeddings] = field(default_factory=OrderedDict)

    def embed(
        self, images: Tensor, text: str, look: Callable[[Pixels, str], GuideEmbeddings]
    ) -> GuideEmbeddings:
        """Embeddings of (B, 3, H, W), looking at those that are not known."""
        return GuideEmbeddings.stacked([self._one(image, text, look) for image in images])

    def _one(
        self, image: Tensor, text: str, look: Callable[[Pixels, str], GuideEmbeddings]
    ) -> GuideEmbeddings:
        pixels = image.detach().to("cpu", torch.float32).permute(1, 2, 0).contiguous().numpy()
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        key = (digest, text)
        if key not in self.kept:
            self.kept[key] = look(pixels, text)
            if len(self.kept) > _KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]
