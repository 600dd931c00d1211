"""A run in words: what was found, what was done, what was gained, where it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from conservator.agent.cli.console import columns, one_line
from conservator.restorers.degradations.vocabulary import PARAMETERS, Finding, Kind, Level

if TYPE_CHECKING:
    from conservator.agent.result import RestorationResult
    from conservator.policies.attempt import Attempt
    from conservator.policies.targets import Clause
    from conservator.restorers.degradations.vocabulary import ConditionReport

__all__ = ["condition", "narrated", "report_data"]


def condition(report: ConditionReport) -> list[str]:
    """A condition report as lines: what is there, worst first, then what was looked for and not found."""
    present = report.present()
    lines = columns([_found(finding) for finding in present]) if present else ["  nothing"]
    absent = [_words(f.kind) for f in report.findings if f.level is Level.ABSENT]
    if absent:
        lines.append(f"  not found: {', '.join(absent)}")
    if report.quality is not None:
        lines.append(f"  overall quality {report.quality:.2f} of 1")
    if report.scene:
        lines.append(f"  scene: {report.scene}")
    return lines


def report_data(report: ConditionReport) -> dict[str, Any]:
    """A condition report as JSON data, with levels in words and parameters named."""
    return {
        "findings": [
            {
                "kind": finding.kind.value,
                "level": finding.level.label,
                "parameter": PARAMETERS[finding.kind].name,
                "value": finding.value,
                "unit": PARAMETERS[finding.kind].unit,
                "severity": finding.severity,
                "confidence": finding.confidence,
                "source": finding.source,
            }
            for finding in report.findings
        ],
        "scene": report.scene,
        "quality": report.quality,
    }


def narrated(result: RestorationResult, *, dry_run: bool = False) -> Iterator[str]:
    """The result of a run, line by line."""
    yield "Found"
    yield from condition(result.before)
    if dry_run:
        yield "Would do first"
        yield from [f"  {call}" for call in result.planned] or [f"  nothing: {result.reason}"]
        return
    yield "Done"
    yield from _done(result)
    if result.changed:
        yield "Gained"
        yield from columns(_gains(result))
    if result.contract:
        yield "Asked for"
        yield from columns(_asked(result.contract))
    yield f"Outcome: {_outcome(result)}"
    if result.vlm is not None:
        said = ", ".join(f"{what} by {_people(who)}" for what, who in result.decided.items())
        yield f"Decided: {said}"
    for note in result.notes:
        yield f"Note: {one_line(note)}"
    if result.run_dir is not None:
        yield f"Run folder: {result.run_dir}"
    yield f"Time: {_seconds(result)}"


_WHO = {
    "instruments": "the instruments",
    "policy": "the policy",
    "vlm": "the vision-language model",
    "user": "you",
}


def _people(who: str) -> str:
    """`policy+vlm` in words."""
    return " and ".join(_WHO[one] for one in who.split("+"))


def _outcome(result: RestorationResult) -> str:
    name, reason = result.outcome.replace("_", " "), one_line(result.reason)
    return reason if reason.startswith(name) else f"{name}; {reason}"


def _words(kind: Kind) -> str:
    return kind.value.replace("_", " ")


def _value(finding: Finding) -> str:
    return f"{finding.value:.{PARAMETERS[finding.kind].decimals}f}"


def _found(finding: Finding) -> tuple[str, ...]:
    parameter = PARAMETERS[finding.kind]
    return (
        _words(finding.kind),
        finding.level.label,
        f"{parameter.name} {_value(finding)}",
        f"confidence {finding.confidence:.2f}",
        f"({parameter.unit}; {finding.source})",
    )


def _done(result: RestorationResult) -> Iterator[str]:
    chain = {attempt.id for attempt in result.steps}
    for attempt in result.steps:
        seen = one_line(attempt.rendered_prompt) or str(attempt.call)
        yield f"  {attempt.call}, {attempt.seconds:.1f} s"
        yield f'    prompt: "{seen}"'
        if attempt.call.trial:
            yield f"    chosen: {one_line(attempt.call.trial)}"
        if attempt.verdict is not None:
            held = "; ".join(check.line for check in attempt.verdict.checks)
            yield f"    accepted: {one_line(held)}"
    if not chain:
        yield "  nothing" + ("" if result.path is None else "; the result is the input as it was")
    for attempt in result.attempts:
        if attempt.id not in chain:
            yield f"  not kept: {attempt.call}: {_why_not(attempt)}"


def _why_not(attempt: Attempt) -> str:
    if attempt.error:
        return one_line(attempt.error)
    if attempt.verdict is None:
        return "not judged"
    return "another was better" if attempt.verdict.accepted else one_line(attempt.verdict.reason)


def _gains(result: RestorationResult) -> Iterator[tuple[str, str, str, str]]:
    from conservator.tools.iqa import METRICS

    for kind in Kind:
        before, after = result.before.finding(kind), result.after.finding(kind)
        if before is None or after is None or Level.ABSENT is before.level is after.level:
            continue
        change = after.severity - before.severity
        yield (
            _words(kind),
            f"{before.level.label} ({_value(before)})",
            f"-> {after.level.label} ({_value(after)})",
            _judged(-change),
        )
    for name, after_score in result.scores.items():
        before_score = result.scores_before.get(name)
        if before_score is None:
            continue
        change = after_score - before_score
        better = change if name in METRICS and METRICS[name].higher_is_better else -change
        yield name, f"{before_score:.3g}", f"-> {after_score:.3g}", _judged(better)


def _asked(contract: Iterable[Clause]) -> Iterator[tuple[str, str, str]]:
    for clause in contract:
        held = "met" if clause.about == "target" else "held"
        yield clause.text, held if clause.met else f"not {held}", one_line(clause.says)


def _judged(gain: float) -> str:
    return "better" if gain > 0 else "worse" if gain < 0 else "same"


def _seconds(result: RestorationResult) -> str:
    timing = result.timing
    shares = {
        "restorers": timing.restorers,
        "loading": timing.loading,
        "instruments": timing.instruments,
        "metrics": timing.metrics,
        "vision-language model": timing.vlm,
        "agent": timing.agent,
    }
    listed = ", ".join(f"{name} {seconds:.1f}" for name, seconds in shares.items() if seconds)
    return f"{timing.total:.1f} s ({listed})" if listed else f"{timing.total:.1f} s"
