"""`Runner`: makes a `Restorer` of a `TileRestorer`; owns device, precision, padding, tiles and what to do when memory ends."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from conservator.restorers.base import (
    Guidance,
    OnProgress,
    RecordedGuidance,
    Restored,
    SpatialGuidance,
    StagedGuidance,
    TileRestorer,
)
from conservator.restorers.card import RestorerCard
from conservator.restorers.errors import (
    BackendMissingError,
    CancelledError,
    ConservatorError,
    InputError,
    PromptError,
    RestorerError,
    UnknownNameError,
    UsageError,
)
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.tiling import cut, spans

__all__ = ["Runner", "blend"]

_CPU: Final = torch.device("cpu")
_SMALLEST_TILE: Final = 64
_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_MEMORY_WORDS: Final = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "insufficient memory",
)


@dataclass(frozen=True)
class _Rung:
    """One way to run: where, and in tiles of which size (None: the whole image)."""

    device: torch.device
    tile: int | None

    def __str__(self) -> str:
        return (
            f"{self.device} with {'the whole image' if self.tile is None else f'tile {self.tile}'}"
        )


class Runner:
    """A `Restorer` over a `TileRestorer`.

    One image runs at a time in one runner; further callers wait.

    Attributes:
        card: the restorer's card.
        device: where it runs unless memory ends.
        dtype: its precision.
    """

    def __init__(
        self,
        tile_restorer: TileRestorer,
        device: str = "auto",
        dtype: str = "auto",
        *,
        tile: int | None = None,
    ) -> None:
        """Choose device and precision.

        Args:
            tile_restorer: what to run.
            device: `auto` takes CUDA when there is one, else the CPU; or a torch device's name.
            dtype: `auto` takes the card's precision where the hardware computes bfloat16 natively, else float32.
            tile: largest tile in px, in place of the card's.

        Raises:
            UnknownNameError: no such device or dtype.
            BackendMissingError: the device is not there.
        """
        self.card: RestorerCard = tile_restorer.card
        self.device = _CPU if self.card.cpu_only else _device_named(device)
        self.dtype = _dtype_named(dtype, self.card, self.device)
        self._tile = tile if tile is not None and self.card.tile is not None else self.card.tile
        self._restorer = tile_restorer
        self._lock = threading.Lock()

    def with_tile(self, tile: int) -> Runner:
        """The same restorer, resident once, in smaller tiles; for measuring what tiles cost."""
        dtype = "bfloat16" if self.dtype is torch.bfloat16 else "float32"
        return Runner(self._restorer, str(self.device), dtype, tile=tile)

    def restore(
        self,
        image: Tensor,
        prompt: RestorationPrompt,
        *,
        seed: int = 0,
        on_progress: OnProgress | None = None,
        cancel: Event | None = None,
    ) -> Restored:
        """Restore (1, 3, H, W), float32, [0, 1], RGB; the input is left as it is.

        Args:
            image: on any device.
            prompt: what to undo, and how strongly.
            seed: fixes all that is random.
            on_progress: called with (tiles done, tiles in all), first with 0 done; pieces of guidance count as tiles.
            cancel: looked at before each of them.

        Raises:
            InputError: the image is not what the contract says.
            PromptError: the prompt asks for nothing this restorer treats.
            CancelledError: `cancel` was set.
            RestorerError: the restorer failed, gave a wrong shape or numbers that are not finite, or memory ended on
                the smallest tile.
        """
        image = _checked(image)
        if not prompt.blind and not set(prompt.degradations) & set(self.card.treats):
            asked = ", ".join(prompt.degradations) or "nothing"
            treats = ", ".join(self.card.treats) or "nothing by name; ask it blind"
            raise PromptError(f"{self.card.name} is asked to treat {asked}; it treats {treats}")
        started = time.perf_counter()
        fallbacks: list[str] = []
        with self._lock, _seeded(seed, self.device), torch.inference_mode():
            rendered = self._restorer.render(prompt)
            rung = _Rung(self.device, self._tile)
            result: tuple[Tensor, dict[str, Any]] | None = None
            while result is None:
                try:
                    result = self._run(image, prompt, rung, seed, on_progress, cancel)
                except ConservatorError:
                    raise
                except Exception as error:
                    if not _out_of_memory(error):
                        raise RestorerError(
                            f"{self.card.name} failed: {type(error).__name__}: {_first_line(error)}"
                        ) from error
                    below = self._below(rung, max(image.shape[-2:]))
                    if below is None:
                        raise RestorerError(
                            f"{self.card.name} ran out of memory on {rung}, its last resort; "
                            f"free memory or give a smaller image"
                        ) from error
                    fallbacks.append(f"out of memory on {rung}; went on with {below}")
                    rung = below
                # Here, not in the handler: there the traceback still holds the failed run's tensors.
                if result is None and self.device.type == "cuda":
                    torch.cuda.empty_cache()
        output, facts = result
        details = {
            "device": str(rung.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            **facts,
            "weights_sha256": getattr(self._restorer, "weights_sha256", None),
            "fallbacks": fallbacks,
        }
        return Restored(
            image=output,
            restorer=self.card.name,
            prompt=prompt,
            rendered_prompt=rendered,
            seed=seed,
            seconds=time.perf_counter() - started,
            details=details,
        )

    def _run(
        self,
        image: Tensor,
        prompt: RestorationPrompt,
        rung: _Rung,
        seed: int,
        on_progress: OnProgress | None,
        cancel: Event | None,
    ) -> tuple[Tensor, dict[str, Any]]:
        card, scale = self.card, self.card.scale
        height, width = image.shape[-2:]
        rows, columns = (
            spans(
                size,
                tile=rung.tile,
                overlap=card.overlap,
                multiple=card.multiple,
                min_side=card.min_side,
                scale=scale,
            )
            for size in (height, width)
        )
        total = len(rows) * len(columns)
        self._stop_if(cancel, 0, total)
        self._restorer.to(rung.device, self.dtype)
        # The seed again: a run that starts over on a lower rung draws the same numbers.
        torch.manual_seed(seed)
        guidance = self._restorer.prepare(image, prompt, seed=seed)
        pieces = guidance.pieces if isinstance(guidance, StagedGuidance) else 0
        if on_progress is not None:
            on_progress(0, pieces + total)
        if isinstance(guidance, StagedGuidance):
            for made, _ in enumerate(guidance.make(), start=1):
                self._stop_if(cancel, made, pieces + total)
                if on_progress is not None:
                    on_progress(made, pieces + total)
        # Outside inference mode, so that the caller may write to the result.
        with torch.inference_mode(mode=False):
            output = torch.zeros((1, 3, height * scale, width * scale))
        for done, tile in enumerate(cut(rows, columns), start=pieces):
            self._stop_if(cancel, done, pieces + total)
            top, left = tile.rows.start, tile.columns.start
            bottom = min(top + tile.rows.length, height)
            right = min(left + tile.columns.length, width)
            own = guidance
            if isinstance(guidance, SpatialGuidance):
                own = guidance.crop(top, left, bottom - top, right - left)
            patch = _padded(
                image[:, :, top:bottom, left:right], tile.rows.length, tile.columns.length
            )
            restored = self._restored_tile(patch, own, rung.device)
            restored = restored[:, :, : (bottom - top) * scale, : (right - left) * scale]
            window = output[:, :, top * scale : bottom * scale, left * scale : right * scale]
            if total == 1:
                window.copy_(restored)
            else:
                down = torch.from_numpy(tile.rows.weights)[: restored.shape[-2], None]
                across = torch.from_numpy(tile.columns.weights)[None, : restored.shape[-1]]
                window.addcmul_(restored, down * across)
            if on_progress is not None:
                on_progress(done + 1, pieces + total)
        facts: dict[str, Any] = {
            "tiles": total,
            "tile": [rows[0].length, columns[0].length],
        }
        if isinstance(guidance, RecordedGuidance):
            facts |= guidance.facts
        return output.clamp_(0, 1), facts

    def _restored_tile(self, patch: Tensor, guidance: Guidance, device: torch.device) -> Tensor:
        """One padded tile (1, 3, h, w) to (1, 3, h * scale, w * scale), float32, CPU."""
        scale = self.card.scale
        expected = (1, 3, patch.shape[-2] * scale, patch.shape[-1] * scale)
        patch = patch.to(device).contiguous(memory_format=torch.channels_last)
        restored = self._restorer.restore_tile(patch, guidance)
        if tuple(restored.shape) != expected:
            raise RestorerError(
                f"{self.card.name} returned shape {tuple(restored.shape)} instead of {expected}; report this"
            )
        restored = restored.to(_CPU, torch.float32)
        if not math.isfinite(float(restored.sum(dtype=torch.float64))):
            raise RestorerError(
                f"{self.card.name} returned numbers that are not finite in {self.dtype}; "
                f"try dtype float32 or other weights"
            )
        return restored

    def _below(self, rung: _Rung, longest: int) -> _Rung | None:
        """The next more modest way to run, None after the last."""
        floor = max(_SMALLEST_TILE, self.card.min_side, self.card.multiple)
        if rung.tile is not None:
            # Halving a tile that is larger than the image would only repeat the failure.
            half = min(rung.tile, longest) // 2
            if half >= floor:
                return _Rung(rung.device, half)
        return None if rung.device == _CPU else _Rung(_CPU, self._tile)

    def _stop_if(self, cancel: Event | None, done: int, total: int) -> None:
        if cancel is not None and cancel.is_set():
            raise CancelledError(f"{self.card.name} was cancelled after {done} of {total} tiles")


def blend(before: Tensor, after: Tensor, amount: float) -> Tensor:
    """Strength after the fact: `amount` of the way from the untouched image to the restored one.

    Args:
        before: (B, 3, H, W), [0, 1].
        after: the same shape.
        amount: [0, 1]; 0 is `before`, 1 is `after`.

    Raises:
        UsageError: another amount, or sizes that differ.
    """
    if not 0 <= amount <= 1:
        raise UsageError(
            f"strength {amount} is outside [0, 1]; 0 keeps the input, 1 the full effect"
        )
    if before.shape != after.shape:
        raise UsageError(
            f"cannot blend {tuple(before.shape)} with {tuple(after.shape)}; bring them to one size first"
        )
    if amount in (0, 1):
        return (after if amount else before).clone()
    return torch.lerp(before, after, amount)


def _checked(image: Tensor) -> Tensor:
    if image.ndim != 4 or image.shape[:2] != (1, 3) or 0 in image.shape:
        raise InputError(f"a restorer takes (1, 3, H, W), not {tuple(image.shape)}")
    if not image.is_floating_point():
        raise InputError(
            f"a restorer takes floats in [0, 1], not {image.dtype}; divide by the full scale"
        )
    image = image.detach().to(_CPU, torch.float32)
    low, high = (float(v) for v in torch.aminmax(image))
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"a restorer takes finite values in [0, 1], not [{low:g}, {high:g}]; clip it first"
        )
    return image


def _padded(patch: Tensor, height: int, width: int) -> Tensor:
    """Reflect at the bottom and right; what is too small to reflect repeats its edge."""
    for axis, size in ((-1, width), (-2, height)):
        have = patch.shape[axis]
        if size > have:
            pad = (0, size - have, 0, 0) if axis == -1 else (0, 0, 0, size - have)
            patch = F.pad(patch, pad, mode="reflect" if size - have < have else "replicate")
    return patch


def _device_named(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UnknownNameError("device", name, ("auto", "cpu", "cuda", "cuda:N", "mps")) from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if device.type not in there:
        raise UnknownNameError("device", name, ("auto", "cpu", "cuda", "cuda:N", "mps"))
    if not there[device.type]:
        raise BackendMissingError(
            f"device {name!r} is not on this machine; use device 'auto' or 'cpu'"
        )
    return device


def _dtype_named(name: str, card: RestorerCard, device: torch.device) -> torch.dtype:
    if name == "auto":
        return _DTYPES[card.precision] if _native_bfloat16(device) else torch.float32
    if name not in _DTYPES:
        raise UnknownNameError("dtype", name, ("auto", *_DTYPES))
    return _DTYPES[name]


def _native_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is computed, not emulated: emulation is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)
    return False


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators inside, and put them back as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return any(words in text for words in _MEMORY_WORDS)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0]
