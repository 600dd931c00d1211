"""The table of LLMRA's model card: untouched, best classical tool, LLMRA under several texts.

    python -m conservator.evals.restorer_table --dev DEV --out evals/results/llmra.json [--limit N] [--case NAME ...]

Columns: `untouched`; `classical`, per image and kind the classical tool (or none) that the ground truth likes best, kinds
undone in reverse capture order, so a ceiling for classical treatment, not a blind choice; `llmra`, the true kinds and
parameters as text; `false text`, a clean bill of health and a degradation that is not there; `inspected`, the sentences of our own
inspection without CEM; `inspected + CEM`, the same through CEM; `blind`, "Remove all degradation.".
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from conservator.evals.cases import CASES, Case, Sample, samples
from conservator.evals.fidelity import Fidelity, fidelity
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind, Level, value_of
from conservator.restorers.errors import UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.instruments import measure

__all__ = ["machine", "markdown", "measure_case", "renew_card"]

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


def _inspected(image: Image, *, enhance: bool) -> RestorationPrompt:
    found = [f for f in measure(image) if f.level > Level.ABSENT and f.confidence >= 0.5]
    return RestorationPrompt.from_findings(found).model_copy(update={"blind": enhance})


def _systems(case: Case) -> dict[str, Callable[[Sample], Image]]:
    true = RestorationPrompt(degradations=case.kinds)

    def inspected(sample: Sample, enhance: bool) -> Image:
        prompt = _inspected(sample.degraded, enhance=enhance)
        return (
            _restored("llmra", sample.degraded, prompt) if prompt.degradations else sample.degraded
        )

    return {
        "untouched": lambda s: s.degraded,
        "classical": lambda s: _best_classical(s, case.kinds),
        "llmra": lambda s: _restored("llmra", s.degraded, true),
        "false text": lambda s: _restored("llmra", s.degraded, _false(case.kinds)),
        "inspected": lambda s: inspected(s, False),
        "inspected + CEM": lambda s: inspected(s, True),
        "blind": lambda s: _restored("llmra", s.degraded, RestorationPrompt(blind=True)),
    }


def measure_case(
    case: Case, pictures: Iterable[Sample], columns: Sequence[str] = COLUMNS
) -> dict[str, Any]:
    """Mean PSNR and SSIM of every column over the samples of a case."""
    systems = _systems(case)
    figures: dict[str, list[Fidelity]] = {column: [] for column in columns}
    for sample in pictures:
        for column in columns:
            figures[column].append(fidelity(systems[column](sample), sample.clean))
    row: dict[str, Any] = {"case": case.name, "images": len(next(iter(figures.values())))}
    for column, found in figures.items():
        row[column] = {
            "psnr": round(float(np.mean([f.psnr for f in found])), 2),
            "ssim": round(float(np.mean([f.ssim for f in found])), 4),
        }
    return row


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a Markdown table, PSNR / SSIM a cell."""
    columns = [c for c in COLUMNS if c in rows[0]]
    lines = [
        "| case | images | " + " | ".join(columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for row in rows:
        best = max(row[c]["psnr"] for c in columns)
        cells = [
            f"**{row[c]['psnr']:.2f}** / {row[c]['ssim']:.3f}"
            if row[c]["psnr"] == best
            else f"{row[c]['psnr']:.2f} / {row[c]['ssim']:.3f}"
            for c in columns
        ]
        lines.append(f"| {row['case']} | {row['images']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


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


def main() -> int:
    """Measure, write the JSON, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--dev", type=Path, required=True, help="development images")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--card", type=Path, help="model card whose table to renew")
    parser.add_argument("--limit", type=int, help="at most so many images a case")
    parser.add_argument("--case", action="append", help="only these rows")
    parser.add_argument("--column", action="append", choices=COLUMNS, help="only these columns")
    options = parser.parse_args()
    columns = options.column or COLUMNS
    rows = []
    for case in CASES:
        if options.case and case.name not in options.case:
            continue
        rows.append(measure_case(case, samples(case, options.dev, options.limit), columns))
        sys.stderr.write(json.dumps(rows[-1]) + "\n")
        if options.out:
            record = {"machine": machine(), "rows": rows}
            options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.card:
        renew_card(options.card, markdown(rows))
    sys.stdout.write(markdown(rows) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
