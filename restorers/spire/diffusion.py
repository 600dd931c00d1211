"""DDIM over a whole picture, in tiles that agree: one field of noise, and predictions fused in latent space at every step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from conservator.restorers.errors import UsageError
from conservator.restorers.spire.config import Sampling, guidance_needed
from conservator.restorers.spire.network import Spire
from conservator.restorers.spire.text import Said
from conservator.restorers.tiling import Tile, cut, spans
from conservator.restorers.training.loop import autocast

__all__ = ["Diffusion", "LatentPart", "checked", "drawn", "timesteps"]


def checked(sampling: Sampling) -> Sampling:
    """The same, when it makes sense.

    Raises:
        UsageError: names the number that does not.
    """
    wrong = (
        f"steps={sampling.steps}; give 1 to 1000"
        if not 1 <= sampling.steps <= 1000
        else f"strength={sampling.strength:g}; give a number above 0, at most 1"
        if not 0 < sampling.strength <= 1
        else f"fidelity={sampling.fidelity:g}; give 0 to 1"
        if not 0 <= sampling.fidelity <= 1
        else f"start={sampling.start!r}; give noise or degraded"
        if sampling.start not in ("noise", "degraded")
        else f"guidance={sampling.guidance:g}; give 0 or more"
        if not 0 <= sampling.guidance < float("inf")
        else ""
    )
    if wrong:
        raise UsageError(f"SPIRE cannot draw with {wrong}")
    return sampling


def timesteps(schedule: Any, sampling: Sampling) -> list[int]:
    """Set the schedule and return its steps, the noisiest first; `degraded` leaves out those above `strength`."""
    if sampling.start == "noise":
        schedule.set_timesteps(sampling.steps)
        return [int(t) for t in schedule.timesteps]
    # As many steps as asked, of a finer schedule's lower end.
    whole = max(sampling.steps, round(sampling.steps / sampling.strength))
    schedule.set_timesteps(min(whole, schedule.config.num_train_timesteps))
    return [int(t) for t in schedule.timesteps][-sampling.steps :]


@torch.no_grad()
def drawn(
    model: Spire,
    degraded: Tensor,
    restoring: Said,
    showing: Said,
    sampling: Sampling,
    noise: Tensor,
) -> Tensor:
    """z_0 of a batch of pictures that are small enough for one tile, without guidance; for training, validation and figures.

    Args:
        model: on the device of all tensors; call it under the autocast that is wanted.
        degraded: (B, 3, H, W), [0, 1], sides multiples of the model's.
        restoring: c_r, B of them.
        showing: c_s, B of them.
        sampling: how; `guidance` is not used.
        noise: (B, C, H / 8, W / 8).
    """
    plan = copy.deepcopy(model.schedule)
    steps = timesteps(plan, sampling)
    encoded = None
    if sampling.start == "degraded" or model.config.latent_condition:
        encoded = model.encode(degraded)
    condition = model.branch.conditioned(degraded, encoded)
    z = noise
    if sampling.start == "degraded":
        assert encoded is not None
        z = plan.add_noise(encoded.float(), noise, torch.tensor([steps[0]]))
    for step in steps:
        t = torch.full((len(z),), step, device=z.device)
        predicted = model.predict(z, t, condition, restoring, showing)
        z = plan.step(predicted.float(), step, z).prev_sample
    return z


@dataclass(frozen=True, eq=False)
class LatentPart:
    """What a tile needs to be decoded.

    Attributes:
        drawn: the whole restoration.
        latent: z_0 from the tile's corner on, (1, C, h, w), at least the tile's.
    """

    drawn: Diffusion
    latent: Tensor


class Diffusion:
    """One picture's restoration in latent space, made piece by piece; guidance for the tiles that decode it.

    Args:
        model: on the device where it computes.
        image: the degraded picture, (1, 3, H, W), [0, 1].
        restoring: c_r.
        showing: c_s.
        sampling: how.
        seed: of the noise, which is drawn on the CPU, so it is the same on every device.
        half: bfloat16 autocast.
    """

    def __init__(
        self,
        model: Spire,
        image: Tensor,
        restoring: str,
        showing: str,
        sampling: Sampling,
        *,
        seed: int,
        half: bool = False,
    ) -> None:
        self.model, self.sampling, self.half = model, checked(sampling), half
        self._device = next(model.prior.unet.parameters()).device
        self._factor = model.multiple // 2 ** (len(model.config.channels) - 1)
        self.restoring = model.restoring([restoring])
        self._showing = model.showing([showing])
        self._nothing = model.showing([""]) if guidance_needed(sampling, showing) else self._showing
        self._image = _padded(image, model.multiple)
        height, width = (n // self._factor for n in self._image.shape[-2:])
        self._tiles = list(cut(*(self._spans(n) for n in (height, width))))
        generator = torch.Generator().manual_seed(seed)
        shape = (1, model.config.latent_channels, height, width)
        self._noise = torch.randn(shape, generator=generator).to(self._device)
        # Its own: setting the steps changes the schedule, and other pictures may be under way.
        self._schedule = copy.deepcopy(model.schedule)
        self._steps = timesteps(self._schedule, sampling)
        self._semantic = showing
        self._latent: Tensor | None = None

    def _spans(self, size: int) -> Any:
        multiple = self.model.multiple // self._factor
        tile = max(self.sampling.tile, 2 * multiple)
        return spans(size, tile=tile, overlap=self.sampling.overlap, multiple=multiple)

    @property
    def pieces(self) -> int:
        """How many pieces `make` has."""
        return len(self._tiles) * (len(self._steps) + 1)

    @property
    def facts(self) -> dict[str, Any]:
        """For `Restored.details`."""
        return {
            "steps": len(self._steps),
            "guidance": self.sampling.guidance if self._semantic else 1.0,
            "start": self.sampling.start,
            "fidelity": self.sampling.fidelity,
            "latent_tiles": len(self._tiles),
            "semantic": self._semantic,
        }

    @property
    def latent(self) -> Tensor:
        """z_0 of the whole padded picture; made now if it was not."""
        if self._latent is None:
            for _ in self.make():
                pass
        assert self._latent is not None
        return self._latent

    def crop(self, top: int, left: int, height: int, width: int) -> LatentPart:
        """z_0 from a tile's corner on."""
        rows, columns = top // self._factor, left // self._factor
        return LatentPart(self, self.latent[..., rows:, columns:])

    @torch.inference_mode()
    def make(self) -> Iterator[None]:
        """Draw the picture; one piece is one evaluation on one tile."""
        latent = torch.zeros_like(self._noise) if self._needs_latent else None
        condition: Tensor | None = None
        for tile in self._tiles:
            with autocast(self._device, self.half):
                seen = self._pixels(tile)
                encoded = self.model.encode(seen) if latent is not None else None
                conditioned = self.model.branch.conditioned(seen, encoded)
            if condition is None:
                shape = (1, conditioned.shape[1], *self._noise.shape[-2:])
                condition = torch.zeros(shape, device=self._device)
            self._fuse(condition, conditioned, tile)
            if latent is not None and encoded is not None:
                self._fuse(latent, encoded, tile)
            yield
        assert condition is not None
        z = self._noise
        if self.sampling.start == "degraded":
            assert latent is not None
            z = self._schedule.add_noise(latent, z, torch.tensor([self._steps[0]]))
        for step in self._steps:
            predicted = torch.zeros_like(z)
            t = torch.tensor([step], device=self._device)
            for tile in self._tiles:
                rows, columns = _places(tile)
                with autocast(self._device, self.half):
                    part = self._predicted(
                        z[:, :, rows, columns], t, condition[:, :, rows, columns]
                    )
                self._fuse(predicted, part, tile)
                yield
            z = self._schedule.step(predicted, step, z).prev_sample
        self._latent = z

    @property
    def _needs_latent(self) -> bool:
        return self.sampling.start == "degraded" or self.model.config.latent_condition

    def _predicted(self, z: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        if self._nothing is self._showing:
            return self.model.predict(z, t, condition, self.restoring, self._showing)
        return self.model.predict_guided(
            z, t, condition, self.restoring, self._showing, self._nothing, self.sampling.guidance
        )

    def _pixels(self, tile: Tile) -> Tensor:
        """The degraded picture under a tile."""
        rows, columns = (
            slice(place.start * self._factor, place.stop * self._factor) for place in _places(tile)
        )
        return self._image[:, :, rows, columns].to(self._device)

    def _fuse(self, whole: Tensor, part: Tensor, tile: Tile) -> None:
        down = torch.from_numpy(tile.rows.weights).to(self._device)[:, None]
        across = torch.from_numpy(tile.columns.weights).to(self._device)[None]
        rows, columns = _places(tile)
        whole[:, :, rows, columns] += part.float() * (down * across)


def _places(tile: Tile) -> tuple[slice, slice]:
    rows, columns = (
        slice(span.start, span.start + span.length) for span in (tile.rows, tile.columns)
    )
    return rows, columns


def _padded(image: Tensor, multiple: int) -> Tensor:
    """Mirrored at the bottom and right to multiples; what is too small to mirror repeats its edge. As the runner pads tiles."""
    for axis in (-1, -2):
        have = image.shape[axis]
        more = -have % multiple
        if more:
            pad = (0, more, 0, 0) if axis == -1 else (0, 0, 0, more)
            image = F.pad(image, pad, mode="reflect" if more < have else "replicate")
    return image
