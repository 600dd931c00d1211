"""Any Qwen2.5-VL as a guide, in this process: the embedded model that ships, a directory, or a hub id.

The model is asked as it is in `conservator.agent`: the system text, the views of the picture, MoFE-IR's question; where the prompt
carries an answer, the model's own turn begins with it. What counts are the hidden states behind the last decoder layer's norm.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from conservator.restorers.errors import BackendMissingError, UsageError, WeightsError
from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.guides.tower import cut, window_features
from conservator.restorers.guides.views import COMPACT, FULL, Views, seen
from conservator.restorers.prompts.mofe import QUESTION
from conservator.restorers.training.loop import autocast
from conservator.restorers.weights import PACKAGED, checksum

__all__ = ["SHIPPED", "QwenGuide", "fingerprint", "missing", "system_text", "turns"]

SHIPPED: Final = PACKAGED.parent / "agent" / "vlm" / "embedded" / "model"
"""The embedded model's directory in this package."""

_ARCHITECTURE: Final = "qwen2_5_vl"
_KEPT: Final = 32
"""Embeddings in memory; a picture's take some tens of KB."""


def missing() -> str:
    """Why the shipped guide cannot run, "" when it can."""
    return "" if (SHIPPED / "model.safetensors").is_file() else "the embedded model is not there"


def fingerprint(model: str | Path) -> str:
    """The sha256 of a directory's weights, or of their index where there are several files; "" for a hub id."""
    for name in ("model.safetensors", "model.safetensors.index.json"):
        file = Path(model).expanduser() / name
        if file.is_file():
            return checksum(file)
    return ""


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


class QwenGuide:
    """Looks at an overview and a few crops, and embeds the question.

    Attributes:
        width: D of the embeddings.
        views: the pictures it sees.
        side: of the square views that `embed_views` takes, px.
    """

    def __init__(
        self,
        model: str | Path = SHIPPED,
        device: str | torch.device = "cpu",
        *,
        views: Views | None = None,
        allow_download: bool = False,
    ) -> None:
        """Load a model.

        Args:
            model: a directory, or a hub id that is in the local cache.
            device: where to compute; float32 on a CPU, else bfloat16.
            views: None gives the embedded model small views, and larger models large ones.
            allow_download: fetch a hub id that is not in the cache.

        Raises:
            BackendMissingError: the hub's model is not on this machine, or transformers is missing.
            WeightsError: the directory is missing, damaged, or holds another architecture.
        """
        self.device = torch.device(device)
        self.model, self.processor = _loaded(model, self.device, allow_download)
        config = self.model.config
        vision = config.vision_config
        self.width = int(config.text_config.hidden_size)
        # Ours was made for views of exactly one window; published models have windows of 112 px and want more than that.
        compact = vision.window_size == COMPACT.crop_side
        self.views = views or (COMPACT if compact else FULL)
        self._unit = int(vision.patch_size * vision.spatial_merge_size)
        self.side = self.views.crop_side // self._unit * self._unit
        self._picture = int(config.image_token_id)
        self._cache: OrderedDict[tuple[str, str], GuideEmbeddings] = OrderedDict()

    def to(self, device: torch.device) -> None:
        """Move the model."""
        if device != self.device:
            self.model, self.device = self.model.to(device), device
            self._cache.clear()

    def embed(self, image: Tensor, text: str) -> GuideEmbeddings:
        """Embed a prompt about each of (B, 3, H, W), [0, 1]; on the guide's device.

        `image` has one token a view; `joint` these, then every token behind the pictures; `answer` is the last token.
        """
        return GuideEmbeddings.stacked([self._single(one, text) for one in image])

    @torch.no_grad()
    def embed_views(self, views: Tensor, texts: Sequence[str]) -> GuideEmbeddings:
        """The same for whole batches of views that lie ready, without a picture's way through files; for training.

        Args:
            views: (B, V, 3, side, side), [0, 1], the overview first.
            texts: a prompt each.

        Raises:
            UsageError: views of another side.
        """
        v, side = views.shape[1], views.shape[-1]
        if tuple(views.shape[2:]) != (3, side, side) or side % self._unit:
            raise UsageError(
                f"views of {tuple(views.shape[2:])} do not divide into {self._unit} px; give {self.side} px"
            )
        across = side // self._unit
        tokens = [self._tokens(text, [across**2] * v) for text in texts]
        longest = max(len(ids) for ids in tokens)
        ids = torch.stack([F.pad(one, (0, longest - len(one))) for one in tokens]).to(self.device)
        places = torch.stack([_places(one, self._picture, across) for one in ids.cpu()], dim=1)
        with autocast(self.device):
            pictures = self._features(views.flatten(0, 1).to(self.device))
            embedded = self.model.get_input_embeddings()(ids)
            # Only the real tokens of pictures: padding has the first id, which is none.
            shown = (ids == self._picture)[..., None]
            embedded = embedded.masked_scatter(shown, pictures.to(embedded.dtype).flatten(0, 1))
            # Padding stands behind, where causal attention never sees it.
            hidden = self.model.model.language_model(
                inputs_embeds=embedded, position_ids=places.to(self.device), use_cache=False
            ).last_hidden_state.float()
        return GuideEmbeddings.stacked(
            [
                self._taken(hidden[i, : len(one)], one, [across**2] * v)
                for i, one in enumerate(tokens)
            ]
        )

    def _single(self, image: Tensor, text: str) -> GuideEmbeddings:
        pixels = image.detach().to("cpu", torch.float32).permute(1, 2, 0).contiguous().numpy()
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        key = (digest, text)
        if key not in self._cache:
            self._cache[key] = self._looked(pixels, text)
            if len(self._cache) > _KEPT:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    def _looked(self, pixels: Any, text: str) -> GuideEmbeddings:
        from PIL import Image

        pictures = [Image.fromarray(view) for view in seen(pixels, self.views)]
        shown = self.processor.image_processor(images=pictures, return_tensors="pt")
        counts = (shown["image_grid_thw"].prod(-1) // self._merge**2).tolist()
        asked, answer = turns(text, len(pictures))
        written = self._written(asked) + answer
        inputs = self.processor(text=[written], images=pictures, return_tensors="pt")
        # The network keeps the last question's offset of positions, which is wrong for another one.
        self.model.model.rope_deltas = None
        with torch.inference_mode():
            hidden = self.model.model(**inputs.to(self.device), use_cache=False).last_hidden_state
        # Clones, so that no caller meets tensors of inference mode in a backward pass.
        return self._taken(hidden[0].float().clone(), inputs["input_ids"][0].cpu(), counts)

    def _taken(self, hidden: Tensor, ids: Tensor, counts: Sequence[int]) -> GuideEmbeddings:
        """The embeddings out of the hidden states (T, D) of unpadded tokens (T,), of which each view has its count."""
        at = (ids == self._picture).nonzero().flatten()
        shown = torch.split(hidden[at.to(hidden.device)], list(counts))
        image = torch.stack([view.mean(dim=0) for view in shown])[None]
        # One further token closes the last picture.
        words = hidden[None, int(at[-1]) + 2 :]
        return GuideEmbeddings(image, torch.cat([image, words], dim=1), hidden[None, -1])

    def _tokens(self, text: str, counts: Sequence[int]) -> Tensor:
        """Ids (T,) of a prompt about views of so many tokens."""
        asked, answer = turns(text, len(counts))
        pad = self.processor.tokenizer.convert_ids_to_tokens(self._picture)
        first, *others = (self._written(asked) + answer).split(pad)
        written = first + "".join(
            pad * count + part for count, part in zip(counts, others, strict=True)
        )
        return torch.tensor(self.processor.tokenizer(written)["input_ids"])

    def _written(self, asked: list[dict[str, Any]]) -> str:
        return str(
            self.processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        )

    def _features(self, views: Tensor) -> Tensor:
        """The tower's features of square views (N, 3, S, S), [0, 1]: (N, tokens, D)."""
        images = self.processor.image_processor
        mean, deviation = (
            torch.tensor(x, device=views.device).view(3, 1, 1)
            for x in (images.image_mean, images.image_std)
        )
        scaled = (views - mean) / deviation
        visual = self.model.model.visual
        vision, side = visual.config, views.shape[-1]
        if side <= vision.window_size:
            return window_features(visual, scaled)
        n = len(views)
        frames = vision.temporal_patch_size
        patches = cut(scaled, vision.patch_size, self._merge)
        # A still picture is a film of equal frames.
        film = patches.view(n * patches.shape[1], 3, 1, -1).expand(-1, -1, frames, -1).flatten(1)
        grid = torch.tensor([[1, side // vision.patch_size, side // vision.patch_size]] * n)
        seen_ = self.model.model.get_image_features(
            film.to(visual.dtype), grid.to(views.device)
        ).pooler_output
        return torch.stack(list(seen_))

    @property
    def _merge(self) -> int:
        return int(self.model.config.vision_config.spatial_merge_size)


def _places(ids: Tensor, picture: int, side: int) -> Tensor:
    """Positions (3, T) as the architecture counts them: along, down and across; a picture is `side` x `side` tokens."""
    places = torch.empty(3, len(ids), dtype=torch.long)
    at, place = 0, 0
    grid = torch.arange(side * side)
    block = torch.stack([torch.zeros_like(grid), grid // side, grid % side])
    while at < len(ids):
        if ids[at] == picture:
            places[:, at : at + side * side] = block + place
            at, place = at + side * side, place + side
        else:
            places[:, at] = place
            at, place = at + 1, place + 1
    return places


def _loaded(model: str | Path, device: torch.device, allow_download: bool) -> tuple[Any, Any]:
    """The network and its processor; errors as `QwenGuide` says."""
    try:
        from safetensors import SafetensorError
        from transformers import (
            AutoProcessor,
            Qwen2_5_VLConfig,
            Qwen2_5_VLForConditionalGeneration,
        )
    except ImportError as error:
        raise BackendMissingError(f"{error}; pip install transformers") from error
    folder = Path(model).expanduser()
    source = str(folder) if folder.is_dir() else str(model)
    offline: dict[str, Any] = {"local_files_only": not allow_download}
    if isinstance(model, Path) and not folder.is_dir():
        raise WeightsError(f"no guide at {model}; give a directory with a Qwen2.5-VL model")
    untyped: Any = AutoProcessor
    try:
        kind = Qwen2_5_VLConfig.get_config_dict(source, **offline)[0].get("model_type")
        if kind != _ARCHITECTURE:
            what = f"is a {kind!r} model" if kind else "holds no model"
            raise WeightsError(f"{str(model)!r} {what}; a guide is one of {_ARCHITECTURE!r}")
        processor = untyped.from_pretrained(source, **offline)
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        with _without_bar():
            network: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
                source, dtype=dtype, **offline
            )
    except OSError as error:
        if folder.is_dir():
            raise WeightsError(
                f"guide {str(model)!r} does not load: {_first_line(error)}"
            ) from error
        remedy = "the hub cannot be reached" if allow_download else "downloads are off"
        raise BackendMissingError(
            f"guide {str(model)!r} is not on this machine and {remedy}; allow them "
            "(allow_download=True) or give a directory"
        ) from error
    except (ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise WeightsError(f"guide {str(model)!r} does not load: {_first_line(error)}") from error
    return network.eval().requires_grad_(False).to(device), processor


@contextmanager
def _without_bar() -> Iterator[None]:
    """Keep transformers' progress bar off the caller's terminal."""
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
