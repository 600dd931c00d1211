"""Measuring a picture: instruments, no-reference metrics, and the comparison with the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conservator.policies.acceptance import Measurement
from conservator.policies.targets import GUARD_NAMES, MetricTarget
from conservator.restorers.degradations.vocabulary import Finding
from conservator.tools.compare import compare
from conservator.tools.gain import LEAST_SIDE, Gain, estimate_gain
from conservator.tools.instruments import measure
from conservator.tools.iqa import score
from conservator.tools.look import Pixels

if TYPE_CHECKING:
    from conservator.agent.context import RunContext

__all__ = ["measured", "metrics_needed"]


def metrics_needed(context: RunContext) -> tuple[str, ...]:
    """The no-reference metrics that vote or that a target bounds, as far as they can run here."""
    asked = [t.metric for t in context.targets if isinstance(t, MetricTarget)]
    wanted = [*context.preset.votes, *(name for name in asked if name not in GUARD_NAMES)]
    return tuple(name for name in dict.fromkeys(wanted) if name in context.directions)


def measured(
    context: RunContext,
    pixels: Pixels,
    *,
    findings: bool = True,
    against_input: bool = False,
    source: tuple[Pixels, Gain] | None = None,
) -> Measurement:
    """Measure a picture.

    Args:
        context: the run, for its metrics, its input and its watch.
        pixels: (H, W, 3), float32, [0, 1].
        findings: let the instruments look.
        against_input: compare it with the run's input.
        source: the picture it was made from, and what that had gained, where it was not made from the input.
    """
    found: tuple[Finding, ...] = ()
    if findings:
        with context.timed("instruments"):
            found = measure(pixels)
    with context.timed("metrics"):
        scores = score(pixels, metrics=metrics_needed(context))
    guards, gain = None, None
    if against_input:
        with context.timed("guards"):
            ssim = context.contract.needs_ssim
            guards = compare(context.picture.pixels, pixels, ssim=ssim)
        with context.timed("metrics"):
            gain = _gain(context.picture.pixels, pixels, source)
    return Measurement(findings=found, scores=dict(scores), guards=guards, gain=gain)


def _gain(original: Pixels, after: Pixels, source: tuple[Pixels, Gain] | None) -> Gain | None:
    """None where the picture is too small to tell, or the candidate has another size.

    A later step is compared with its source, as the network was taught, and the gains of the steps add up.
    """
    before, so_far = (original, None) if source is None else source
    if before.shape != after.shape or min(before.shape[:2]) < LEAST_SIDE:
        return None
    gain = estimate_gain(before, after)
    return gain if so_far is None else so_far.plus(gain)
