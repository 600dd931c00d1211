"""Whether a stronger prompt does more: systems that differ only in `strength=`, sample by sample.

From the records of a run such as the `strength` suite, whose `control` scorer gives `change_255` (how far the input was moved) and
`left` (how bad the instruments still find what was to be undone).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from conservator.evals.sample import AnswerRecord
from conservator.restorers.errors import UsageError

__all__ = ["strength_of", "table"]

DIRECTIONS = {"change_255": 1, "left": -1}
"""Where a stronger treatment must go."""
TOLERANCE = {"change_255": 0.02, "left": 0.005}
"""Less than this is no step back: rounding to 8 bits moves both."""


def strength_of(system: str) -> tuple[str, float]:
    """A system without its strength, and the strength; 1 when none is written.

    Raises:
        UsageError: the strength is not a number.
    """
    name, _, options = system.partition(":")
    kept, strength = [], 1.0
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key.strip() != "strength":
            kept.append(option.strip())
            continue
        try:
            strength = float(value)
        except ValueError as error:
            raise UsageError(f"system {system!r}: strength {value!r} is not a number") from error
    return name.strip() + (":" + ",".join(kept) if kept else ""), strength


def table(records: Iterable[AnswerRecord]) -> dict[str, Any]:
    """How each family of systems answers to strength.

    Returns:
        system without strength -> row -> `{"strengths": [...], METRIC: [mean a strength], METRIC + "_monotonic": share}` for the metrics of
        `DIRECTIONS`; the share is that of the samples in which no stronger prompt goes back, ends and all. Families of one
        strength are left out, and samples that lack an answer at some strength.
    """
    found: dict[str, dict[str, dict[str, dict[float, Mapping[str, float]]]]]
    found = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for record in records:
        if record.status == "done" and "change_255" in record.scores:
            family, strength = strength_of(record.system)
            found[family][record.row][record.sample_id][strength] = record.scores
    tables: dict[str, Any] = {}
    for family, rows in found.items():
        strengths = sorted({s for samples in rows.values() for a in samples.values() for s in a})
        if len(strengths) > 1:
            lines = {row: _line(list(samples.values()), strengths) for row, samples in rows.items()}
            tables[family] = {row: line for row, line in lines.items() if line}
    return tables


def _line(
    samples: Sequence[Mapping[float, Mapping[str, float]]], strengths: Sequence[float]
) -> dict[str, Any]:
    whole = [answers for answers in samples if set(answers) == set(strengths)]
    line: dict[str, Any] = {}
    for metric, direction in DIRECTIONS.items():
        runs = [
            [answers[s][metric] for s in strengths]
            for answers in whole
            if all(metric in answers[s] for s in strengths)
        ]
        if runs:
            line[metric] = [round(fmean(column), 4) for column in zip(*runs, strict=True)]
            kept = [
                all(direction * (b - a) >= -TOLERANCE[metric] for a, b in pairwise(run))
                for run in runs
            ]
            line[f"{metric}_monotonic"] = fmean(kept)
    return {"strengths": list(strengths), "samples": len(whole), **line} if line else {}
