"""The losses of SPIRE's four stages, each on pictures that lie ready on the device."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from conservator.restorers.spire.autoencoder import Autoencoder
from conservator.restorers.spire.diffusion import drawn
from conservator.restorers.spire.network import Spire
from conservator.restorers.spire.pictures import Bank, Degrader, Ring
from conservator.restorers.spire.text import TextIds
from conservator.restorers.training.loop import autocast
from conservator.restorers.training.losses import reconstruction_loss

__all__ = ["STEPS", "Bench", "diffusion_loss"]

_LATENT_NOISE = 0.05
"""Of the latent's own deviation: what diffusion leaves undecided must not show."""
_TIDY = 0.01
_SHRUNK = 0.2
"""Share of batches in which the latent is shrunk and must give the shrunken picture (EQ-VAE): such latents are easier to draw."""
_AT_ONCE = (8, 64)
"""Pictures that are degraded, encoded or drawn together, on a CPU and on a GPU."""
_CROP = 128
_MULTIPLE = 16

Step = Callable[[], Tensor]


@dataclass
class Bench:
    """What a stage works with.

    Attributes:
        model: the parts of other stages are frozen.
        bank: clean crops.
        device: of all of it.
        rng: of pictures, prompts and severities.
        batch: samples a step.
        size: of their pictures, px.
        fresh: new pictures a step, on average; they are made several at once.
        ring: pictures kept.
        compile: functions go through torch.compile.
    """

    model: Spire
    bank: Bank
    device: torch.device
    rng: random.Random
    batch: int
    size: int
    fresh: float
    ring: Ring
    compile: bool = False
    degrader: Degrader = field(init=False)
    due: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        config = self.model.config
        self.degrader = Degrader(
            self.rng.getrandbits(48),
            partial=config.partial,
            wide=config.wide,
            numbers=config.numbers,
        )

    def full(self, make: Callable[[int], None]) -> None:
        """Add fresh pictures; the first time enough for a few batches."""
        at_once = _AT_ONCE[self.device.type == "cuda"]
        if not self.ring.count:
            self.due = float(min(self.ring.size, 4 * self.batch))
            at_once = min(at_once, round(self.due))
        else:
            self.due += self.fresh
        while self.due >= at_once:
            make(at_once)
            self.due -= at_once

    def caption(self, row: int) -> str:
        """c_s of a crop."""
        config = self.model.config
        if not config.semantic:
            return ""
        return self.bank.caption(row, self.rng, config.drop_semantic)

    def compiled(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The function, compiled where that pays."""
        return torch.compile(function, dynamic=False) if self.compile else function


# ── autoencoder ─────────────────────────────────────────────────────────────
def _autoencoder(bench: Bench) -> Step:
    autoencoder = bench.model.autoencoder
    assert isinstance(autoencoder, Autoencoder)
    unfolded = bench.compiled(autoencoder.unfolded)
    draw = bench.compiled(autoencoder.drawn)

    def step() -> Tensor:
        clean, _ = bench.bank.take(bench.batch, bench.size, bench.rng)
        with autocast(bench.device):
            latent = unfolded(clean.contiguous(memory_format=torch.channels_last)).float()
        # Zero mean and unit deviation a channel, so that the noise has a scale.
        mean, variance = latent.mean(dim=(0, 2, 3)), latent.var(dim=(0, 2, 3))
        tidy = (mean.square() + (variance - 1).square()).mean()
        latent = latent + _LATENT_NOISE * torch.randn_like(latent)
        target = clean
        if bench.rng.random() < _SHRUNK:
            latent, target = F.avg_pool2d(latent, 2), F.avg_pool2d(clean, 2)
        with autocast(bench.device):
            picture = draw(latent)
        return reconstruction_loss(picture.float(), target) + _TIDY * tidy

    return step


# ── prior ───────────────────────────────────────────────────────────────────
def diffusion_loss(model: Spire, z: Tensor, predict: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Eq. 1 on (B, C, h, w): mean squared error of the noise, or of the velocity, at random steps.

    Args:
        model: its schedule.
        z: latents of the targets.
        predict: takes z_t and the steps (B,).
    """
    schedule, config = model.schedule, model.config
    count = schedule.config.num_train_timesteps
    t = (torch.rand(len(z), device=z.device) ** (1 / config.late) * count).long()
    t = t.clamp(max=count - 1)
    noise = torch.randn_like(z)
    noisy = schedule.add_noise(z, noise, t)
    velocity = schedule.config.prediction_type == "v_prediction"
    target = schedule.get_velocity(z, noise, t) if velocity else noise
    return F.mse_loss(predict(noisy, t).float(), target)


def _prior(bench: Bench) -> Step:
    model, prior = bench.model, bench.model.prior

    def predicted(z: Tensor, t: Tensor, ids: Tensor, amounts: Tensor) -> Tensor:
        said = prior.text(TextIds(ids, amounts))
        result: Tensor = prior(z, t, said)
        return result

    predict = bench.compiled(predicted)

    def make(count: int) -> None:
        clean, rows = bench.bank.take(count, bench.size, bench.rng)
        words = prior.text.tokens([bench.caption(row) for row in rows]).to(bench.device)
        bench.ring.add(z=_encoded(bench, clean), ids=words.ids, amounts=words.amounts)

    def step() -> Tensor:
        bench.full(make)
        taken = bench.ring.take(bench.batch, bench.rng)
        with autocast(bench.device):
            return diffusion_loss(
                model,
                taken["z"].float(),
                partial(predict, ids=taken["ids"], amounts=taken["amounts"]),
            )

    return step


# ── branch ──────────────────────────────────────────────────────────────────
def _branch(bench: Bench) -> Step:
    model = bench.model
    latents = model.config.latent_condition
    tower = model.prior.text if model.branch.text is None else model.branch.text

    def predicted(
        z: Tensor, t: Tensor, y: Tensor, e: Tensor | None, asked: TextIds, shown: TextIds
    ) -> Tensor:
        condition = model.branch.conditioned(y, e)
        with torch.no_grad():
            showing = model.prior.text(shown)
        return model.predict(z, t, condition, tower(asked), showing)

    predict = bench.compiled(predicted)

    def make(count: int) -> None:
        clean, rows = bench.bank.take(count, bench.size, bench.rng)
        made = bench.degrader.degrade(clean)
        asked = tower.tokens(made.prompts).to(bench.device)
        shown = model.prior.text.tokens([bench.caption(row) for row in rows]).to(bench.device)
        more = {"e": _encoded(bench, made.degraded)} if latents else {}
        bench.ring.add(
            y=_bytes(made.degraded),
            z=_encoded(bench, made.target),
            asked=asked.ids,
            asked_amounts=asked.amounts,
            shown=shown.ids,
            shown_amounts=shown.amounts,
            **more,
        )

    def step() -> Tensor:
        bench.full(make)
        taken = bench.ring.take(bench.batch, bench.rng)
        with autocast(bench.device):
            return diffusion_loss(
                model,
                taken["z"].float(),
                partial(
                    predict,
                    y=_floats(taken["y"]),
                    e=taken.get("e"),
                    asked=TextIds(taken["asked"], taken["asked_amounts"]),
                    shown=TextIds(taken["shown"], taken["shown_amounts"]),
                ),
            )

    return step


# ── fidelity ────────────────────────────────────────────────────────────────
def _fidelity(bench: Bench) -> Step:
    model = bench.model
    autoencoder, fidelity = model.autoencoder, model.fidelity
    assert isinstance(autoencoder, Autoencoder)
    assert fidelity is not None
    sampling = replace(model.config.sampling, guidance=1.0)
    restored = bench.compiled(
        lambda z, y, said: fidelity.restored(autoencoder, z, y, said, weight=1.0)
    )

    def make(count: int) -> None:
        clean, rows = bench.bank.take(count, bench.size, bench.rng)
        made = bench.degrader.degrade(clean)
        with torch.no_grad(), autocast(bench.device):
            asked = model.restoring(made.prompts)
            shown = model.showing([bench.caption(row) for row in rows])
            side = bench.size // autoencoder.factor
            noise = torch.randn(
                count, model.config.latent_channels, side, side, device=bench.device
            )
            z = drawn(model, made.degraded, asked, shown, sampling, noise)
        assert asked.pooled is not None
        bench.ring.add(
            y=_bytes(made.degraded),
            x=_bytes(made.target),
            z=z.half(),
            said=asked.pooled.float(),
        )

    def step() -> Tensor:
        bench.full(make)
        taken = bench.ring.take(bench.batch, bench.rng)
        side = min(_CROP, bench.size)
        top, left = (
            _MULTIPLE * bench.rng.randrange((bench.size - side) // _MULTIPLE + 1) for _ in range(2)
        )
        y, x = (_floats(taken[name][..., top : top + side, left : left + side]) for name in "yx")
        factor = autoencoder.factor
        z = taken["z"][..., top // factor :, left // factor :]
        z = z[..., : side // factor, : side // factor].float()
        with autocast(bench.device):
            picture = restored(z, y, taken["said"])
        return reconstruction_loss(picture.float(), x)

    return step


STEPS: dict[str, Callable[[Bench], Step]] = {
    "autoencoder": _autoencoder,
    "prior": _prior,
    "branch": _branch,
    "fidelity": _fidelity,
}
"""Stage to a function that makes one batch's loss."""


def _encoded(bench: Bench, image: Tensor) -> Tensor:
    with torch.no_grad(), autocast(bench.device):
        return bench.model.encode(image.contiguous(memory_format=torch.channels_last)).half()


def _bytes(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def _floats(image: Tensor) -> Tensor:
    pixels = image.float() / 255
    return pixels.contiguous(memory_format=torch.channels_last)
