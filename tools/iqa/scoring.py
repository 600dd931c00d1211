"""`score`: one call over every metric that can run here, offline."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from conservator.restorers.errors import BackendMissingError, UsageError
from conservator.tools.iqa.card import Availability, MetricCard, Scores, Skip, SkipReason
from conservator.tools.iqa.catalogue import METRICS, card_named
from conservator.tools.iqa.offline import what_is_missing
from conservator.tools.iqa.regions import Box, crops_of, rows_of
from conservator.tools.iqa.resident import quiet, resident

if TYPE_CHECKING:
    import torch

__all__ = ["available", "score"]


def available() -> dict[str, Availability]:
    """Which metrics can run here without the network; looks at the disk, loads nothing."""
    return {name: _availability(card) for name, card in METRICS.items()}


def _availability(card: MetricCard) -> Availability:
    if card.name == "quality":
        from conservator.tools.instruments.learned import estimator_missing

        why = estimator_missing()
    else:
        why = what_is_missing(card)
    return Availability(card.name, not why, why)


def score(
    image: torch.Tensor | npt.NDArray[Any],
    reference: torch.Tensor | npt.NDArray[Any] | None = None,
    metrics: Iterable[str] | None = None,
    *,
    device: str = "cpu",
) -> Scores:
    """Score an image, against a reference where there is one.

    Pictures above `regions.PIXEL_LIMIT` are scored on six fixed native-resolution crops and the scores averaged;
    psnr and psnry always see every pixel.

    Args:
        image: (1, 3, H, W) tensor or (H, W, 3) array, RGB, sRGB-encoded; float in [0, 1] or uint8.
        reference: the same size as `image`; None for no-reference metrics only.
        metrics: names; None takes every metric that is available, the full-reference ones only with a reference.
        device: where torch computes.

    Returns:
        Name -> score of every metric that gave a number. `Scores.skipped` says, by name, why the others did
        not: missing weights, a picture too small, a score that is not a number.

    Raises:
        UnknownNameError: no such metric.
        UsageError: not an image of the form above, sizes that differ, or a full-reference metric asked for without
            a reference.
    """
    cards = _cards(metrics, with_reference=reference is not None)
    picture = _tensor(image, "image")
    clean = None if reference is None else _tensor(reference, "reference")
    if clean is not None and clean.shape != picture.shape:
        raise UsageError(
            f"the image is {_size(picture)} and the reference {_size(clean)}; resize one to the other first"
        )
    values: dict[str, float] = {}
    skipped: dict[str, Skip] = {}
    crops = 0
    for card in cards:
        outcome = _one(card, picture, clean if card.needs_reference else None, device)
        if isinstance(outcome, Skip):
            skipped[card.name] = outcome
            continue
        values[card.name] = outcome
        boxes = len(crops_of(*picture.shape[-2:]))
        if not card.whole and boxes > 1:
            crops = boxes
    return Scores(values, skipped, crops)


def _cards(metrics: Iterable[str] | None, *, with_reference: bool) -> list[MetricCard]:
    if metrics is None:
        return [
            card
            for card in METRICS.values()
            if (with_reference or not card.needs_reference) and _availability(card).ready
        ]
    asked = [metrics] if isinstance(metrics, str) else metrics
    cards = list({card.name: card for card in map(card_named, asked)}.values())
    orphans = [card.name for card in cards if card.needs_reference and not with_reference]
    if orphans:
        raise UsageError(
            f"{', '.join(orphans)} compare with a reference; give one or leave them out"
        )
    return cards


def _one(
    card: MetricCard, picture: torch.Tensor, clean: torch.Tensor | None, device: str
) -> float | Skip:
    """One metric's score, or why there is none."""
    height, width = picture.shape[-2:]
    if min(height, width) < card.min_side:
        why = (
            f"{card.name} needs at least {card.min_side} px a side, the picture is {_size(picture)}"
        )
        return Skip(card.name, SkipReason.TOO_SMALL, why)
    state = _availability(card)
    if not state.ready:
        return Skip(card.name, SkipReason.WEIGHTS, state.why)
    try:
        value = (
            _quality(picture) if card.name == "quality" else _measured(card, picture, clean, device)
        )
    except BackendMissingError as error:
        return Skip(card.name, SkipReason.WEIGHTS, str(error))
    except (RuntimeError, ValueError, AssertionError, OSError, KeyError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        return Skip(
            card.name, SkipReason.FAILED, f"{card.name} failed on {_size(picture)}: {first_line}"
        )
    if not math.isfinite(value):
        why = f"{card.name} is {value} on this picture ({_size(picture)}): too flat or too dark to judge"
        return Skip(card.name, SkipReason.NOT_A_NUMBER, why)
    return value


def _measured(
    card: MetricCard, picture: torch.Tensor, clean: torch.Tensor | None, device: str
) -> float:
    import torch

    metric = resident(card, device)
    size = picture.shape[-2], picture.shape[-1]
    boxes = rows_of(*size) if card.whole else crops_of(*size)
    values: list[float] = []
    with metric.lock, quiet(), torch.inference_mode():
        for box in boxes:
            inputs = [_cut(x, box) for x in (picture, clean) if x is not None]
            try:
                values.append(float(metric.call(*inputs).reshape(-1)[0]))
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # NIQE on a flat crop
                values.append(math.nan)
    if not card.whole:
        numbers = [value for value in values if math.isfinite(value)]
        return sum(numbers) / len(numbers) if numbers else math.nan
    areas = [box[2] * box[3] for box in boxes]
    error = sum(a * 10 ** (-v / 10) for a, v in zip(areas, values, strict=True)) / sum(areas)
    return -10 * math.log10(error)


def _quality(picture: torch.Tensor) -> float:
    from conservator.tools.instruments.learned import learned_estimate

    estimate = learned_estimate(picture[0].permute(1, 2, 0).numpy())
    return math.nan if estimate is None or estimate.quality is None else estimate.quality


def _cut(picture: torch.Tensor, box: Box) -> torch.Tensor:
    top, left, height, width = box
    return picture[..., top : top + height, left : left + width]


def _size(picture: torch.Tensor) -> str:
    return f"{picture.shape[-1]}x{picture.shape[-2]}"


def _tensor(image: torch.Tensor | npt.NDArray[Any], what: str) -> torch.Tensor:
    """Bring an image to (1, 3, H, W), float32, [0, 1], on the CPU."""
    import torch

    form = f"the {what} must be a (1, 3, H, W) tensor or an (H, W, 3) array"
    if isinstance(image, torch.Tensor):
        tensor = image.detach().cpu()
        if tensor.ndim != 4 or tensor.shape[:2] != (1, 3) or 0 in tensor.shape:
            raise UsageError(f"{form}, not a tensor of shape {tuple(tensor.shape)}")
    else:
        array = np.asarray(image)
        if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
            raise UsageError(f"{form}, not an array of shape {array.shape}")
        tensor = torch.from_numpy(np.array(array.transpose(2, 0, 1)[None], order="C"))
    if tensor.dtype == torch.uint8:
        return tensor.float() / 255
    if not tensor.dtype.is_floating_point:
        raise UsageError(f"{form} of float in [0, 1] or uint8, not {tensor.dtype}")
    tensor = tensor.float()
    low, high = float(tensor.min()), float(tensor.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise UsageError(f"the {what} must lie in [0, 1], its values span {low:.3g} to {high:.3g}")
    return tensor.clamp(0, 1)
