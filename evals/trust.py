"""How far to trust a vision-language model about each kind: the table of `policies.condition`, from a run of the perception task.

    conservator eval run perception --images DIR -o RUN --system instruments --system instruments+vlm
    python -m conservator.evals.trust RUN

For each kind the weight of the model's word that gives the best F1 of presence, the smallest of those that are as good; and whether its level is
right more often than the instruments' where both see the kind. Choose on development pictures only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from conservator.agent.vlm.answers import ConditionAnswer
from conservator.evals.sample import AnswerRecord
from conservator.policies.condition import joined
from conservator.restorers.degradations.vocabulary import (
    ConditionReport,
    Finding,
    Kind,
    Level,
    level_of,
)
from conservator.restorers.errors import UsageError

__all__ = ["WEIGHTS", "KindTrust", "measured_trust"]

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
ENOUGH = 0.003
"""Gain of F1 that a larger weight must bring."""


@dataclass(frozen=True)
class KindTrust:
    """What was measured about one kind.

    Attributes:
        weight: of the model's log-odds.
        alone: F1 of the instruments without it.
        joint: F1 with that weight.
        measured: share of right levels of the instruments, where both see a kind that is there.
        told: the same of the model's.
        both: how many those are.
    """

    weight: float
    alone: float
    joint: float
    measured: float
    told: float
    both: int


@dataclass(frozen=True)
class _Case:
    truth: Mapping[Kind, Level]
    own: ConditionReport
    seen: tuple[Finding, ...]


def measured_trust(records: Iterable[AnswerRecord]) -> dict[Kind, KindTrust]:
    """Measure the model of a run.

    Args:
        records: of the systems `instruments` and `instruments+vlm`, on the same samples.

    Raises:
        UsageError: no sample was answered by both.
    """
    cases = _cases(records)
    if not cases:
        raise UsageError(
            "no sample was answered by both instruments and instruments+vlm; run the perception task with both"
        )
    return {kind: _of(kind, cases) for kind in Kind}


def _cases(records: Iterable[AnswerRecord]) -> list[_Case]:
    by_sample: dict[str, dict[str, AnswerRecord]] = {}
    for record in records:
        name = record.system.partition(":")[0]
        by_sample.setdefault(record.sample_id, {})[name] = record
    cases = []
    for answers in by_sample.values():
        own, joint = answers.get("instruments"), answers.get("instruments+vlm")
        if own is None or joint is None:
            continue
        truth = {
            Kind(name): Level.ABSENT if row["true"] is None else level_of(Kind(name), row["true"])
            for name, row in own.findings.items()
        }
        cases.append(_Case(truth, _report(own), _seen(joint.details.get("answer") or {})))
    return cases


def _report(record: AnswerRecord) -> ConditionReport:
    findings = [
        Finding(
            kind=Kind(name), value=said, confidence=row["confidence"] or 0.0, source="instrument"
        )
        for name, row in record.findings.items()
        if (said := row["said"]) is not None
    ]
    return ConditionReport(findings=tuple(findings))


def _seen(answer: Mapping[str, Any]) -> tuple[Finding, ...]:
    try:
        return ConditionAnswer.model_validate(answer).findings()
    except ValidationError:
        return ()


def _of(kind: Kind, cases: Sequence[_Case]) -> KindTrust:
    scores = {weight: _f1(kind, cases, weight) for weight in WEIGHTS}
    best = max(scores.values())
    weight = next(w for w in WEIGHTS if scores[w] >= best - ENOUGH)
    levels = [
        (case.truth[kind], own.level, seen.level)
        for case in cases
        if case.truth.get(kind, Level.ABSENT) > Level.ABSENT
        and (own := case.own.finding(kind)) is not None
        and own.level > Level.ABSENT
        and (seen := next((f for f in case.seen if f.kind is kind), None)) is not None
    ]
    count = max(1, len(levels))
    return KindTrust(
        weight=weight,
        alone=scores[0.0],
        joint=scores[weight],
        measured=sum(true == own for true, own, _ in levels) / count,
        told=sum(true == seen for true, _, seen in levels) / count,
        both=len(levels),
    )


def _f1(kind: Kind, cases: Sequence[_Case], weight: float) -> float:
    hits = wrong = 0
    for case in cases:
        found = joined(case.own, case.seen, trust={kind: weight}).finding(kind)
        said = found is not None and found.level > Level.ABSENT
        true = case.truth.get(kind, Level.ABSENT) > Level.ABSENT
        hits += said and true
        wrong += said != true
    return 2 * hits / (2 * hits + wrong) if hits or wrong else 1.0


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(run: Path) -> None:
    """Print the table of a run."""
    lines = (run / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    records = [AnswerRecord.model_validate(json.loads(line)) for line in lines if line.strip()]
    click.echo(f"{'kind':16}{'weight':>7}{'F1':>7}{'joint':>7}{'level':>7}{'told':>7}{'both':>6}")
    for kind, row in measured_trust(records).items():
        click.echo(
            f"{kind.value:16}{row.weight:7.2f}{row.alone:7.3f}{row.joint:7.3f}"
            f"{row.measured:7.2f}{row.told:7.2f}{row.both:6d}"
        )


if __name__ == "__main__":
    main()
