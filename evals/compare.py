"""Two systems, or two runs, on the same samples: paired differences, tests, and the pictures that lost most.

    comparison = compare(Side.parse("runs/before:agent"), Side.parse("runs/after:agent"))

Differences are second minus first. `RUN` without a system stands for all of its systems, each paired with its namesake.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conservator.agent.report.table import Cell, Line, Table
from conservator.evals.log import RunFolder
from conservator.evals.metric import higher_is_better, written
from conservator.evals.run_pictures import RunPictures
from conservator.evals.sample import AnswerRecord
from conservator.evals.statistics import Paired, paired
from conservator.evals.task import Task
from conservator.restorers.errors import UsageError

__all__ = ["WORST", "Comparison", "Loss", "Side", "SystemPair", "compare"]

WORST = 10


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        run: its folder.
        system: None for all.
    """

    run: RunFolder
    system: str | None = None

    @classmethod
    def parse(cls, text: str) -> Side:
        """Read `RUN` or `RUN:SYSTEM`; both may hold colons, so the longest existing run folder counts.

        Raises:
            UsageError: no run folder, or no such system in it.
        """
        ends = [len(text), *(i for i in range(len(text) - 1, 0, -1) if text[i] == ":")]
        for end in ends:
            if (Path(text[:end]) / "config.json").is_file():
                side = cls(RunFolder.open(Path(text[:end])), text[end + 1 :] or None)
                side.records()
                return side
        raise UsageError(f"{text!r} is no run folder; give RUN or RUN:SYSTEM")

    def records(self) -> dict[tuple[str, str], AnswerRecord]:
        """(system, sample_id) -> record.

        Raises:
            UsageError: it has none, or none of the system.
        """
        records = self.run.records()
        there = sorted({record.system for record in records})
        if not there:
            raise UsageError(f"{self.run.path} has no answers yet")
        if self.system is not None and self.system not in there:
            raise UsageError(
                f"{self.run.path} has no system {self.system!r}; it has: {', '.join(there)}"
            )
        return {(r.system, r.sample_id): r for r in records if self.system in (None, r.system)}

    @property
    def name(self) -> str:
        """As written on the command line."""
        return f"{self.run.path}:{self.system}" if self.system else str(self.run.path)


@dataclass(frozen=True)
class SystemPair:
    """A system of the first side against one of the second.

    Attributes:
        first: system of the first side.
        second: system of the second side.
        metrics: metric -> the paired comparison over all samples that have it on both sides.
        rows: row -> metric -> the same within the row.
        unpaired: samples that only one side answered with a score.
    """

    first: str
    second: str
    metrics: Mapping[str, Paired]
    rows: Mapping[str, Mapping[str, Paired]]
    unpaired: int


@dataclass(frozen=True)
class Loss:
    """A sample on which the second side is worse.

    Attributes:
        sample_id: of the sample.
        first: system of the first side.
        second: system of the second side.
        before: the first side's value.
        after: the second side's.
        loss: how much worse, positive.
        degraded: path of the picture given, None when the runs kept none.
        answers: paths of both answers.
        reference: path of the clean picture.
    """

    sample_id: str
    first: str
    second: str
    before: float
    after: float
    loss: float
    degraded: Path | None
    answers: tuple[Path | None, Path | None]
    reference: Path | None


@dataclass(frozen=True)
class Comparison:
    """What two sides differ in.

    Attributes:
        first: the first side.
        second: the second side.
        metric: by which losses are ranked.
        pairs: of systems.
        worst: largest losses first.
        notes: what makes the sides less comparable than they look.
    """

    first: Side
    second: Side
    metric: str
    pairs: tuple[SystemPair, ...]
    worst: tuple[Loss, ...]
    notes: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "first": self.first.name,
            "second": self.second.name,
            "metric": self.metric,
            "pairs": [
                {
                    "first": pair.first,
                    "second": pair.second,
                    "unpaired": pair.unpaired,
                    "metrics": {m: p.as_data() for m, p in pair.metrics.items()},
                    "rows": {
                        row: {m: p.as_data() for m, p in found.items()}
                        for row, found in pair.rows.items()
                    },
                }
                for pair in self.pairs
            ],
            "worst": [
                {
                    **asdict(loss),
                    "degraded": _text(loss.degraded),
                    "answers": [_text(path) for path in loss.answers],
                    "reference": _text(loss.reference),
                }
                for loss in self.worst
            ],
            "notes": list(self.notes),
        }

    def tables(self) -> list[Table]:
        """One table a pair of systems, and the worst samples."""
        tables = [_pair_table(pair) for pair in self.pairs]
        tables += [_rows_table(pair, self.metric) for pair in self.pairs if len(pair.rows) > 1]
        lines = [
            Line(
                loss.sample_id,
                (
                    *(Cell(written(self.metric, v)) for v in (loss.before, loss.after, loss.loss)),
                    Cell(_pair_name(loss.first, loss.second)),
                    Cell(_text(loss.answers[1]) or "-"),
                ),
            )
            for loss in self.worst
        ]
        columns = ("first", "second", "loss", "system", "picture")
        title = f"Largest losses of {self.metric}"
        tables.append(Table(title, "sample", columns, tuple(lines), words=2))
        return tables

    def text(self) -> str:
        """As Markdown."""
        head = f"## {self.second.name} against {self.first.name}"
        notes = "\n".join(f"- {note}" for note in self.notes)
        tables = [table.markdown() for table in self.tables() if table.lines]
        return "\n\n".join(part for part in (head, notes, *tables) if part) + "\n"


def compare(
    first: Side, second: Side, *, metric: str | None = None, worst: int = WORST
) -> Comparison:
    """Pair two sides by sample and compare every metric that both have.

    Args:
        first: the side to compare with.
        second: the side that is judged.
        metric: ranks the losses; by default the task's primary one.
        worst: how many losses to list.

    Raises:
        UsageError: the sides are the same, or have no sample with a score in common.
    """
    systems = _systems(first, second)
    if first.run.path.resolve() == second.run.path.resolve() and all(a == b for a, b in systems):
        raise UsageError(f"{first.name} and {second.name} are the same; name two systems or runs")
    one, two = first.records(), second.records()
    ranked = metric or Task.model_validate(first.run.config["task"]).primary
    found = [(a, b, *_matched(one, two, a, b)) for a, b in systems]
    pairs = tuple(_pair(a, b, both, alone) for a, b, both, alone in found if both)
    if not pairs:
        raise UsageError(f"{first.name} and {second.name} have no scored sample in common")
    if not any(ranked in pair.metrics for pair in pairs):
        known = sorted({m for pair in pairs for m in pair.metrics})
        raise UsageError(f"no metric {ranked!r} on both sides; there: {', '.join(known)}")
    both = [record for _, _, records, _ in found for record in records]
    return Comparison(
        first=first,
        second=second,
        metric=ranked,
        pairs=pairs,
        worst=_losses(first, second, both, ranked, worst),
        notes=_notes(first, second, found),
    )


Both = tuple[AnswerRecord, AnswerRecord]


def _systems(first: Side, second: Side) -> list[tuple[str, str]]:
    if first.system and second.system:
        return [(first.system, second.system)]
    if first.system or second.system:
        name = first.system or second.system or ""
        pairs = [(name, name)]
        for side in (first, second):
            Side(side.run, name).records()
        return pairs
    names = [
        list(dict.fromkeys(system for system, _ in side.records())) for side in (first, second)
    ]
    shared = [(name, name) for name in names[0] if name in names[1]]
    if not shared:
        raise UsageError(
            f"{first.name} and {second.name} have no system in common; write RUN:SYSTEM on both sides"
        )
    return shared


def _matched(
    one: Mapping[tuple[str, str], AnswerRecord],
    two: Mapping[tuple[str, str], AnswerRecord],
    a: str,
    b: str,
) -> tuple[list[Both], int]:
    left = {sample: r for (system, sample), r in one.items() if system == a and r.scores}
    right = {sample: r for (system, sample), r in two.items() if system == b and r.scores}
    shared = sorted(left.keys() & right.keys())
    return [(left[s], right[s]) for s in shared], len(left.keys() ^ right.keys())


def _pair(a: str, b: str, both: Sequence[Both], alone: int) -> SystemPair:
    rows: dict[str, list[Both]] = {}
    for pair in both:
        rows.setdefault(pair[0].row, []).append(pair)
    return SystemPair(
        a, b, _paired(both), {row: _paired(found) for row, found in rows.items()}, alone
    )


def _paired(both: Sequence[Both]) -> dict[str, Paired]:
    metrics = sorted({m for x, y in both for m in x.scores.keys() & y.scores.keys()})
    result = {}
    for metric in metrics:
        values = [_values(pair, metric) for pair in both]
        kept = [pair for pair in values if pair is not None]
        if kept:
            result[metric] = paired(
                [x for x, _ in kept],
                [y for _, y in kept],
                higher_is_better=higher_is_better(metric) is not False,
            )
    return result


def _values(pair: Both, metric: str) -> tuple[float, float] | None:
    values = [record.scores.get(metric, math.nan) for record in pair]
    return (values[0], values[1]) if all(map(math.isfinite, values)) else None


def _losses(
    first: Side, second: Side, both: Sequence[Both], metric: str, worst: int
) -> tuple[Loss, ...]:
    sign = -1 if higher_is_better(metric) is False else 1
    lost = []
    for pair in both:
        values = _values(pair, metric)
        if values and sign * (values[0] - values[1]) > 0:
            lost.append((sign * (values[0] - values[1]), values, pair))
    lost.sort(key=lambda item: (-item[0], item[2][0].sample_id, item[2][0].system))
    chosen = lost[:worst]
    ids = {pair[0].sample_id for _, _, pair in chosen}
    one, two = RunPictures(first.run, ids), RunPictures(second.run, ids)
    return tuple(
        Loss(
            sample_id=a.sample_id,
            first=a.system,
            second=b.system,
            before=values[0],
            after=values[1],
            loss=loss,
            degraded=two.degraded(b.sample_id) or one.degraded(a.sample_id),
            answers=(one.answer(a), two.answer(b)),
            reference=two.reference(b.sample_id) or one.reference(a.sample_id),
        )
        for loss, values, (a, b) in chosen
    )


def _notes(
    first: Side, second: Side, found: Sequence[tuple[str, str, list[Both], int]]
) -> tuple[str, ...]:
    notes = []
    tasks = [Task.model_validate(side.run.config["task"]).key for side in (first, second)]
    if tasks[0] != tasks[1]:
        notes.append(f"the first is of {tasks[0]}, the second of {tasks[1]}")
    for side in (first, second):
        if side.run.config.get("status") != "done":
            notes.append(f"{side.run.path} is not finished")
    different = sum(a.draws != b.draws for _, _, both, _ in found for a, b in both)
    if different:
        notes.append(f"{different} pairs show the same picture with other degradations drawn")
    for a, b, both, alone in found:
        if alone:
            name = a if a == b else f"{a} and {b}"
            notes.append(f"{name}: {alone} samples answered on one side only, {len(both)} on both")
    return tuple(notes)


def _pair_table(pair: SystemPair) -> Table:
    title = _pair_name(pair.first, pair.second)
    columns = ("n", "first", "second", "difference", "better", "worse", "equal", "Wilcoxon p")
    lines = [Line(metric, _cells(metric, found)) for metric, found in pair.metrics.items()]
    note = "difference: second minus first with its 95 % interval; permutation p tests the mean difference"
    return Table(title, "metric", (*columns, "permutation p"), tuple(lines), note)


def _rows_table(pair: SystemPair, metric: str) -> Table:
    title = _pair_name(pair.first, pair.second)
    columns = ("n", "first", "second", "difference", "better", "worse", "equal", "Wilcoxon p")
    lines = [
        Line(row, _cells(metric, found[metric]))
        for row, found in pair.rows.items()
        if metric in found
    ]
    return Table(f"{title}: {metric} by row", "row", (*columns, "permutation p"), tuple(lines))


def _cells(metric: str, found: Paired) -> tuple[Cell, ...]:
    ends = (
        ""
        if found.low is None
        else f"[{written(metric, found.low)}, {written(metric, found.high)}]"
    )
    return (
        Cell(str(found.n)),
        Cell(written(metric, found.first)),
        Cell(written(metric, found.second)),
        Cell(written(metric, found.difference), ends),
        *(Cell(f"{100 * share:.0f} %") for share in (found.better, found.worse, found.equal)),
        *(Cell(_p(p)) for p in (found.wilcoxon_p, found.permutation_p)),
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _pair_name(first: str, second: str) -> str:
    return first if first == second else f"{first} → {second}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
