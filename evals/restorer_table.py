"""The table of LLMRA's model card: untouched, best classical tool, LLMRA under several texts.

    python -m conservator.evals.restorer_table --dev DEV --out evals/results/llmra.json [--limit N] [--case NAME ...]
        [--column NAME ...] [--jobs N] [--card MODEL_CARD.md]

An `--out` that is there keeps its rows and columns, and those measured now are merged into it: `untouched` and `classical` are
slow and stay, the others are measured again with new weights. Columns: `untouched`; `classical`, per image and kind the classical tool (or none) that the ground truth likes best, kinds
undone in reverse capture order, so a ceiling for classical treatment, not a blind choice; `llmra`, the true kinds and
parameters as text; `false text`, a clean bill of health and a degradation that is not there; `inspected`, the sentences of our own
inspection without CEM; `inspected + CEM`, the same through CEM; `blind`, "Remove all degradation.".
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from conservator.evals.cases import CASES, Case, Place, Sample, places
from conservator.evals.fidelity import Fidelity, fidelity
from conservator.evals.table_record import check_counts, merged, read_record, write_record
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind, Level, value_of
from conservator.restorers.errors import UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.instruments.prompt import prompt_of

__all__ = ["COLUMNS", "machine", "markdown", "measure_case", "measure_sample", "renew_card"]

Image = npt.NDArray[np.float32]
UNDO = (
    Kind.JPEG,
    Kind.MASK,
    Kind.PEPPER_NOISE,
    Kind.NOISE,
    Kind.LOW_RESOLUTION,
    Kind.DEFOCUS_BLUR,
    Kind.MOTION_BLUR,
    Kind.HAZE,
    Kind.SNOW,
    Kind.RAIN,
    Kind.LOW_LIGHT,
)
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
COLUMNS = ("untouched", "classical", "llmra", "false text", "inspected", "inspected + CEM", "blind")
WITHOUT_WEIGHTS = ("untouched", "classical")
Figures = Mapping[str, Fidelity]


def machine() -> dict[str, Any]:
    """Hardware and revision that a result was measured with."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    ).stdout.strip()
    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "revision": revision or "unknown",
        "date": time.strftime("%Y-%m-%d"),
    }


def _restored(name: str, image: Image, prompt: RestorationPrompt) -> Image:
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    y = catalog.load(name).restore(x, prompt).image
    return np.ascontiguousarray(y[0].permute(1, 2, 0).numpy())


def _best_classical(sample: Sample, kinds: dict[Kind, float]) -> Image:
    image = sample.degraded
    for kind in UNDO:
        if kind not in kinds:
            continue
        prompt = RestorationPrompt(degradations={kind: kinds[kind]})
        tried = [image]
        for name, card in catalog.cards().items():
            if name.startswith("classical-") and kind in card.treats and card.scale == 1:
                tried.append(_restored(name, image, prompt))
        image = max(tried, key=lambda candidate: fidelity(candidate, sample.clean).psnr)
    return image


def _false(kinds: dict[Kind, float]) -> RestorationPrompt:
    wrong = next(k for k in (Kind.SNOW, Kind.RAIN, Kind.NOISE) if k not in kinds)
    return RestorationPrompt(degradations={wrong: value_of(wrong, Level.HIGH)})


def _systems(case: Case, sample: Sample) -> dict[str, Callable[[], Image]]:
    image = sample.degraded
    said = cache(lambda: prompt_of(image))

    def llmra(prompt: RestorationPrompt) -> Image:
        return _restored("llmra", image, prompt)

    def inspected(*, enhance: bool) -> Image:
        prompt = said().model_copy(update={"blind": enhance})
        return llmra(prompt) if prompt.degradations else image

    return {
        "untouched": lambda: image,
        "classical": lambda: _best_classical(sample, case.kinds),
        "llmra": lambda: llmra(RestorationPrompt(degradations=case.kinds)),
        "false text": lambda: llmra(_false(case.kinds)),
        "inspected": lambda: inspected(enhance=False),
        "inspected + CEM": lambda: inspected(enhance=True),
        "blind": lambda: llmra(RestorationPrompt(blind=True)),
    }


def measure_sample(case: Case, sample: Sample, columns: Sequence[str] = COLUMNS) -> Figures:
    """PSNR and SSIM of every column on one sample; it is inspected once at most."""
    systems = _systems(case, sample)
    return {column: fidelity(systems[column](), sample.clean) for column in columns}


def measure_case(
    case: Case, pictures: Iterable[Sample], columns: Sequence[str] = COLUMNS
) -> dict[str, Any]:
    """Mean PSNR and SSIM of every column over the samples of a case."""
    return _row(case, [measure_sample(case, sample, columns) for sample in pictures], columns)


def _row(case: Case, figures: Sequence[Figures], columns: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"case": case.name, "images": len(figures)}
    for column in columns:
        row[column] = {
            "psnr": round(float(np.mean([found[column].psnr for found in figures])), 2),
            "ssim": round(float(np.mean([found[column].ssim for found in figures])), 4),
        }
    return row


def _measured(place: Place, columns: Sequence[str]) -> Figures:
    return measure_sample(place.case, place.sample(), columns)


@contextmanager
def _mapping(jobs: int) -> Iterator[Callable[..., Iterable[Figures]]]:
    """`map`, over processes of one thread each where there is more than one job."""
    if jobs == 1:
        yield map
        return
    # Forking a process that has run torch can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as processes:
        yield processes.map


def _one_thread() -> None:
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table, PSNR / SSIM a cell."""
    columns = [c for c in COLUMNS if any(c in row for row in rows)]
    lines = [
        "| case | images | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for row in rows:
        best = max(row[c]["psnr"] for c in columns if c in row)
        cells = [_cell(row.get(column), best) for column in columns]
        lines.append(f"| {row['case']} | {row['images']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figures: Mapping[str, float] | None, best: float) -> str:
    if figures is None:
        return "not measured"
    mark = "**" if figures["psnr"] == best else ""
    return f"{mark}{figures['psnr']:.2f}{mark} / {figures['ssim']:.3f}"


def renew_card(path: Path, table: str) -> None:
    """Put a table between the marks of a model card.

    Raises:
        UsageError: the card has no marks.
    """
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{path} has no place for the table: add {BEGIN} and {END}")
    path.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")


def _weights() -> dict[str, str]:
    """Column -> the first digits of the sha256 of the weights it is measured with."""
    sha256 = catalog.card("llmra").configurations["compact"].sha256 or ""
    return {column: sha256[:12] for column in COLUMNS if column not in WITHOUT_WEIGHTS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, merge into the JSON, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--dev", type=Path, required=True, help="development images")
    parser.add_argument("--out", type=Path, help="JSON file to write, or to merge into")
    parser.add_argument("--card", type=Path, help="model card whose table to renew")
    parser.add_argument("--limit", type=int, help="at most so many images a case")
    names = [case.name for case in CASES]
    parser.add_argument("--case", action="append", choices=names, help="only these rows")
    parser.add_argument("--column", action="append", choices=COLUMNS, help="only these columns")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    columns = [c for c in COLUMNS if c in (options.column or COLUMNS)]
    chosen = {
        case.name: places(case, options.dev, options.limit)
        for case in CASES
        if not options.case or case.name in options.case
    }
    record = read_record(options.out)
    # Before an hour of measuring, not after it.
    check_counts(record, {name: len(found) for name, found in chosen.items()}, columns)
    jobs = max(1, options.jobs)
    at = machine() | ({"threads": 1, "jobs": jobs} if jobs > 1 else {})
    with _mapping(jobs) as mapped:
        for found in chosen.values():
            figures = list(mapped(partial(_measured, columns=columns), found))
            row = _row(found[0].case, figures, columns)
            sys.stderr.write(json.dumps(row) + "\n")
            record = merged(
                record,
                [row],
                columns,
                at,
                cases=names,
                order=COLUMNS,
                weights=_weights(),
            )
            if options.out:
                write_record(options.out, record)
    table = markdown(record["rows"])
    if options.card:
        renew_card(options.card, table)
    sys.stdout.write(table + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
