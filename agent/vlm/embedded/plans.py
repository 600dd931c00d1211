"""Plans to learn from: the next treatment as tool calls, at the first step of a run and at later ones.

The teacher is the deterministic planner. At the first step it plans on the true condition, as far as the readings name it, so the model may
learn to see more than they say. For later steps attempts are made up around such plans (accepted, refused as too weak or too strong, rain that
came to light behind haze), since a real run takes seconds. What the planner does without asking anyone (blends, and a restorer that looks for
itself) is not taught.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from langchain_core.messages import HumanMessage

from conservator.agent.vlm.embedded.case import (
    BLANK,
    VIEWS,
    Case,
    Dialogue,
    compact,
    condition_answer,
    scene_of,
)
from conservator.agent.vlm.questions import condition_question, plan_question
from conservator.policies.acceptance import Measurement, Verdict
from conservator.policies.attempt import ORIGINAL, Attempt, ToolCall
from conservator.policies.planner import plan
from conservator.policies.preferences import load_preferences
from conservator.policies.preset import load_preset
from conservator.policies.review import offered, review
from conservator.policies.situation import UNCOVERS, Situation
from conservator.policies.targets import KindTarget
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    ConditionReport,
    Finding,
    Kind,
    Level,
    severity_of,
    value_at,
)
from conservator.restorers.prompts.amounts import rounded

if TYPE_CHECKING:
    from conservator.agent.vlm.questions import Question
    from conservator.policies.acceptance import Fault
    from conservator.tools.look import Pixels

__all__ = ["first_step", "later_step", "read_aloud"]

_CALLS: Final = 2
"""Candidates in an answer; the policy adds its own."""
_LEAST: Final = 0.14
"""Severity of what is just low."""

_Outcome = Literal["accepted", "weak", "strong"]


def first_step(
    case: Case, rng: random.Random, *, measured: bool = False, pixels: Pixels = BLANK
) -> Dialogue | None:
    """The planner's first step on the true condition; only what the shown report names may be treated.

    Args:
        case: the picture.
        rng: of the situation.
        measured: show the report of the case's inspection, else one made up around the truth.
        pixels: the pictures of the question.

    Returns:
        None where there is nothing to treat.
    """
    assert case.report is not None or not measured
    shown = case.report if measured and case.report is not None else _report(case, rng)
    if rng.random() < 0.85:
        shown = shown.model_copy(update={"scene": scene_of(case.clean)})
    situation = _situation(shown, rng)
    present = shown.present()
    known = tuple(
        _within(true, near)
        for true in case.truth()
        if (near := shown.finding(true.kind)) in present and near is not None
    )
    true_report = shown.model_copy(update={"findings": known})
    calls = plan(situation.model_copy(update={"report": true_report})).calls
    return _dialogue(situation, calls, pixels)


def later_step(case: Case, rng: random.Random, *, pixels: Pixels = BLANK) -> Dialogue | None:
    """The planner's step after one or two attempts; None where it takes none, or only one that nobody is asked about."""
    shown = _report(case, rng).model_copy(update={"scene": scene_of(case.clean)})
    situation = _situation(shown, rng)
    for number in range(1, rng.choice((1, 1, 2)) + 1):
        calls = _teachable(plan(situation).calls, situation)
        if not calls:
            return None
        call = rng.choice(calls)
        outcome: _Outcome = rng.choices(("accepted", "weak", "strong"), (0.7, 0.12, 0.18))[0]
        situation = _after(situation, call, f"a{number}", outcome, rng)
    return _dialogue(situation, plan(situation).calls, pixels)


def read_aloud(rng: random.Random) -> Dialogue:
    """A condition report or a plan without pictures, whose answer is what the readings say: to read and repeat is learnt first."""
    while True:
        kinds = rng.sample(list(Kind), rng.choice((1, 2, 2, 3, 3, 4)))
        found = tuple(_made_up(k, rng, confidence=rng.uniform(0.5, 1)) for k in Kind if k in kinds)
        report = ConditionReport(findings=found, scene=rng.choice(("", "a photo")))
        if rng.random() < 0.4:
            question = condition_question(BLANK, VIEWS, report)
            return _told(Dialogue(question, condition_answer("a photo", found)))
        situation = _situation(report, rng)
        if rng.random() < 0.4:
            calls = _teachable(plan(situation).calls, situation)
            if not calls:
                continue
            situation = _after(situation, rng.choice(calls), "a1", "accepted", rng)
        dialogue = _dialogue(situation, plan(situation).calls, BLANK)
        if dialogue is not None:
            return _told(dialogue)


def _told(dialogue: Dialogue) -> Dialogue:
    """A dialogue without its pictures."""
    system, human = dialogue.question.messages
    texts = [part for part in human.content if isinstance(part, dict) and part["type"] == "text"]
    messages = (system, HumanMessage(list(texts)))
    return replace(dialogue, question=replace(dialogue.question, messages=messages))


def _dialogue(situation: Situation, calls: Sequence[ToolCall], pixels: Pixels) -> Dialogue | None:
    taught = _teachable(calls, situation)[:_CALLS]
    if not taught:
        return None
    question = plan_question(situation, pixels, VIEWS, offered(situation))
    return Dialogue(question, "".join(_written(call, question) for call in taught))


def _teachable(calls: Sequence[ToolCall], situation: Situation) -> list[ToolCall]:
    """Calls that a model may propose: of tools that are offered, told what to treat, within what the policy allows."""
    offers = offered(situation)
    return [
        call
        for call in calls
        if call.restorer in offers
        and call.kinds
        and call.calls_tool
        and not call.prompt.blind
        and not review(call, situation)
    ]


def _written(call: ToolCall, question: Question) -> str:
    """A tool call as hermes models write it, its arguments in the order of the schema: grammars insist on it."""
    tool = next(t["function"] for t in question.tools if t["function"]["name"] == call.restorer)
    properties = tool["parameters"]["properties"]
    given: dict[str, Any] = {
        kind.value: _nearest(kind, strength, properties[kind.value].get("enum", ()))
        for kind, strength in call.prompt.degradations.items()
    }
    if call.source != ORIGINAL:
        given["source"] = call.source
    arguments = {name: given[name] for name in properties if name in given}
    return f'<tool_call>\n{{"name": "{call.restorer}", "arguments": {compact(arguments)}}}\n</tool_call>'


def _nearest(kind: Kind, strength: float, choices: Sequence[float]) -> float:
    """The choice that is nearest on the severity scale; where there are none, the strength with the digits that carry meaning."""
    if not choices:
        return rounded(kind, strength)
    severity = severity_of(kind, strength)
    return min(choices, key=lambda choice: abs(severity_of(kind, choice) - severity))


def _situation(report: ConditionReport, rng: random.Random) -> Situation:
    """The beginning of a run, now and then with a target or a kind that the user wants left alone."""
    preset, present = load_preset("balanced"), [f.kind for f in report.present()]
    spared = frozenset({rng.choice(present)} if len(present) > 1 and rng.random() < 0.08 else ())
    targets: tuple[KindTarget, ...] = ()
    if present and rng.random() < 0.2:
        targets = (KindTarget(kind=rng.choice(present), level=Level.LOW),)
    return Situation(
        report=report,
        preset=preset.model_copy(update={"leave": (*preset.leave, *spared)}),
        preferences=load_preferences(),
        cards=catalog.cards(),
        targets=targets,
        spared=spared,
    )


def _report(case: Case, rng: random.Random) -> ConditionReport:
    """What instruments might say of a picture: nearly the truth, now and then with a kind missing, or one that is not there."""
    findings = [_near(true, rng) for true in case.truth() if rng.random() < 0.9]
    absent = [kind for kind in Kind if kind not in case.present]
    if absent and rng.random() < 0.35:
        kind = rng.choice(absent)
        findings.append(_made_up(kind, rng, confidence=rng.uniform(0.25, 0.65)))
    order = list(Kind)
    return ConditionReport(findings=tuple(sorted(findings, key=lambda f: order.index(f.kind))))


def _made_up(kind: Kind, rng: random.Random, *, confidence: float) -> Finding:
    return Finding(
        kind=kind,
        value=rounded(kind, value_at(kind, rng.uniform(0.2, 1))),
        confidence=round(confidence, 2),
        source="instrument",
    )


def _near(finding: Finding, rng: random.Random) -> Finding:
    """The truth as it might be measured: a little beside it."""
    severity = min(1.0, max(_LEAST, finding.severity + rng.gauss(0, 0.05)))
    value = rounded(finding.kind, value_at(finding.kind, severity))
    confidence = round(rng.uniform(0.5, 1), 2)
    return Finding(kind=finding.kind, value=value, confidence=confidence, source="instrument")


def _within(true: Finding, shown: Finding) -> Finding:
    """The truth as far as the policy lets anyone go beyond what was measured: less than two levels."""
    severity = min(max(true.severity, shown.severity - 0.45), shown.severity + 0.45)
    value = value_at(true.kind, min(max(severity, _LEAST), 1))
    # What is as good as measured is repeated as it stands.
    if abs(true.severity - shown.severity) < 0.08:
        value = shown.value
    return true.model_copy(update={"value": value, "confidence": 0.95})


def _after(
    situation: Situation, call: ToolCall, name: str, outcome: _Outcome, rng: random.Random
) -> Situation:
    """The situation after an attempt that ended so."""
    best = situation.best_attempt()
    before = situation.report.findings if best is None else _measured(best)
    findings = [_treated(f, call, outcome, rng) for f in before]
    if outcome == "accepted":
        findings += _come_to_light(call, findings, rng)
    fault: Fault = "none" if outcome == "accepted" else outcome
    verdict = Verdict(
        accepted=outcome == "accepted",
        checks=(),
        gain=round(rng.uniform(0.2, 5), 2) if outcome == "accepted" else 0.0,
        fault=fault,
        reason=_reason(call, before, findings, outcome, rng),
    )
    chain = {} if best is None or call.source == ORIGINAL else dict(best.treated)
    attempt = Attempt(
        id=name,
        call=call,
        status="judged",
        artifact=name,
        treated={**chain, **call.prompt.degradations},
        measurement=Measurement(findings=tuple(findings)),
        verdict=verdict,
    )
    return situation.model_copy(
        update={
            "attempts": (*situation.attempts, attempt),
            "best": name if outcome == "accepted" else situation.best,
        }
    )


def _measured(attempt: Attempt) -> tuple[Finding, ...]:
    return () if attempt.measurement is None else attempt.measurement.findings


def _treated(finding: Finding, call: ToolCall, outcome: _Outcome, rng: random.Random) -> Finding:
    """A finding after a call: mostly gone where it was treated, nearly the same where not."""
    if finding.kind not in call.kinds or outcome == "weak":
        left = finding.severity + rng.gauss(0, 0.02)
    else:
        left = finding.severity * rng.choice((0.0, 0.0, 0.0, rng.uniform(0, 0.9)))
    value = value_at(finding.kind, min(max(left, 0.0), 1.0))
    if left <= 0:
        value = PARAMETERS[finding.kind].identity
    return finding.model_copy(
        update={
            "value": rounded(finding.kind, value),
            "confidence": round(min(0.99, max(0.3, finding.confidence + rng.gauss(0, 0.08))), 2),
        }
    )


def _come_to_light(
    call: ToolCall, findings: Sequence[Finding], rng: random.Random
) -> list[Finding]:
    known = {finding.kind for finding in findings}
    hidden = [k for treated in call.kinds for k in UNCOVERS.get(treated, ()) if k not in known]
    if not hidden or rng.random() > 0.35:
        return []
    kind = rng.choice(sorted(set(hidden), key=list(Kind).index))
    return [_made_up(kind, rng, confidence=rng.uniform(0.6, 0.99))]


def _reason(
    call: ToolCall,
    before: Sequence[Finding],
    after: Sequence[Finding],
    outcome: _Outcome,
    rng: random.Random,
) -> str:
    """A verdict's words, as `conservator.policies.acceptance` writes them."""
    now = {finding.kind: finding for finding in after}
    fell = ", ".join(
        f"{f.kind.value} {f.value:.3g} -> {now[f.kind].value:.3g}"
        for f in before
        if f.kind in call.kinds and f.level > Level.ABSENT
    )
    spread = rng.uniform(0.3, 1.8)
    if outcome == "accepted":
        sure = f"estimated gain {rng.uniform(0.5, 6):+.1f} dB, give or take {spread:.1f}"
        return rng.choice((fell or sure, sure))
    if outcome == "weak":
        return fell or "no instrument confirms it"
    other = _made_up(rng.choice(list(Kind)), rng, confidence=0.9)
    return rng.choice(
        (
            f"{other.kind.value} rose from absent ({PARAMETERS[other.kind].identity:.3g}) to "
            f"{other.level.label} ({other.value:.3g})",
            f"structure {rng.uniform(0.4, 0.8):.4g} (limit >= {rng.uniform(0.8, 0.93):.4g})",
            f"estimated gain {rng.uniform(-3, 0.1):+.1f} dB, give or take {spread:.1f} (limit >= +0.1)",
        )
    )
