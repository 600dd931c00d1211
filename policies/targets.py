"""Quality targets: `noise<=low,jpeg<=low,fidelity>=0.9,ssim_to_input>=0.8,piqe-=5`.

A kind of degradation is bounded by a level; a metric by a number, absolute (`<=`, `>=`) or as a change against the
input (`-=` falls by at least, `+=` rises by at least); how far the result may lie from the input by a number (`TO_INPUT`).
The last kind of target binds every candidate; the others are what the run strives for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal, NamedTuple

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
    "TO_INPUT",
    "Clause",
    "KindTarget",
    "MetricTarget",
    "Target",
    "TargetCheck",
    "binding",
    "check_targets",
    "default_targets",
    "parse_targets",
    "render_targets",
]


class _Comparison(NamedTuple):
    """A quantity of the comparison with the input: the sign of a bound on it, its range, and what it is."""

    sign: Literal["<=", ">="]
    most: float
    what: str


TO_INPUT: Final[Mapping[str, _Comparison]] = {
    "fidelity": _Comparison(">=", 1, "another word for structure"),
    "structure": _Comparison(">=", 1, "agreement of coarse structure"),
    "ssim_to_input": _Comparison(">=", 1, "SSIM of luma, every pixel"),
    "psnr_to_input": _Comparison(">=", 80, "PSNR of RGB, dB"),
    "change": _Comparison("<=", 255, "another word for residual"),
    "residual": _Comparison("<=", 255, "RMS change, of 255"),
    "colour": _Comparison("<=", 1, "mean shift of chromaticity"),
    "lowpass": _Comparison("<=", 1, "mean shift of the low-pass picture"),
}
"""Quantities of the comparison with the input that a target may bound; see `conservator.tools.compare.Guards`."""

GUARD_NAMES: Final = tuple(TO_INPUT)
_OTHER_WORDS: Final = {"fidelity": "structure", "ssim_to_input": "ssim", "change": "residual"}

_ITEM = re.compile(r"^\s*([A-Za-z][\w .-]*?)\s*(<=|>=|-=|\+=)\s*([^<>=+,]+?)\s*$")
_BETWEEN = re.compile(r"[,;\n]")
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


class Clause(BaseModel):
    """Something that was asked for, and what came of it.

    Attributes:
        about: a target, a protected place, or something to keep.
        text: as it was asked for.
        value: the measured number; of a kind its parameter, of a protected place the share of the photo; None where nothing was measured.
        before: the same of the input, where it is a change that counts.
        says: the numbers for people.
    """

    model_config = ConfigDict(frozen=True)

    about: Literal["target", "protect", "keep"]
    text: str
    met: bool
    value: float | None = None
    before: float | None = None
    says: str = ""

    def __str__(self) -> str:
        """In one line."""
        return f"{self.text}: {self.says}"


class TargetCheck(BaseModel):
    """Whether the targets are met.

    Attributes:
        met: every target is.
        blocking: what stands in the way, one line a target, with its numbers.
        kinds: kinds that are still above their target.
        clauses: every target with its numbers.
    """

    model_config = ConfigDict(frozen=True)

    met: bool
    blocking: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    clauses: tuple[Clause, ...] = ()

    def joined_by(self, others: Iterable[Clause]) -> TargetCheck:
        """With other things that were asked for."""
        others = tuple(others)
        broken = tuple(str(clause) for clause in others if not clause.met)
        return self.model_copy(
            update={
                "met": self.met and not broken,
                "blocking": (*self.blocking, *broken),
                "clauses": (*self.clauses, *others),
            }
        )


def parse_targets(text: str, *, metrics: Collection[str]) -> tuple[Target, ...]:
    """Read a target list; `metrics` are the no-reference metrics known here.

    Raises:
        PromptError: an item that does not parse, a bound that makes no sense, or a name bounded twice.
        UnknownNameError: neither a kind nor a metric, or no such level.
    """
    targets: list[Target] = []
    for item in (part for part in _BETWEEN.split(text) if part.strip()):
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
    if metric in TO_INPUT:
        sign, most, _ = TO_INPUT[metric]
        if operator in ("-=", "+="):
            raise PromptError(f"target {item!r}: {metric} compares with the input; use {sign}")
        if operator != sign:
            side = "below" if sign == ">=" else "above"
            raise PromptError(f"target {item!r}: {metric} is bounded from {side}; use {sign}")
        if not 0 <= value <= most:
            raise PromptError(f"target {item!r}: {metric} lies between 0 and {most:g}")
    elif operator in ("-=", "+=") and value <= 0:
        raise PromptError(f"target {item!r}: a change is above 0; write {metric}{operator}…")
    return MetricTarget.model_validate({"metric": metric, "operator": operator, "value": value})


def render_targets(targets: Iterable[Target]) -> str:
    """The target list as text; `parse_targets` reads it back."""
    return ",".join(str(target) for target in targets)


def default_targets(findings: Iterable[Finding], preset: Preset) -> tuple[KindTarget, ...]:
    """Without targets of the user's: what the preset acts on shall fall to its target level."""
    return tuple(
        KindTarget(kind=f.kind, level=preset.target_level)
        for f in preset.treats(findings)
        if f.level > preset.target_level
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
    clauses: list[Clause] = []
    kinds: list[Kind] = []
    for target in targets:
        if isinstance(target, KindTarget):
            clause = _kind_clause(target, measured.get(target.kind), confidence)
            kinds += [] if clause.met else [target.kind]
        else:
            clause = _metric_clause(target, scores, scores_before, guards)
        clauses.append(clause)
    blocking = tuple(str(clause) for clause in clauses if not clause.met)
    return TargetCheck(
        met=not blocking, blocking=blocking, kinds=tuple(kinds), clauses=tuple(clauses)
    )


def binding(targets: Iterable[Target]) -> tuple[MetricTarget, ...]:
    """The targets that bound how far a candidate may lie from the input."""
    return tuple(t for t in targets if isinstance(t, MetricTarget) and t.metric in TO_INPUT)


def _kind_clause(target: KindTarget, finding: Finding | None, confidence: float) -> Clause:
    name, text = target.kind.value, str(target)
    if finding is None:
        return Clause(about="target", text=text, met=True, says=f"no {name} was looked for")
    unsure = finding.confidence < confidence
    level = level_of(finding.kind, finding.value)
    says = f"{name} is {level.label} ({finding.value:.3g})"
    if unsure and level > target.level:
        says += f", which is a guess (confidence {finding.confidence:.2f})"
    met = unsure or level <= target.level
    return Clause(about="target", text=text, met=met, value=finding.value, says=says)


def _metric_clause(
    target: MetricTarget,
    scores: Mapping[str, float],
    scores_before: Mapping[str, float],
    guards: Mapping[str, float],
) -> Clause:
    text, name = str(target), target.metric
    value = _to_input(name, guards) if name in TO_INPUT else scores.get(name)
    if value is None:
        return Clause(about="target", text=text, met=False, says=f"{name} could not be measured")
    if target.operator in ("<=", ">="):
        met = value <= target.value if target.operator == "<=" else value >= target.value
        says = f"{name} is {_number(value, target.value)}"
        return Clause(about="target", text=text, met=met, value=value, says=says)
    before = scores_before.get(name)
    if before is None:
        says = f"{name} of the input could not be measured"
        return Clause(about="target", text=text, met=False, value=value, says=says)
    change = before - value if target.operator == "-=" else value - before
    says = f"{name} went from {before:.4g} to {value:.4g}"
    met = change >= target.value
    return Clause(about="target", text=text, met=met, value=value, before=before, says=says)


def _to_input(name: str, guards: Mapping[str, float]) -> float | None:
    if name != "psnr_to_input":
        return guards.get(_OTHER_WORDS.get(name, name))
    residual = guards.get("residual")
    if residual is None:
        return None
    return 80.0 if residual == 0 else min(80.0, 20 * math.log10(255 / residual))


def _number(value: float, bound: float) -> str:
    """As short as it can be and still tell the value from the bound."""
    for digits in (4, 6):
        text = f"{value:.{digits}g}"
        if (float(text) < bound) == (value < bound) and (float(text) > bound) == (value > bound):
            return text
    return f"{value:.9g}"
