"""How a run ended, and whether its targets are met, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from conservator.agent.dialogue.wording import listed
from conservator.agent.report.nodes import gain_words
from conservator.agent.report.record import UNFINISHED, RunRecord
from conservator.agent.report.tables import Tone, arrows, kind_words, level_words
from conservator.agent.sessions import RunRequest
from conservator.policies.attempt import ORIGINAL
from conservator.policies.targets import default_targets
from conservator.restorers.degradations.vocabulary import ConditionReport

__all__ = ["TargetLine", "found_words", "outcome_words", "story", "target_lines"]

_OUTCOMES: Final = {
    "met": "Restored",
    "not_met": "Not every target is met",
    "unchanged": "Left as it is",
    "limit": "Ended at a limit",
    "cancelled": "Cancelled",
    "stopped": "Stopped",
    "waiting": "Waiting for an answer",
    UNFINISHED: "Unfinished",
}


@dataclass(frozen=True)
class TargetLine:
    """Something that was asked for, and what came of it.

    Attributes:
        target: as it was asked for.
        state: `met`, `not met`, `held`, `not held`, or `not measured`.
        tone: of the state.
        why: the numbers.
    """

    target: str
    state: str
    tone: Tone
    why: str = ""


def outcome_words(record: RunRecord) -> str:
    """The outcome and its reason in one line."""
    head = _OUTCOMES.get(record.outcome, record.outcome.replace("_", " ").capitalize())
    reason = arrows(record.reason)
    if reason.lower().startswith(head.lower()):
        return f"{head}{reason[len(head) :]}"
    return f"{head}: {reason}"


def found_words(report: ConditionReport) -> str:
    """What is there, worst first: `noise medium (sigma 18.1) and haze low (beta 0.35)`."""
    present = [f"{kind_words(f.kind)} {level_words(f)}" for f in report.present()]
    return listed(present) if present else "nothing"


def story(record: RunRecord) -> Iterator[str]:
    """What was found, done and gained, a sentence each."""
    if not record.before.findings:
        yield "Nobody has looked at the photo yet."
        return
    yield f"Found: {found_words(record.before)}."
    done = [str(step.call).replace(f" on {ORIGINAL}", " on the input") for step in record.steps]
    tried = len(record.attempts) - len(done)
    others = f"{tried} {'other ' if done else ''}{'attempt was' if tried == 1 else 'attempts were'} not kept"
    first = f"Done: {'; then '.join(done)}" if done else "Done: nothing"
    yield f"{first}; {others}." if tried else f"{first}."
    if done and (gains := list(_gains(record))):
        yield f"Gained: {listed(gains)}."
    if done and (losses := list(_losses(record))):
        yield f"Lost: {listed(losses)}."


def target_lines(record: RunRecord, request: RunRequest | None) -> tuple[TargetLine, ...]:
    """What the user asked for, else the targets that the policy sets for what was found."""
    if record.contract:
        return tuple(
            _line(one.text, one.met, one.says, "met" if one.about == "target" else "held")
            for one in record.contract
        )
    if request is None or request.targets:
        targets = request.targets.split(",") if request else []
        lines = [_asked(target, record) for target in targets]
        known = tuple(f"{target}:" for target in targets)
        others = [line for line in record.blocking if not line.startswith(known)]
        return (*lines, *(_line(line.partition(": ")[0], False, line) for line in others))
    found = []
    for default in default_targets(record.before.findings, request.preset):
        now = record.after.finding(default.kind)
        met = now is None or now.level <= default.level or record.outcome == "met"
        words = "" if met else f"{kind_words(default.kind)} is {level_words(now)}"
        found.append(_line(str(default), met, words))
    return tuple(found)


def _asked(target: str, record: RunRecord) -> TargetLine:
    """A target of a run that ended without a word on each."""
    if not record.before.findings:
        return TargetLine(target, "not measured", "")
    why = [line for line in record.blocking if line.startswith(f"{target}:")]
    words = "; ".join(line.removeprefix(f"{target}:").strip() for line in why)
    return _line(target, not why, words)


def _line(target: str, met: bool, why: str, word: str = "met") -> TargetLine:
    return TargetLine(target, word if met else f"not {word}", "good" if met else "bad", arrows(why))


def _gains(record: RunRecord) -> Iterator[str]:
    for finding in record.before.present():
        now = record.after.finding(finding.kind)
        if now is not None and now.level < finding.level:
            yield f"{kind_words(finding.kind)} from {finding.level.label} to {now.level.label}"
    measurement = record.measurement
    if measurement is not None and measurement.gain is not None:
        yield f"an expected {gain_words(measurement.gain)}"


def _losses(record: RunRecord) -> Iterator[str]:
    for now in record.after.present():
        before = record.before.finding(now.kind)
        if before is not None and now.level > before.level:
            yield f"{kind_words(now.kind)} from {before.level.label} to {now.level.label}"
