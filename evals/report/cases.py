"""Which samples a report shows: the worst, the best, and a typical one of every row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from conservator.agent.report.pictures import Shown
from conservator.agent.report.table import Cell, Line, Table
from conservator.evals.compare import Comparison, Loss
from conservator.evals.log import RunFolder
from conservator.evals.metric import higher_is_better, written
from conservator.evals.report.embedding import Album, pixels_of
from conservator.evals.run_pictures import RunPictures
from conservator.evals.sample import AnswerRecord, Image
from conservator.evals.summary import UNTOUCHED, gains
from conservator.evals.tables import is_ceiling

__all__ = ["INPUT", "REFERENCE", "Case", "cases_of", "focus_of", "losses_of"]

INPUT = "input"
REFERENCE = "reference"
WORST = 6
BEST = 4
TYPICAL = 3
FEW_ROWS = 6
"""Up to so many rows show `TYPICAL` samples each, beyond one each."""
METRICS = 4
SYSTEMS = 6
"""Pictures and figures of a case at most; more would not fit its card."""


@dataclass(frozen=True)
class Case:
    """One sample with its pictures.

    Attributes:
        anchor: id in the page.
        sample_id: of the sample.
        row: of the task.
        label: why it is shown, `worst` or `best` or `typical`.
        words: one line about it.
        pictures: input, answers, reference, as far as there are.
        left: name of the picture that is first shown on the left.
        right: and on the right.
        scores: of the systems.
    """

    anchor: str
    sample_id: str
    row: str
    label: str
    words: str
    pictures: tuple[Shown, ...]
    left: str
    right: str
    scores: Table

    @property
    def width(self) -> int:
        """Of the largest picture, px."""
        return max(picture.width for picture in self.pictures)

    @property
    def height(self) -> int:
        """Of the largest picture, px."""
        return max(picture.height for picture in self.pictures)


def focus_of(summary: Mapping[str, Any]) -> str | None:
    """The system that a report is about: the agent, else the first that competes, else none."""
    rivals = [s for s in summary["systems"] if s != UNTOUCHED and not is_ceiling(s)]
    agents = [s for s in rivals if s.partition(":")[0] == "agent"]
    return next(iter(agents + rivals), None)


_Candidate = tuple[Case, list[tuple[str, Image]]]
"""A case without its place in the page, and its pictures in the order in which the album takes them."""


def cases_of(
    run: RunFolder, records: Sequence[AnswerRecord], summary: Mapping[str, Any], album: Album
) -> tuple[tuple[Case, ...], int]:
    """The cases of a run's report, worst first, and how many more there would have been room for with a larger budget."""
    focus, primary = focus_of(summary), summary["primary"]
    chosen = _chosen(records, primary, focus) if focus else {}
    pictures = RunPictures(run, chosen)
    by_sample: dict[str, dict[str, AnswerRecord]] = {}
    for record in records:
        by_sample.setdefault(record.sample_id, {})[record.system] = record
    order = [s for s in summary["systems"] if s != UNTOUCHED]
    order.sort(key=lambda s: s != focus)
    metrics = list(summary["metrics"])[:METRICS]

    def candidates() -> Iterator[_Candidate]:
        for sample, (label, words) in chosen.items():
            answers = by_sample[sample]
            row = next(iter(answers.values())).row
            scores = _scores(answers, [UNTOUCHED, *order], metrics)
            case = Case("", sample, row, label, words, (), INPUT, focus or "", scores)
            there = [answers[s] for s in order if s in answers]
            yield case, _pictures(pictures, sample, there)

    return _shown(candidates(), album)


def losses_of(comparison: Comparison, album: Album) -> tuple[tuple[Case, ...], int]:
    """The worst samples of a comparison as cases, and how many did not fit."""
    metric = comparison.metric
    ids = [loss.sample_id for loss in comparison.worst]
    source = RunPictures(comparison.second.run, ids)

    def candidates() -> Iterator[_Candidate]:
        for loss in comparison.worst:
            first, second = _names(comparison, loss)
            clean = source.reference_pixels(loss.sample_id)
            pictures = [
                (INPUT, pixels_of(loss.degraded)),
                (first, pixels_of(loss.answers[0])),
                (second, pixels_of(loss.answers[1])),
                (REFERENCE, clean if clean is not None else pixels_of(loss.reference)),
            ]
            lines = [
                Line(name, (Cell(written(metric, value)),))
                for name, value in zip((first, second), (loss.before, loss.after), strict=True)
            ]
            row, words = (
                loss.sample_id.rpartition("/")[0],
                f"{written(metric, -loss.loss)} {metric}",
            )
            scores = Table("", "system", (metric,), tuple(lines))
            case = Case("", loss.sample_id, row, "worse", words, (), first, second, scores)
            yield case, [(name, pixels) for name, pixels in pictures if pixels is not None]

    return _shown(candidates(), album)


def _shown(candidates: Iterable[_Candidate], album: Album) -> tuple[tuple[Case, ...], int]:
    """The candidates that have pictures and fit the album, and how many did not fit."""
    cases: list[Case] = []
    left_out = 0
    for case, pictures in candidates:
        shown = album.add(pictures) if pictures else ()
        if not shown:
            left_out += bool(pictures)
            continue
        names = [picture.name for picture in shown]
        left = case.left if case.left in names else names[0]
        right = case.right if case.right in names else names[-1]
        anchor = f"case-{len(cases) + 1}"
        cases.append(replace(case, anchor=anchor, pictures=shown, left=left, right=right))
    return tuple(cases), left_out


def _names(comparison: Comparison, loss: Loss) -> tuple[str, str]:
    """What the two answers are called: systems where they differ, else runs."""
    if loss.first != loss.second:
        return loss.first, loss.second
    runs = (comparison.first.run.path.name, comparison.second.run.path.name)
    if runs[0] == runs[1]:
        runs = ("first", "second")
    return f"{loss.first} in {runs[0]}", f"{loss.second} in {runs[1]}"


def _chosen(records: Sequence[AnswerRecord], metric: str, focus: str) -> dict[str, tuple[str, str]]:
    """Sample -> (label, words), in the order in which they are shown and embedded."""
    gained = gains(records, metric, focus)
    words = f"{metric} {{}} for {focus}"
    if not gained:
        sign = -1 if higher_is_better(metric) is False else 1
        gained = {
            r.sample_id: sign * r.scores[metric]
            for r in sorted(records, key=lambda r: r.key)
            if r.system == focus and metric in r.scores
        }
        described = {s: words.format(written(metric, sign * v)) for s, v in gained.items()}
    else:
        described = {
            s: f"{metric} {'+' if v > 0 else ''}{written(metric, v)} against {UNTOUCHED} for {focus}"
            for s, v in _signed(gained, metric).items()
        }
    ranked = sorted(gained, key=lambda s: (gained[s], s))
    worst = ranked[: min(WORST, max(1, len(ranked) // 3))] if ranked else []
    best = [s for s in reversed(ranked) if s not in worst][: min(BEST, max(1, len(ranked) // 3))]
    chosen = {s: ("worst", described[s]) for s in worst}
    chosen |= {s: ("best", described[s]) for s in best}
    rows: dict[str, list[str]] = {}
    for record in sorted(records, key=lambda r: r.key):
        if record.system == focus and record.status != "failed":
            rows.setdefault(record.row, []).append(record.sample_id)
    for samples in rows.values():
        left = [s for s in samples if s not in chosen]
        left.sort(key=lambda s: (gained.get(s, 0.0), s))
        # Spread evenly over what is left, so that one is the median and three are the quartiles.
        many = min(len(left), TYPICAL if len(rows) <= FEW_ROWS else 1)
        for k in range(many):
            middle = left[(2 * k + 1) * len(left) // (2 * many)]
            chosen[middle] = ("typical", described.get(middle, ""))
    return chosen


def _signed(gained: Mapping[str, float], metric: str) -> dict[str, float]:
    """Gains as changes of the metric itself: those of a lower-is-better one fall."""
    sign = -1 if higher_is_better(metric) is False else 1
    return {sample: sign * gain for sample, gain in gained.items()}


def _pictures(
    pictures: RunPictures, sample: str, records: Sequence[AnswerRecord]
) -> list[tuple[str, Image]]:
    found: list[tuple[str, Image | None]] = [(INPUT, pixels_of(pictures.degraded(sample)))]
    found += [(r.system, pixels_of(pictures.answer(r))) for r in records[:SYSTEMS]]
    if all(pixels is None for _, pixels in found):
        return []
    found.append((REFERENCE, pictures.reference_pixels(sample)))
    return [(name, pixels) for name, pixels in found if pixels is not None]


def _scores(
    answers: Mapping[str, AnswerRecord], systems: Sequence[str], metrics: Sequence[str]
) -> Table:
    there = [s for s in systems if s in answers][: SYSTEMS + 1]
    lines = [
        Line(s, tuple(Cell(written(m, answers[s].scores.get(m))) for m in metrics)) for s in there
    ]
    return Table("", "system", tuple(metrics), tuple(lines))
