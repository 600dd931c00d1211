"""How well the instruments measure: presence, level and parameter of every kind on synthetic damage.

    python -m conservator.evals.instrument_accuracy --images FOLDER [--limit N] [--out FILE.json]

Every picture of a folder of clean images is measured untouched, with each kind alone at its four levels, and with the
mio16 combinations that keep the picture's size. A row of the table counts every picture in which the kind was not put as
a negative. Low resolution is lost and enlarged again on the same grid: a file that is merely small cannot be told.

Columns: `F1` of presence; `false`: share of the pictures without the kind in which it was seen; `level`: share of the
pictures with it whose level is exactly right; `error`: mean absolute error of the parameter in its own unit.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from conservator.evals.sources import source
from conservator.restorers.degradations.recipe import Recipe, apply, named_recipes
from conservator.restorers.degradations.synthesis import down_up, quantise8
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    Finding,
    Kind,
    Level,
    level_of,
    value_of,
)
from conservator.tools.image_io import load
from conservator.tools.instruments.classical import classical_findings
from conservator.tools.instruments.learned import learned_estimate
from conservator.tools.instruments.measuring import measure
from conservator.tools.instruments.readings import examine
from conservator.tools.instruments.sample import sample_of

__all__ = ["Accuracy", "Tally", "cases_of", "main", "markdown", "measured"]

Image = npt.NDArray[np.float32]
Truth = dict[Kind, float]
INSTRUMENTS = ("classical", "learned", "fused")


@dataclass(frozen=True)
class Accuracy:
    """One instrument on one kind.

    Attributes:
        f1: of presence.
        false_alarms: share of the pictures without the kind in which it was seen.
        level: share of the pictures with the kind whose level is exactly right.
        error: mean absolute error of the parameter over the pictures with the kind, in the kind's unit.
        count: pictures with the kind.
    """

    f1: float
    false_alarms: float
    level: float
    error: float
    count: int


@dataclass
class Tally:
    """Findings against the truth, picture by picture."""

    true: dict[Kind, list[float]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    seen: dict[Kind, list[float]] = field(default_factory=lambda: {kind: [] for kind in Kind})

    def add(self, truth: Truth, findings: Mapping[Kind, Finding]) -> None:
        """Count one picture; kinds that the instrument did not judge are left out."""
        for kind, finding in findings.items():
            self.true[kind].append(truth.get(kind, PARAMETERS[kind].identity))
            self.seen[kind].append(finding.value)

    def accuracy(self, kind: Kind) -> Accuracy | None:
        """The figures of a kind; None when it was never judged."""
        true = [level_of(kind, value) for value in self.true[kind]]
        seen = [level_of(kind, value) for value in self.seen[kind]]
        there = [i for i, level in enumerate(true) if level > 0]
        if not true:
            return None
        hits = sum(seen[i] > 0 for i in there)
        alarms = sum(level > 0 for level in seen) - hits
        gaps = [abs(self.true[kind][i] - self.seen[kind][i]) for i in there]
        return Accuracy(
            f1=2 * hits / max(1, 2 * hits + alarms + len(there) - hits),
            false_alarms=alarms / max(1, len(true) - len(there)),
            level=sum(true[i] == seen[i] for i in there) / max(1, len(there)),
            error=float(np.mean(gaps)) if gaps else 0.0,
            count=len(there),
        )


def cases_of(clean: Image, name: str) -> Iterator[tuple[str, Image, Truth]]:
    """Every case of one clean picture: (case, degraded picture, what is wrong with it); seeded by case and name."""
    yield "clean", clean, {}
    for kind in Kind:
        for level in list(Level)[1:]:
            value = value_of(kind, level)
            case = f"{kind}:{PARAMETERS[kind].name}={value:g}"
            yield case, _degraded(clean, case, kind, value, name), {kind: value}
    for case in named_recipes():
        if not case.startswith("mio16:"):
            continue
        draws = Recipe.parse(case).draw(_seed(case, name), *clean.shape[:2])
        truth = {step.kind: step.value for step in draws.steps if step.kind and step.value}
        if Kind.LOW_RESOLUTION not in truth:
            yield case, _array(apply(_tensor(clean), draws)), truth


def _degraded(clean: Image, case: str, kind: Kind, value: float, name: str) -> Image:
    if kind is Kind.LOW_RESOLUTION:
        return _array(quantise8(down_up(_tensor(clean), [value])))
    draws = Recipe.parse(case).draw(_seed(case, name), *clean.shape[:2])
    return _array(apply(_tensor(clean), draws))


def _seed(case: str, name: str) -> int:
    return zlib.crc32(f"{case}/{name}".encode())


def _tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def _array(tensor: torch.Tensor) -> Image:
    return np.ascontiguousarray(tensor[0].permute(1, 2, 0).numpy())


def measured(image: Image) -> dict[str, dict[Kind, Finding]]:
    """What each instrument finds in a picture: instrument -> kind -> finding."""
    classical = classical_findings(examine(sample_of(image)))
    estimate = learned_estimate(image)
    learned = dict(estimate.findings) if estimate is not None else {}
    both = {finding.kind: finding for finding in measure(image)}
    return {"classical": classical, "learned": learned, "fused": both}


def markdown(tallies: Mapping[str, Tally]) -> str:
    """The table, one row a kind, one group of columns an instrument."""
    names = [name for name in tallies if any(tallies[name].accuracy(kind) for kind in Kind)]
    head = "| kind | unit |" + "".join(f" {n} F1 | false | level | error |" for n in names)
    lines = [head, "|---|---|" + "---|" * (4 * len(names))]
    for kind in Kind:
        cells = [str(kind).replace("_", " "), PARAMETERS[kind].unit]
        for name in names:
            figures = tallies[name].accuracy(kind)
            if figures is None:
                cells += ["", "", "", ""]
                continue
            cells += [f"{figures.f1:.2f}", f"{figures.false_alarms:.3f}", f"{figures.level:.2f}"]
            cells.append(f"{figures.error:.3g}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure a folder and print the table; returns an exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = dict(zip(given[::2], given[1::2], strict=False))
    if (
        len(given) % 2
        or "--images" not in options
        or set(options) - {"--images", "--limit", "--out"}
    ):
        sys.stderr.write(
            "usage: instrument_accuracy --images FOLDER [--limit N] [--out FILE.json]\n"
        )
        return 2
    limit = int(options["--limit"]) if "--limit" in options else None
    tallies = {name: Tally() for name in INSTRUMENTS}
    clean_alarms: dict[str, list[str]] = {name: [] for name in INSTRUMENTS}
    for entry in source(Path(options["--images"]), "clean").entries[:limit]:
        for case, image, truth in cases_of(load(entry.picture).pixels, entry.name):
            for name, findings in measured(image).items():
                tallies[name].add(truth, findings)
                if case == "clean":
                    seen = [f"{k}={f.value:.3g}" for k, f in findings.items() if f.level > 0]
                    clean_alarms[name] += [f"{entry.name}: {', '.join(seen)}"] if seen else []
        sys.stderr.write(f"{entry.name}\n")
    sys.stdout.write(markdown(tallies) + "\n")
    for name, alarms in clean_alarms.items():
        sys.stdout.write(f"\n{name}: {len(alarms)} clean pictures with an alarm\n")
        sys.stdout.writelines(f"- {alarm}\n" for alarm in alarms)
    if "--out" in options:
        table = {
            name: {str(kind): asdict(a) for kind in Kind if (a := tally.accuracy(kind))}
            for name, tally in tallies.items()
        }
        Path(options["--out"]).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
