"""What a session says: plain sentences with the numbers behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from conservator.agent.dialogue.reply import Comparison
from conservator.agent.dialogue.treatment import Treatment, inside, strengths
from conservator.agent.dialogue.tree import Tree, Turn, Wish
from conservator.agent.recipe import MixStep, RecipeStep
from conservator.policies.acceptance import Measurement, Verdict
from conservator.policies.attempt import ORIGINAL
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    ConditionReport,
    Finding,
    Kind,
    Level,
    severity_of,
)

__all__ = [
    "compared",
    "effect",
    "explained",
    "found",
    "listed",
    "named",
    "new_calls",
    "rule_says",
    "step_words",
    "tree_lines",
    "wish_words",
]


_SEEN: Final = 0.02
"""Severity by which a measured kind must change to be told."""
_DEEDS: Final[Mapping[Kind, str]] = {
    Kind.NOISE: "denoising",
    Kind.DEFOCUS_BLUR: "sharpening",
    Kind.MOTION_BLUR: "undoing of motion",
    Kind.RAIN: "taking off of rain",
    Kind.HAZE: "dehazing",
    Kind.SNOW: "taking off of snow",
    Kind.LOW_LIGHT: "brightening",
    Kind.JPEG: "undoing of compression",
    Kind.LOW_RESOLUTION: "undoing of low resolution",
    Kind.PEPPER_NOISE: "taking off of dots",
    Kind.MASK: "filling of gaps",
}


def named(kind: Kind) -> str:
    """A kind in words."""
    return kind.value.replace("_", " ")


def listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def found(report: ConditionReport) -> str:
    """What was found on the input, in one line."""
    present = [
        f"{named(f.kind)} {f.level.label} ({_amount(f.kind, f.value)}, confidence {f.confidence:.2f})"
        for f in report.present()
    ]
    return "; ".join(present) or "nothing"


def wish_words(wish: Wish, before: Treatment, after: Treatment) -> Iterator[str]:
    """How the words were read, with the strengths before and after, one line a kind."""
    where = _where(wish)
    if wish.shows:
        unread = "" if before != after else "; no restorer that is used here reads that, so far"
        yield f"it shows {wish.shows}{unread}"
    if set(wish.changes) == set(Kind):
        yield f"left as it came in{where}"
        return
    old, new = strengths(inside(before, wish.region)), strengths(inside(after, wish.region))
    for kind in wish.kinds:
        deed = _DEEDS[kind]
        if kind in wish.values:
            words = f"{deed} as you say"
        elif wish.changes[kind] == "off":
            words = f"no {deed}"
        else:
            words = f"{'more' if wish.doses.get(kind, 0.0) > 0 else 'less'} {deed}"
        then, now = (
            _number(kind, values[kind]) if kind in values else "untreated" for values in (old, new)
        )
        change = f": {PARAMETERS[kind].name} {then} -> {now}" if then != now else ""
        yield f"{words}{where}{change}"


def step_words(step: RecipeStep | MixStep) -> str:
    """A step as a call: `classical-gamma(low_light=0.61)`."""
    if isinstance(step, MixStep):
        over, under = (f"step {n}" if n else "the input" for n in (step.over, step.under))
        return f"{over} inside {step.region.name}, {under} elsewhere"
    asked = ", ".join(f"{kind.value}={value:.4g}" for kind, value in step.degradations.items())
    share = "" if step.blend == 1 else f", {step.blend:.0%} of it"
    return f"{step.restorer}({asked}){share}"


def new_calls(
    old: Sequence[RecipeStep | MixStep], new: Sequence[RecipeStep | MixStep]
) -> list[str]:
    """The restorers' calls that an earlier treatment did not have."""

    def bare(step: RecipeStep) -> RecipeStep:
        # What a restorer chose for itself was there before, unsaid.
        facts = {
            "source": None,
            "weights_sha256": None,
            "rendered_prompt": "",
            "configuration": "",
        }
        return step.model_copy(update=facts)

    known = [bare(step) for step in old if isinstance(step, RecipeStep)]
    return [step_words(s) for s in new if isinstance(s, RecipeStep) and bare(s) not in known]


def effect(
    residual: float, brightness: tuple[float, float], *, kinds: Mapping[Kind, tuple[float, float]]
) -> str:
    """What a turn changed: RMS of 255 against the turn before, mean luma in [0, 1], and kinds measured before and after."""
    if residual == 0:
        return "the picture is the same as before"
    parts = [f"the picture changed by {residual:.1f} of 255 (RMS)"]
    old, new = (255 * value for value in brightness)
    if round(new) != round(old):
        parts.append(f"brightness {old:.0f} -> {new:.0f} of 255")
    parts += [
        f"measured {named(kind)}: {PARAMETERS[kind].name} {_number(kind, then)} -> {_number(kind, now)}"
        for kind, (then, now) in kinds.items()
        if abs(severity_of(kind, then) - severity_of(kind, now)) >= _SEEN
    ]
    return "; ".join(parts)


def rule_says(verdict: Verdict | None, *, asked: bool) -> str:
    """The joint rule's opinion; `asked`, where it was done because the user said so."""
    if verdict is None:
        return "nothing is treated: this is the photo as it came in"
    if verdict.accepted:
        return f"the joint rule agrees: {verdict.reason}"
    names = listed([_guard(check.name, check.kind) for check in verdict.failed()])
    says = f"the joint rule's guard {names} would have refused it: {verdict.reason}"
    return f"done as asked; {says}" if asked else says


def explained(
    turn: Turn,
    parent: Turn | None,
    report: ConditionReport,
    run: Mapping[str, Any] | None,
) -> Iterator[str]:
    """Why a node is as it is: findings, words, calls, prompts, measurements, verdict.

    Args:
        turn: the node.
        parent: the node it was asked at, None for the original.
        report: what was found on the input.
        run: `report.json` of the automatic run, None without one.
    """
    asked = "the automatic run" if turn.instruction == "restore" else f'you said "{turn.words}"'
    yield f"{turn.id}, from {turn.parent}: {asked}"
    yield f"  found on the input: {found(report)}"
    before = turn.treatment if parent is None else parent.treatment
    for wish in turn.wishes:
        for line in wish_words(wish, before, turn.treatment) if parent else _first_words(wish):
            by = "the vision-language model" if turn.decided_by == "vlm" else "rule"
            yield f"  read, by {by}, as: {line}"
    if not turn.steps:
        yield "  done: nothing; the photo is as it came in"
    for number, step in enumerate(turn.steps, 1):
        yield f"  step {number}: {step_words(step)}{_source(number, step)}"
        if isinstance(step, RecipeStep) and step.rendered_prompt:
            yield f'    prompt: "{" ".join(step.rendered_prompt.split())}"'
    if turn.measurement is not None and turn.steps:
        yield f"  measured: {_measured(turn.measurement, report)}"
    yield f"  {rule_says(turn.verdict, asked=turn.instruction == 'refine')}"
    for check in () if turn.verdict is None else turn.verdict.checks:
        yield f"    {'holds' if check.passed else 'AGAINST'}: {check.line}"
    for attempt in _refused(run):
        yield f"  tried and not kept: {attempt}"
    if run is not None:
        yield f"  the run ended: {run['outcome'].replace('_', ' ')}; {run['reason']}"


def compared(comparison: Comparison) -> Iterator[str]:
    """A comparison in lines."""
    guards = comparison.guards
    yield f"{comparison.first} and {comparison.second}"
    yield (
        f"  they differ by {guards.residual:.1f} of 255 (RMS); structure agrees to {guards.structure:.3f}, "
        f"colour moved by {guards.colour:.3f}"
    )
    old, new = (255 * value for value in comparison.brightness)
    yield f"  brightness {old:.0f} -> {new:.0f} of 255"
    for name, (then, now) in comparison.severities.items():
        if max(then, now) >= 0.125:
            yield f"  {name.replace('_', ' ')}: severity {then:.2f} -> {now:.2f} of 1"
    for name, (then, now) in comparison.scores.items():
        yield f"  {name} {then:.3g} -> {now:.3g}"


def tree_lines(tree: Tree) -> Iterator[str]:
    """The tree, one node a line, indented below its parent; `*` marks where the session is."""

    def line(node: str, depth: int, words: str) -> str:
        marks = [name for name, at in tree.branches.items() if at == node]
        marked = f"  [{', '.join(marks)}]" if marks else ""
        return f"{'*' if node == tree.here else ' '} {'  ' * depth}{node}  {words}{marked}"

    def below(node: str, depth: int) -> Iterator[str]:
        for turn in tree.children(node):
            words = "restore" if turn.instruction == "restore" else f'"{turn.words}"'
            yield line(turn.id, depth, words)
            yield from below(turn.id, depth + 1)

    yield line(ORIGINAL, 0, "the photo as it came in")
    yield from below(ORIGINAL, 1)


def _where(wish: Wish) -> str:
    return "" if wish.region is None else f" in {wish.region.name}"


def _first_words(wish: Wish) -> Iterator[str]:
    where = _where(wish)
    for kind in wish.kinds:
        value = wish.values.get(kind)
        said = wish.changes.get(kind, "") if value is None else _amount(kind, value)
        yield f"{named(kind)}: {said}{where}"


def _refused(run: Mapping[str, Any] | None) -> Iterator[str]:
    """Attempts of a run that did not lead to its result, with the reason."""
    if run is None:
        return
    chain, node = set(), run["best"]
    attempts = {attempt["id"]: attempt for attempt in run["attempts"]}
    while node in attempts:
        chain.add(node)
        node = attempts[node]["call"]["source"]
    for name, attempt in attempts.items():
        if name in chain:
            continue
        verdict = attempt["verdict"]
        why = attempt["error"] or ("not judged" if verdict is None else verdict["reason"])
        if verdict is not None and verdict["accepted"]:
            why = "another was better"
        asked = ", ".join(
            f"{kind}={value:.4g}"
            for kind, value in attempt["call"]["prompt"]["degradations"].items()
        )
        yield f"{attempt['call']['restorer']}({asked}): {why}"


def _source(number: int, step: RecipeStep | MixStep) -> str:
    if isinstance(step, MixStep) or step.source is None or step.source == number - 1:
        return ""
    return " on the input" if step.source == 0 else f" on step {step.source}"


def _measured(measurement: Measurement, report: ConditionReport) -> str:
    parts = []
    for finding in measurement.findings:
        before = report.finding(finding.kind)
        level = Level.ABSENT if before is None else before.level
        if finding.level is Level.ABSENT is level:
            continue
        parts.append(f"{named(finding.kind)} {_was(before)}{finding.level.label}")
    scores = [f"{name} {value:.3g}" for name, value in measurement.scores.items()]
    return "; ".join([*parts, *scores]) or "nothing left to see"


def _was(before: Finding | None) -> str:
    return "" if before is None else f"{before.level.label} -> "


def _guard(name: str, kind: Kind | None) -> str:
    if name == "rose":
        return f"against more {named(kind)}" if kind else "against new damage"
    words = {"treated_fell": "what was treated", "votes": "the metrics' votes"}
    return f"on {words.get(name, name)}"


def _amount(kind: Kind, value: float) -> str:
    return f"{PARAMETERS[kind].name} {_number(kind, value)}"


def _number(kind: Kind, value: float) -> str:
    return f"{value:.{PARAMETERS[kind].decimals}f}"
