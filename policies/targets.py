"""Quality targets: `noise<=low,jpeg<=low,fidelity>=0.9,piqe-=5`.

A kind of degradation is bounded by a level; a metric by a number, absolute (`<=`, `>=`) or as a change against the
input (`-=` falls by at least, `+=` rises by at least).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from conservator.policies.preset import Preset
from conservator.restorers.degradations.vocabulary import (
    Finding,
    Kind,
    Level,
    kind_named,
    level_of,
)
from conservator.restorers.errors import PromptError, UnknownNameError

__all__ = [
    "GUARD_NAMES",
    "KindTarget",
    "MetricTarget",
    "Target",
    "TargetCheck",
    "check_targets",
    "default_targets",
    "parse_targets",
    "render_targets",
]

GUARD_NAMES = ("fidelity", "structure", "colour", "lowpass", "residual")
"""Quantities of the comparison with the input that a target may bound; `fidelity` is another word for `structure`."""

_ITEM = re.compile(r"^\s*([A-Za-z][\w .-]*?)\s*(<=|>=|-=|\+=)\s*([^<>=+,]+?)\s*$")
_HINT = "write e.g. noise<=low, fidelity>=0.9 or piqe-=5"


class KindTarget(BaseModel):
    """A kind shall be at this level or below."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    level: Level

    @property
    def name(self) -> str:
        """What it bounds."""
        return self.kind.value

    def __str__(self) -> str:
        """As written in a target list."""
        return f"{self.kind.value}<={self.level.label.replace(' ', '-')}"


class MetricTarget(BaseModel):
    """A metric shall reach a bound, or change by at least so much."""

    model_config = ConfigDict(frozen=True)

    metric: str
    operator: Literal["<=", ">=", "-=", "+="]
    value: float

    @property
    def name(self) -> str:
        """What it bounds."""
        return self.metric

    def __str__(self) -> str:
        """As written in a target list."""
        return f"{self.metric}{self.operator}{self.value:g}"


Target = KindTarget | MetricTarget


class TargetCheck(BaseModel):
    """Whether the targets are met.

    Attributes:
        met: every target is.
        blocking: what stands in the way, one line a target, with its numbers.
        kinds: kinds that are still above their target.
    """

    model_config = ConfigDict(frozen=True)

    met: bool
    blocking: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()


def parse_targets(text: str, *, metrics: Collection[str]) -> tuple[Target, ...]:
    """Read a target list; `metrics` are the no-reference metrics known here.

    Raises:
        PromptError: an item that does not parse, a bound that makes no sense, or a name bounded twice.
        UnknownNameError: neither a kind nor a metric, or no such level.
    """
    targets: list[Target] = []
    for item in (part for part in text.split(",") if part.strip()):
        target = _parse_item(item, metrics)
        if any(target.name == other.name for other in targets):
            raise PromptError(f"target {item.strip()!r} bounds {target.name} twice; give it once")
        targets.append(target)
    if not targets:
        raise PromptError(f"no target in {text!r}; {_HINT}")
    return tuple(targets)


def _parse_item(item: str, metrics: Collection[str]) -> Target:
    match = _ITEM.match(item)
    if match is None:
        raise PromptError(f"target {item.strip()!r} does not parse; {_HINT}")
    name, operator, bound = match.groups()
    key = "_".join(name.lower().replace("-", " ").split())
    if key in metrics or key in GUARD_NAMES:
        return _metric_target(item.strip(), key, operator, bound)
    try:
        kind = kind_named(key)
    except UnknownNameError:
        known = [*(kind.value for kind in Kind), *metrics, *GUARD_NAMES]
        raise UnknownNameError("target", name.strip(), known) from None
    if operator != "<=":
        raise PromptError(f"target {item.strip()!r}: a kind is bounded from above; write {key}<=…")
    return KindTarget(kind=kind, level=Level.parse(bound))


def _metric_target(item: str, metric: str, operator: str, bound: str) -> MetricTarget:
    try:
        value = float(bound)
    except ValueError:
        raise PromptError(f"target {item!r}: {bound!r} is not a number; {_HINT}") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise PromptError(f"target {item!r}: {bound!r} is not a finite number; {_HINT}")
    if operator in ("-=", "+=") and metric in GUARD_NAMES:
        raise PromptError(f"target {item!r}: {metric} compares with the input; use <= or >=")
    return MetricTarget.model_validate({"metric": metric, "operator": operator, "value": value})


def render_targets(targets: Iterable[Target]) -> str:
    """The target list as text; `parse_targets` reads it back."""
    return ",".join(str(target) for target in targets)


def default_targets(findings: Iterable[Finding], preset: Preset) -> tuple[Target, ...]:
    """Without targets of the user's: what the preset acts on shall fall to its target level."""
    return tuple(
        KindTarget(kind=f.kind, level=preset.target_level)
        for f in findings
        if preset.acts_on(f) and f.level > preset.target_level
    )


def check_targets(
    targets: Iterable[Target],
    *,
    findings: Iterable[Finding],
    scores: Mapping[str, float],
    scores_before: Mapping[str, float],
    guards: Mapping[str, float],
    confidence: float = 0.0,
) -> TargetCheck:
    """Hold a result against the targets.

    Args:
        targets: what was asked for.
        findings: measured on the result.
        scores: no-reference metrics of the result.
        scores_before: the same of the input.
        guards: comparison of the result with the input.
        confidence: findings less certain than this do not block.
    """
    measured = {f.kind: f for f in findings}
    blocking: list[str] = []
    kinds: list[Kind] = []
    for target in targets:
        if isinstance(target, KindTarget):
            finding = measured.get(target.kind)
            if finding is None or finding.confidence < confidence:
                continue
            if level_of(finding.kind, finding.value) > target.level:
                blocking.append(
                    f"{target}: {target.kind.value} is {finding.level.label} ({finding.value:.3g})"
                )
                kinds.append(target.kind)
        else:
            complaint = _metric_complaint(target, scores, scores_before, guards)
            if complaint:
                blocking.append(complaint)
    return TargetCheck(met=not blocking, blocking=tuple(blocking), kinds=tuple(kinds))


def _metric_complaint(
    target: MetricTarget,
    scores: Mapping[str, float],
    scores_before: Mapping[str, float],
    guards: Mapping[str, float],
) -> str:
    if target.metric in GUARD_NAMES:
        key = "structure" if target.metric == "fidelity" else target.metric
        value = guards.get(key)
    else:
        value = scores.get(target.metric)
    if value is None:
        return f"{target}: {target.metric} could not be measured"
    if target.operator in ("<=", ">="):
        met = value <= target.value if target.operator == "<=" else value >= target.value
        return "" if met else f"{target}: {target.metric} is {value:.4g}"
    before = scores_before.get(target.metric)
    if before is None:
        return f"{target}: {target.metric} of the input could not be measured"
    change = before - value if target.operator == "-=" else value - before
    if change >= target.value:
        return ""
    return f"{target}: {target.metric} went from {before:.4g} to {value:.4g}"
