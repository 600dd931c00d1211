"""What a run measured, asked and took, as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from conservator.agent.report.table import Cell, Line, Table
from conservator.agent.result import Timing
from conservator.agent.vlm.asked import Asked
from conservator.policies.acceptance import Check, Verdict
from conservator.policies.attempt import Attempt
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    ConditionReport,
    Finding,
    Kind,
    Level,
)
from conservator.tools.compare import Guards
from conservator.tools.iqa import METRICS, MetricCard

__all__ = [
    "arrows",
    "asked_table",
    "changed",
    "checks_table",
    "condition_table",
    "guards_table",
    "kind_words",
    "level_words",
    "scores_table",
    "seconds_table",
    "tools_table",
    "value_words",
]

Tone = Literal["", "good", "bad"]

_GUARDS: Final = {
    "structure": "agreement of local structure, 1 for the same scene",
    "ssim": "SSIM of luma, every pixel",
    "colour": "mean shift of chromaticity",
    "lowpass": "mean difference seen from afar",
    "residual": "RMS difference, of 255",
}
_CHECKS: Final = {
    "treated_fell": "what was treated fell",
    "target": "asked for",
    "kept": "to be kept",
    "votes": "vote of the metrics",
    "gain": "expected gain, dB",
    "opinion": "the model's opinion",
}
_PARTS: Final = {
    "restorers": "restorers",
    "loading": "loading weights",
    "instruments": "instruments",
    "metrics": "metrics",
    "vlm": "vision-language model",
    "agent": "the agent itself",
}


def kind_words(kind: Kind) -> str:
    """A kind in words."""
    return kind.value.replace("_", " ")


def value_words(finding: Finding) -> str:
    """Its parameter: `sigma 18.1`."""
    parameter = PARAMETERS[finding.kind]
    return f"{parameter.name} {finding.value:.{parameter.decimals}f}"


def level_words(finding: Finding | None) -> str:
    """`high (sigma 31.0)`, `absent`, or `not measured`."""
    if finding is None:
        return "not measured"
    if finding.level is Level.ABSENT:
        return finding.level.label
    return f"{finding.level.label} ({value_words(finding)})"


def arrows(text: str) -> str:
    """Text with arrows in one piece, which a line's end would break."""
    return text.replace("->", "→")


def changed(gain: float) -> tuple[str, Tone]:
    """`better`, `worse` or `same`, and its tone."""
    if gain > 0:
        return "better", "good"
    return ("worse", "bad") if gain < 0 else ("same", "")


def condition_table(before: ConditionReport, after: ConditionReport | None) -> Table:
    """What was found, and what is left of it; kinds that were absent all along are a note."""
    lines, absent = [], []
    for finding in sorted(before.findings, key=lambda found: (-found.severity, found.kind)):
        now = None if after is None else after.finding(finding.kind)
        if finding.level is Level.ABSENT and (now is None or now.level is Level.ABSENT):
            absent.append(kind_words(finding.kind))
            continue
        parameter = PARAMETERS[finding.kind]
        cells = [
            Cell(parameter.name, parameter.unit),
            Cell(finding.level.label, value_words(finding)),
            Cell(f"{finding.confidence:.2f}", finding.source),
        ]
        if after is not None:
            cells += _afterwards(finding, now)
        lines.append(Line(kind_words(finding.kind), tuple(cells)))
    columns = ["parameter", "before", "confidence"]
    if after is not None:
        columns += ["after", "confidence", "change"]
    note = f"Looked for and not found: {', '.join(absent)}." if absent else ""
    return Table("Condition", "kind", tuple(columns), tuple(lines), note)


def scores_table(before: Mapping[str, float], after: Mapping[str, float] | None) -> Table:
    """No-reference metrics with the direction that is better."""
    lines = []
    for name in dict.fromkeys((*before, *(after or {}))):
        card = METRICS.get(name)
        arrow = "" if card is None else " ↑" if card.higher_is_better else " ↓"
        then, now = before.get(name), None if after is None else after.get(name)
        cells = [_number(then)]
        if after is not None:
            cells += [_number(now), _change(then, now, card)]
        cells.append(Cell("" if card is None else card.title))
        lines.append(Line(f"{name}{arrow}", tuple(cells)))
    columns = ("before", "after", "change") if after is not None else ("before",)
    note = "↑ higher is better, ↓ lower is better." if lines else ""
    return Table("Scores", "metric", (*columns, "what it is"), tuple(lines), note, words=1)


def guards_table(guards: Guards, checks: Iterable[Check] = ()) -> Table:
    """How far the result lies from the input, with the limits that held for the treatment."""
    limits = {check.name: check for check in checks}
    lines = []
    for name, value in guards.as_numbers().items():
        check = limits.get(name)
        limit, held = Cell("-"), Cell("")
        if check is not None:
            sign = "at least" if name == "structure" else "at most"
            limit, held = Cell(f"{check.limit:.4g}", sign), _held(check)
        cells = (Cell(f"{value:.4g}"), limit, held, Cell(_GUARDS.get(name, "")))
        lines.append(Line(name, cells))
    columns = ("measured", "limit", "verdict", "what it is")
    return Table("Likeness to the input", "guard", columns, tuple(lines), words=2)


def checks_table(verdict: Verdict) -> Table:
    """The conditions of the joint rule, with their numbers."""
    lines = [
        Line(
            _check_words(check),
            (
                Cell(f"{check.value:.4g}"),
                Cell(f"{check.limit:.4g}"),
                _held(check),
                Cell(arrows(check.says)),
            ),
        )
        for check in verdict.checks
    ]
    columns = ("value", "limit", "verdict", "in words")
    return Table("", "check", columns, tuple(lines), words=2)


def asked_table(asked: Sequence[Asked]) -> Table:
    """Questions to a vision-language model, and what each came to."""
    lines = []
    for one in asked:
        answer = json.dumps(dict(one.answer), ensure_ascii=False) if one.answer else ""
        tone: Tone = "good" if one.status == "answered" else "bad"
        cells = (
            Cell(one.about or "input"),
            Cell(one.status, tone=tone),
            Cell(str(one.calls)),
            Cell(str(one.tokens)),
            Cell(f"{one.seconds:.1f}"),
            Cell("; ".join(one.notes)),
            Cell(answer),
        )
        lines.append(Line(one.question, cells))
    columns = ("about", "status", "calls", "tokens", "seconds", "notes", "answer")
    return Table("", "question", columns, tuple(lines), words=2)


def seconds_table(timing: Timing) -> Table:
    """Where the time went."""
    shares = [(words, float(getattr(timing, name))) for name, words in _PARTS.items()]
    lines = [
        Line(words, (Cell(f"{seconds:.2f}"), Cell(_percent(seconds, timing.total))))
        for words, seconds in shares
        if seconds
    ]
    total = Line("in all", (Cell(f"{timing.total:.2f}"), Cell("")), strong=True)
    return Table("", "part", ("seconds", "share"), (*lines, total))


def tools_table(attempts: Sequence[Attempt]) -> Table:
    """The restorers that were called, with the hashes of their weights and what they ran on."""
    found: dict[tuple[str, ...], list[str]] = {}
    for attempt in attempts:
        if attempt.status not in ("made", "judged") or not attempt.call.calls_tool:
            continue
        details, call = attempt.details, attempt.call
        configuration = str(details.get("configuration") or call.configuration)
        key = (
            call.restorer,
            configuration,
            " ".join(str(details[k]) for k in ("device", "dtype") if details.get(k)),
            "; ".join(map(str, details.get("fallbacks") or ())),
            str(details.get("weights_sha256") or "no weights"),
        )
        found.setdefault(key, []).append(attempt.id)
    lines = [
        Line(name, tuple(map(Cell, (configuration, ", ".join(used), device, fallbacks, weights))))
        for (name, configuration, device, fallbacks, weights), used in found.items()
    ]
    columns = ("configuration", "nodes", "computed on", "fell back", "sha256 of its weights")
    return Table("", "restorer", columns, tuple(lines), words=5)


def _afterwards(before: Finding, now: Finding | None) -> tuple[Cell, Cell, Cell]:
    if now is None:
        return Cell("not measured"), Cell("-"), Cell("-")
    words, tone = changed(before.severity - now.severity)
    return (
        Cell(now.level.label, value_words(now)),
        Cell(f"{now.confidence:.2f}", now.source),
        Cell(words, tone=tone),
    )


def _check_words(check: Check) -> str:
    if check.name == "rose":
        return "new damage" if check.kind is None else f"{kind_words(check.kind)} rose"
    if check.name == "kept" and check.kind is not None:
        return f"{kind_words(check.kind)} is kept"
    return _CHECKS.get(check.name, check.name)


def _held(check: Check) -> Cell:
    if check.passed:
        return Cell("holds", tone="good")
    return Cell("overruled") if check.overruled else Cell("fails", tone="bad")


def _number(value: float | None) -> Cell:
    return Cell("-" if value is None else f"{value:.4g}")


def _change(then: float | None, now: float | None, card: MetricCard | None) -> Cell:
    if then is None or now is None:
        return Cell("-")
    if card is None:
        return Cell(f"{now - then:+.3g}")
    words, tone = changed(now - then if card.higher_is_better else then - now)
    return Cell(words, f"{now - then:+.3g}", tone=tone)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else ""
