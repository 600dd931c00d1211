"""One training loop for every network: cosine by the clock, EMA, atomic checkpoints, CSV log, resume.

The budget is wall time, because that is what people have (or steps, for comparisons): the learning rate falls along it, and a run that is killed
continues where its last checkpoint stood, time already spent included.
"""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conservator.restorers.errors import WeightsError

__all__ = ["Budget", "Trainer", "autocast", "choose_device", "supports_bf16"]


def choose_device(name: str = "auto") -> torch.device:
    """`auto` takes a CUDA device when there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def supports_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is native there; emulated bf16 is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast(device: torch.device, enabled: bool = True) -> AbstractContextManager[Any]:
    """bf16 autocast where it is native, else nothing."""
    if not enabled or not supports_bf16(device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@dataclass(frozen=True)
class Budget:
    """What a run may spend and how it goes down.

    Attributes:
        minutes: of wall time, resumed parts included.
        steps: where given, as many steps instead of the minutes: for comparisons that another load on the machine must not turn.
        betas: of AdamW.
        warmup: steps of rising rate after every start.
        checkpoint_s: seconds between checkpoints.
        validate_s: seconds between validations.
    """

    minutes: float
    lr: float = 1e-3
    lr_end: float = 1e-5
    warmup: int = 200
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    ema: float = 0.999
    checkpoint_s: float = 180.0
    validate_s: float = 600.0
    steps: int | None = None


class Trainer:
    """Runs `loss_of(step)` until the budget ends.

    Args:
        model: the network; parameters with `requires_grad` train.
        out: folder of `state.pt` (resume), `log.csv`, `validation.csv`.
        validate: called with the EMA model, returns named figures.
        on_checkpoint: called with the EMA model after each checkpoint and at the end.
    """

    def __init__(
        self,
        model: nn.Module,
        budget: Budget,
        out: Path,
        *,
        validate: Callable[[nn.Module], dict[str, float]] | None = None,
        on_checkpoint: Callable[[nn.Module], None] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.model, self.budget, self.out, self.say = model, budget, out, say
        self.validate, self.on_checkpoint = validate, on_checkpoint
        self.ema = copy.deepcopy(model).requires_grad_(False).eval()
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            trained,
            lr=budget.lr,
            betas=budget.betas,
            weight_decay=budget.weight_decay,
            fused=True,
        )
        self.step, self.spent_s, self.since_start = 0, 0.0, 0
        self.typical_norm = 0.0
        out.mkdir(parents=True, exist_ok=True)

    @property
    def progress(self) -> float:
        """Share of the budget that is spent."""
        if self.budget.steps is not None:
            return min(1.0, self.step / self.budget.steps)
        return min(1.0, self.spent_s / (self.budget.minutes * 60))

    def resume(self) -> bool:
        """Continue from `state.pt` and say so; False when there is none.

        Raises:
            WeightsError: the file does not fit this network.
        """
        path = self.out / "state.pt"
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise WeightsError(
                f"cannot resume from {path}: {str(error).splitlines()[0]}; start in an empty folder"
            ) from error
        self.step, self.spent_s = int(state["step"]), float(state["spent_s"])
        self.say(f"resumed at step {self.step}, {self.spent_s / 60:.1f} minutes spent")
        return True

    def save(self) -> None:
        """Write `state.pt` atomically."""
        part = self.out / "state.pt.part"
        torch.save(
            {
                "model": self.model.state_dict(),
                "ema": self.ema.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "spent_s": self.spent_s,
            },
            part,
        )
        part.replace(self.out / "state.pt")
        if self.on_checkpoint is not None:
            self.on_checkpoint(self.ema)

    def rate(self) -> float:
        """Learning rate now: warm-up by steps, cosine by the clock."""
        b = self.budget
        cosine = b.lr_end + (b.lr - b.lr_end) * 0.5 * (1 + math.cos(math.pi * self.progress))
        return cosine * min(1.0, (self.since_start + 1) / b.warmup)

    def run(self, losses: Iterator[Callable[[], Tensor]]) -> None:
        """Train; each item computes one batch's loss when called."""
        last = saved = validated = time.monotonic()
        total, seen = 0.0, 0
        while self.progress < 1.0:
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate()
            loss = next(losses)()
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.budget.clip)
            if self._usual(float(norm)):
                self.optimiser.step()
                self._average()
                total, seen = total + float(loss.detach()), seen + 1
            self.step, self.since_start = self.step + 1, self.since_start + 1
            now = time.monotonic()
            self.spent_s, last = self.spent_s + now - last, now
            if self.step % 100 == 0 and seen:
                self._log("log.csv", {"loss": total / seen, "lr": self.rate(), "norm": float(norm)})
                total, seen = 0.0, 0
            if now - saved > self.budget.checkpoint_s:
                saved = now
                self.save()
            if self.validate is not None and now - validated > self.budget.validate_s:
                validated = now
                self._validate()
                last = time.monotonic()
        self.save()
        if self.validate is not None:
            self._validate()

    def _usual(self, norm: float) -> bool:
        """Whether a gradient may be used: finite, and not far beyond the last ones.

        One batch of an unlucky draw once threw a network off for good, clipping notwithstanding: Adam divides the scale out.
        """
        if not math.isfinite(norm):
            return False
        usual = self.since_start < 50 or norm < 6 * self.typical_norm
        # An outlier moves the scale too, a little, so that a lasting change is followed.
        share = 0.05 if usual else 0.01
        self.typical_norm += share * (norm - self.typical_norm) if self.typical_norm else norm
        return usual

    def _average(self) -> None:
        # A young average forgets faster, or it would remember the random start.
        decay = min(self.budget.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            means: list[Tensor] = list(self.ema.parameters())
            values: list[Tensor] = list(self.model.parameters())
            torch._foreach_lerp_(means, values, 1 - decay)
            for mean, value in zip(self.ema.buffers(), self.model.buffers(), strict=True):
                mean.copy_(value)

    def _validate(self) -> None:
        assert self.validate is not None
        with torch.inference_mode():
            self._log("validation.csv", self.validate(self.ema))

    def _log(self, name: str, figures: dict[str, float]) -> None:
        path = self.out / name
        row = {"step": self.step, "minutes": round(self.spent_s / 60, 2)} | {
            key: f"{value:.6g}" for key, value in figures.items()
        }
        fresh = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        self.say(" ".join(f"{key}={value}" for key, value in row.items()))
