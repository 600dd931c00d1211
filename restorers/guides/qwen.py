"""Any Qwen2.5-VL as a guide, in this process: the embedded model that ships, a directory, or a hub id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from conservator.restorers.errors import UsageError
from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.guides.form import SHIPPED, Form, Memory, explained
from conservator.restorers.guides.tower import cut, window_features
from conservator.restorers.guides.views import Pixels, Views
from conservator.restorers.layers.qwen import network_of
from conservator.restorers.training.loop import autocast
from conservator.restorers.weights import checksum

__all__ = ["SHIPPED", "QwenGuide", "fingerprint"]


def fingerprint(model: str | Path) -> str:
    """The sha256 of a directory's weights, or of their index where there are several files; "" for a hub id."""
    for name in ("model.safetensors", "model.safetensors.index.json"):
        file = Path(model).expanduser() / name
        if file.is_file():
            return checksum(file)
    return ""


class QwenGuide:
    """Looks at an overview and a few crops, and embeds the question.

    Attributes:
        width: D of the embeddings.
        form: how the model is asked.
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
        self.form = Form(model, views=views, allow_download=allow_download)
        with explained(model, allow_download=allow_download):
            self.model = network_of(self.form.source, self.device, allow_download=allow_download)
        self.width = self.form.width
        self.side = self.form.views.crop_side // self.form.unit * self.form.unit
        self.memory = Memory()

    def to(self, device: torch.device) -> None:
        """Move the model."""
        if device != self.device:
            self.model, self.device = self.model.to(device), device
            self.memory = Memory()

    def embed(self, image: Tensor, text: str) -> GuideEmbeddings:
        """Embed a prompt about each of (B, 3, H, W), [0, 1]; on the guide's device.

        `image` has one token a view; `joint` these, then every token behind the pictures; `answer` is the last token.
        """
        return self.memory.embed(image, text, self._looked)

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
        if tuple(views.shape[2:]) != (3, side, side) or side % self.form.unit:
            raise UsageError(
                f"views of {tuple(views.shape[2:])} do not divide into {self.form.unit} px; give {self.side} px"
            )
        across = side // self.form.unit
        counts = [across**2] * v
        tokens = [self.form.tokens(text, counts) for text in texts]
        longest = max(len(ids) for ids in tokens)
        ids = torch.stack([F.pad(one, (0, longest - len(one))) for one in tokens]).to(self.device)
        places = torch.stack([_places(one, self.form.picture, across) for one in ids.cpu()], dim=1)
        with autocast(self.device):
            pictures = self._features(views.flatten(0, 1).to(self.device))
            embedded = self.model.get_input_embeddings()(ids)
            shown = (ids == self.form.picture)[..., None]
            embedded = embedded.masked_scatter(shown, pictures.to(embedded.dtype).flatten(0, 1))
            # Padding stands behind, where causal attention never sees it.
            hidden = self.model.model.language_model(
                inputs_embeds=embedded, position_ids=places.to(self.device), use_cache=False
            ).last_hidden_state.float()
        return GuideEmbeddings.stacked(
            [
                self.form.taken(hidden[row, : len(one)], one, counts)
                for row, one in enumerate(tokens)
            ]
        )

    def _looked(self, pixels: Pixels, text: str) -> GuideEmbeddings:
        asked = self.form.ask(pixels, text)
        # The network keeps the last question's offset of positions, which is wrong for another one.
        self.model.model.rope_deltas = None
        with torch.no_grad():
            hidden = self.model.model(
                **asked.inputs.to(self.device), use_cache=False
            ).last_hidden_state
        return self.form.taken(hidden[0].float(), asked.inputs["input_ids"][0].cpu(), asked.counts)

    def _features(self, views: Tensor) -> Tensor:
        """The tower's features of square views (N, 3, S, S), [0, 1]: (N, tokens, D)."""
        images = self.form.processor.image_processor
        mean, deviation = (
            torch.tensor(x, device=views.device).view(3, 1, 1)
            for x in (images.image_mean, images.image_std)
        )
        scaled = (views - mean) / deviation
        visual = self.model.model.visual
        vision, n, side = visual.config, len(views), views.shape[-1]
        if side <= vision.window_size:
            return window_features(visual, scaled)
        patches = cut(scaled, vision.patch_size, self.form.merge)
        # A still picture is a film of equal frames.
        film = patches.view(n * patches.shape[1], 3, 1, -1)
        film = film.expand(-1, -1, vision.temporal_patch_size, -1).flatten(1).to(visual.dtype)
        across = side // vision.patch_size
        grid = torch.tensor([[1, across, across]] * n, device=views.device)
        return torch.stack(list(self.model.model.get_image_features(film, grid).pooler_output))


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
