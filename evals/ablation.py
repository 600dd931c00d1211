"""MoFE-IR's ablation on a short, equal budget: plain backbone, + MoFE, + MoFE + MGFB, and the whole without the guided loss.

    python -m conservator.evals.ablation --data TRAIN --images TEST --out ablation.json --work DIR [--minutes N | --steps N]
        [--seed N ...] [--variant NAME ...] [--weights W] [--guide G] [--limit N]

Each variant trains for the same minutes, or steps, from the same start with each seed, and is measured on CDD11's combinations over the middles of
the test pictures, asked bare and told the truth. With minutes nothing else should run beside it; the minutes and steps of each run are in the JSON. A run that was stopped goes on in `--work`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import torch
from torch import Tensor

from conservator.evals.fidelity import fidelity
from conservator.evals.provenance import provenance
from conservator.evals.sources import source
from conservator.restorers.degradations.pipelines import cdd11
from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.guides.qwen import SHIPPED, QwenGuide
from conservator.restorers.mofe_ir.config import CONFIGS
from conservator.restorers.mofe_ir.network import MoFEIR
from conservator.restorers.mofe_ir.train import train
from conservator.restorers.prompts.mofe import QUESTION, render
from conservator.restorers.weights import apply_weights, load_weights

__all__ = ["VARIANTS", "Case", "Variant", "cases", "main", "measured", "table"]


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        switches: changes to the configuration.
        mgl: weight of the guided loss.
    """

    switches: Mapping[str, Any]
    mgl: float = 0.1


VARIANTS: Final[dict[str, Variant]] = {
    "backbone": Variant({"use_mofe": False, "encoder_guide": None, "decoder_guide": None}),
    "+ MoFE": Variant({"encoder_guide": None, "decoder_guide": None}),
    "+ MoFE + MGFB": Variant({}),
    "without MGL": Variant({}, mgl=0.0),
}
"""The paper's Table 4; the tone curve, which is ours and is told by the guide, is in all of them."""


@dataclass(frozen=True, eq=False)
class Case:
    """A degraded picture with what the guide makes of it.

    Attributes:
        row: combination of CDD11.
        degraded: (1, 3, S, S), [0, 1].
        clean: the same.
        asked: embeddings of the bare question.
        told: embeddings of the question with the true answer.
    """

    row: str
    degraded: Tensor
    clean: Tensor
    asked: GuideEmbeddings
    told: GuideEmbeddings


def cases(images: Path, guide: QwenGuide, *, limit: int, side: int = 256) -> list[Case]:
    """CDD11's combinations on the middles of the first pictures of a folder.

    Raises:
        UsageError: the folder holds no pictures.
        InputError: one does not read.
    """
    from conservator.tools.image_io import load

    made = []
    for number, entry in enumerate(source(images, "clean").entries[:limit]):
        pixels = load(entry.picture).pixels
        height, width = (min(n, side) // 16 * 16 for n in pixels.shape[:2])
        top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        part = pixels[top : top + height, left : left + width].copy()
        clean = torch.from_numpy(part).permute(2, 0, 1)[None]
        for row in cdd11.VARIANTS:
            draws = Recipe.parse(f"cdd11:{row}").draw(number, height, width)
            degraded = apply(clean, draws)
            asked, told = (
                guide.embed(degraded, text) for text in (QUESTION, render(draws.truth()))
            )
            made.append(Case(row, degraded, clean, asked, told))
    return made


@torch.inference_mode()
def measured(network: MoFEIR, shown: Sequence[Case]) -> dict[str, dict[str, float]]:
    """Mean PSNR and SSIM of all cases, asked bare and told the truth."""
    device = next(network.parameters()).device
    found: dict[str, dict[str, float]] = {}
    for way in ("asked", "told"):
        scores = []
        for case in shown:
            given = (case.asked if way == "asked" else case.told).to(device)
            restored = network(case.degraded.to(device), given).float().clamp(0, 1).cpu()
            pixels, clean = (
                x[0].permute(1, 2, 0).contiguous().numpy() for x in (restored, case.clean)
            )
            scores.append(fidelity(pixels, clean))
        found[way] = {
            "psnr": round(fmean(score.psnr for score in scores), 3),
            "ssim": round(fmean(score.ssim for score in scores), 4),
        }
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown, one line a variant: mean over the seeds, and their deviation where there are several."""
    lines = [
        "| variant | M parameters | steps | PSNR asked | PSNR told | SSIM told |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == name]

        def over(way: str, metric: str, digits: int, mine: Sequence[Any] = mine) -> str:
            values = [row[way][metric] for row in mine]
            spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
            return f"{fmean(values):.{digits}f}{spread}"

        steps = round(fmean(row["steps"] for row in mine))
        lines.append(
            f"| {name} | {mine[0]['parameters_m']:.2f} | {steps} | {over('asked', 'psnr', 2)} | "
            f"{over('told', 'psnr', 2)} | {over('told', 'ssim', 4)} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, measure, write the JSON, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="clean pictures to train on")
    parser.add_argument("--images", type=Path, required=True, help="clean pictures to measure on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each run")
    parser.add_argument("--steps", type=int, help="of each run, instead of minutes")
    parser.add_argument("--seed", type=int, action="append", help="default: 0 and 1")
    parser.add_argument("--variant", action="append", choices=list(VARIANTS))
    parser.add_argument("--config", default="compact", choices=list(CONFIGS))
    parser.add_argument("--weights", type=Path, help="to start from")
    parser.add_argument("--guide", default=str(SHIPPED))
    parser.add_argument("--limit", type=int, default=8, help="pictures to measure on")
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args(arguments)
    shown = cases(options.images, QwenGuide(options.guide), limit=options.limit)
    clean = [fidelity(*(_pixels(x) for x in (case.degraded, case.clean))) for case in shown]
    rows: list[dict[str, Any]] = []
    for seed in options.seed or (0, 1):
        for name in options.variant or VARIANTS:
            rows.append(_run(name, seed, options, shown))
            sys.stderr.write(json.dumps(rows[-1]) + "\n")
            record = {
                "provenance": provenance(),
                "budget": {"steps": options.steps}
                if options.steps
                else {"minutes": options.minutes},
                "batch": options.batch,
                "started_from": options.weights.name if options.weights else "",
                "pictures": len(shown) // len(cdd11.VARIANTS),
                "untouched": {"psnr": round(fmean(score.psnr for score in clean), 3)},
                "rows": rows,
            }
            options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(rows) + "\n")
    return 0


def _run(
    name: str, seed: int, options: argparse.Namespace, shown: Sequence[Case]
) -> dict[str, Any]:
    variant = VARIANTS[name]
    folder = options.work / f"{name.replace(' ', '').replace('+', '_')}-{seed}"
    path = train(
        options.config,
        options.data,
        folder,
        minutes=options.minutes,
        steps=options.steps,
        device="auto",
        resume=True,
        weights=options.weights,
        guide=options.guide,
        batch=options.batch,
        switches=variant.switches,
        mgl=variant.mgl,
        seed=seed,
    )
    network = MoFEIR(replace(CONFIGS[options.config], **variant.switches)).eval()
    apply_weights(network, load_weights(path))
    state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    return {
        "variant": name,
        "seed": seed,
        "parameters_m": round(sum(p.numel() for p in network.parameters()) / 1e6, 3),
        "steps": int(state["step"]),
        "minutes": round(float(state["spent_s"]) / 60, 2),
        **measured(network, shown),
    }


def _pixels(picture: Tensor) -> Any:
    return picture[0].permute(1, 2, 0).contiguous().numpy()


if __name__ == "__main__":
    raise SystemExit(main())
