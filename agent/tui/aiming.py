"""How far a session is from what was asked for, for the panel that says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from conservator.agent.tui.widgets.aims import Aim, Aiming

if TYPE_CHECKING:
    from conservator.agent.dialogue.session import Session
    from conservator.policies.acceptance import Measurement
    from conservator.policies.targets import Clause, Target

__all__ = ["aiming"]

_UNTOUCHED = {"structure": 1.0, "colour": 0.0, "lowpass": 0.0, "residual": 0.0}
"""The input is perfectly like itself."""


def aiming(
    session: Session,
    now: Measurement | None,
    *,
    baseline: Measurement | None,
    seconds: float,
    tools: int,
) -> Aiming:
    """The panel's content.

    Args:
        session: its contract and policy count.
        now: what is measured against them; None for the input.
        baseline: the input as it was measured; None before it was.
        seconds: the turn has taken.
        tools: restorers it called.
    """
    request = session.request
    return Aiming(
        policy=request.preset.name,
        aims=tuple(_aims(session, now, baseline)),
        budget=request.budget,
        seconds=seconds,
        tools=tools,
        asks=session.approve,
    )


def _aims(session: Session, now: Measurement | None, baseline: Measurement | None) -> Iterator[Aim]:
    from conservator.policies.contract import Contract, terms_of
    from conservator.policies.intents import read_intent
    from conservator.policies.targets import default_targets, parse_targets
    from conservator.tools.iqa import METRICS

    request = session.request
    preset, report = request.preset, session.report
    terms = terms_of(
        preset,
        targets=request.targets or None,
        protect=request.protect,
        keep=request.keep,
        metrics=METRICS,
    )
    targets = parse_targets(terms.targets, metrics=METRICS) if terms.targets else ()
    own = bool(targets)
    if not own:
        targets = default_targets(() if report is None else report.findings, preset)
    yield from _checked(session, targets, now, baseline, own=own)
    for place in terms.protect:
        yield Aim(f"protect {place}", True)
    intents = tuple(read_intent(text) for text in terms.keep)
    if baseline is None:
        yield from (Aim(f"keep {intent}") for intent in intents)
    else:
        clauses = Contract(keep=intents).kept_clauses(baseline, now, preset.guards)
        yield from map(_told, clauses)


def _checked(
    session: Session,
    targets: Iterable[Target],
    now: Measurement | None,
    baseline: Measurement | None,
    *,
    own: bool,
) -> Iterator[Aim]:
    from conservator.policies.targets import check_targets

    preset, report, known = session.request.preset, session.report, now or baseline
    findings = () if now is None else now.findings
    if not findings and report is not None:
        findings = report.findings
    guards = _UNTOUCHED if now is None or now.guards is None else now.guards.as_numbers()
    for target in targets:
        check = check_targets(
            [target],
            findings=findings,
            scores={} if known is None else known.scores,
            scores_before={} if baseline is None else baseline.scores,
            guards=guards,
            confidence=preset.asked_confidence if own else preset.minimal_confidence,
        )
        yield from map(_told, check.clauses)


def _told(clause: Clause) -> Aim:
    """What was not measured yet is neither met nor not."""
    unknown = not clause.met and clause.value is None
    return Aim(clause.text, None if unknown else clause.met, clause.says)
