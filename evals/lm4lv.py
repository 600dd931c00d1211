"""LM4LV's tables at our size: the seven tasks (Table 2), and the control experiments (Table 3, Figures 5 to 7).

    python -m conservator.evals.lm4lv tasks --weights W --images TEST --out tasks.json [--limit N]
    python -m conservator.evals.lm4lv controls --weights W --images TEST --out controls.json --data TRAIN --work DIR
        [--minutes N | --steps N] [--seed N ...] [--variant NAME ...] [--task NAME ...] [--limit N]

`tasks` measures a trained restorer. `controls` trains each variant's adapters on the tasks alone (denoising unless given), for the same
minutes, or steps, with each seed, all behind the same autoencoder, that of W. A picture is the middle of a test picture: four tiles, degraded as
in the suite `lm4lv-tasks`, or one tile for the probes. With minutes nothing else should run beside it. A run that was stopped goes on in `--work`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import torch
from torch import Tensor

from conservator.evals.fidelity import fidelity
from conservator.evals.provenance import provenance
from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.restorers.errors import WeightsError
from conservator.restorers.lm4lv.config import ALL_TASKS, CONFIGS, PROBES
from conservator.restorers.lm4lv.pictures import probed
from conservator.restorers.lm4lv.restorer import LM4LVRestorer
from conservator.restorers.lm4lv.train import train
from conservator.restorers.lm4lv.validation import middles
from conservator.restorers.training.loop import choose_device
from conservator.restorers.weights import load_weights, save_weights

__all__ = ["VARIANTS", "Case", "cases", "controls_table", "main", "measured", "tasks_table"]

VARIANTS: Final[dict[str, Mapping[str, str]]] = {
    "LM4LV": {},
    "linear only": {"body": "none"},
    "random LLM": {"body": "random"},
    "single pass": {"generation": "single-pass"},
    "MLP": {"body": "mlp"},
    "transformer": {"body": "transformer"},
}
"""Name -> changes to the configuration."""

Scores = dict[str, dict[str, float]]
"""Task -> metric -> mean."""


@dataclass(frozen=True, eq=False)
class Case:
    """One picture of one task.

    Attributes:
        task: its name.
        degraded: (1, 3, S, S), [0, 1].
        wanted: the same.
    """

    task: str
    degraded: Tensor
    wanted: Tensor


def cases(images: Path, tasks: Sequence[str], *, limit: int, side: int) -> list[Case]:
    """The tasks on the middles of the first pictures of a folder, always the same.

    Raises:
        UsageError: the folder holds no pictures that are large enough.
    """
    made = []
    for task in tasks:
        large = side if task in PROBES else 2 * side
        for number, clean in enumerate(middles(images, large, limit)):
            if task in PROBES:
                made.append(Case(task, clean, probed(clean, task)))
            else:
                draws = Recipe.parse(f"lm4lv:{task}").draw(number, large, large)
                made.append(Case(task, apply(clean, draws), clean))
    return made


@torch.inference_mode()
def measured(shown: Sequence[Case], restorer: LM4LVRestorer | None) -> Scores:
    """Mean PSNR and SSIM a task; of the pictures as they are without a restorer."""
    device = choose_device()
    if restorer is not None:
        restorer.to(device, torch.float32)
    found: dict[str, list[Any]] = {}
    for case in shown:
        made = case.degraded
        if restorer is not None:
            made = restorer.restored(made.to(device), (case.task,)).cpu()
        pixels = (x[0].permute(1, 2, 0).contiguous().numpy() for x in (made, case.wanted))
        found.setdefault(case.task, []).append(fidelity(*pixels))
    return {
        task: {
            "psnr": round(fmean(score.psnr for score in scores), 3),
            "ssim": round(fmean(score.ssim for score in scores), 4),
        }
        for task, scores in found.items()
    }


def tasks_table(found: Mapping[str, Scores]) -> str:
    """System -> scores as Markdown, a line a task, with what the last system gains over the one before it."""
    names = list(found)
    lines = [f"| PSNR / SSIM | {' | '.join(names)} | gain |", f"|{'---|' * (len(names) + 2)}"]
    for task in found[names[0]]:
        cells = [f"{found[n][task]['psnr']:.2f} / {found[n][task]['ssim']:.4f}" for n in names]
        after, before = (found[name][task] for name in reversed(names[-2:]))
        gain = (after[metric] - before[metric] for metric in ("psnr", "ssim"))
        cells.append("{:+.2f} / {:+.4f}".format(*gain))
        lines.append(f"| {task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def controls_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown, a line a variant: mean over the seeds, and their deviation where there are several."""
    tasks = list(rows[0]["scores"])
    lines = [f"| PSNR / SSIM | steps | {' | '.join(tasks)} |", f"|{'---|' * (len(tasks) + 2)}"]
    for name in dict.fromkeys(row["variant"] for row in rows):
        mine = [row for row in rows if row["variant"] == name]

        def over(task: str, metric: str, digits: int, mine: Sequence[Any] = mine) -> str:
            values = [row["scores"][task][metric] for row in mine]
            spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
            return f"{fmean(values):.{digits}f}{spread}"

        steps = round(fmean(row["steps"] for row in mine))
        cells = (f"{over(task, 'psnr', 2)} / {over(task, 'ssim', 4)}" for task in tasks)
        lines.append(f"| {name} | {steps or ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train where asked, measure, write the JSON, print the table."""
    options = _options(arguments)
    side = CONFIGS["compact"].mae.side
    tasks = options.task or (ALL_TASKS if options.what == "tasks" else ("denoise",))
    shown = cases(options.images, tasks, limit=options.limit, side=side)
    record: dict[str, Any] = {
        "provenance": provenance(),
        "weights": options.weights.name,
        "pictures": len(shown) // len(tasks),
    }
    alone = LM4LVRestorer("mae-r", options.weights)
    before = {"degraded": measured(shown, None), "MAE-r": measured(shown, alone)}
    if options.what == "tasks":
        found = before | {"LM4LV": measured(shown, LM4LVRestorer("compact", options.weights))}
        _write(options.out, record | {"scores": found})
        sys.stdout.write(tasks_table(found) + "\n")
        return 0
    eyes = _eyes(options.weights, options.work)
    rows: list[dict[str, Any]] = [
        {"variant": name, "seed": None, "steps": 0, "scores": scores}
        for name, scores in before.items()
    ]
    for seed in options.seed or (0,):
        for name in options.variant or VARIANTS:
            rows.append(_run(name, seed, options, eyes, tasks, shown))
            sys.stderr.write(json.dumps(rows[-1]) + "\n")
            budget = {"steps": options.steps} if options.steps else {"minutes": options.minutes}
            _write(options.out, record | {"budget": budget, "rows": rows})
    sys.stdout.write(controls_table(rows) + "\n")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    for what in ("tasks", "controls"):
        command = commands.add_parser(what)
        command.add_argument("--weights", type=Path, required=True, help="of the restorer")
        command.add_argument("--images", type=Path, required=True, help="clean, to measure on")
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--limit", type=int, default=12, help="pictures")
        command.add_argument("--task", action="append", choices=list(ALL_TASKS))
        if what == "tasks":
            continue
        command.add_argument("--data", type=Path, required=True, help="clean, to train on")
        command.add_argument("--work", type=Path, required=True, help="folder of the runs")
        command.add_argument("--minutes", type=float, default=10.0, help="of each run")
        command.add_argument("--steps", type=int, help="of each run, instead of minutes")
        command.add_argument("--seed", type=int, action="append", help="default: 0")
        command.add_argument("--variant", action="append", choices=list(VARIANTS))
        command.add_argument("--batch", type=int)
    return parser.parse_args(arguments)


def _eyes(weights: Path, work: Path) -> Path:
    """The autoencoder of a restorer's weights, in a file of its own."""
    own = {n: t for n, t in load_weights(weights).items() if n.startswith("mae.")}
    if not own:
        raise WeightsError(f"{weights} holds no autoencoder; give a trained lm4lv")
    path = work / "mae.safetensors"
    save_weights(own, path)
    return path


def _run(
    name: str,
    seed: int,
    options: argparse.Namespace,
    eyes: Path,
    tasks: Sequence[str],
    shown: Sequence[Case],
) -> dict[str, Any]:
    folder = options.work / f"{name.replace(' ', '-').lower()}-{seed}"
    path = train(
        "compact",
        options.data,
        folder,
        minutes=options.minutes,
        steps=options.steps,
        stage="adapters",
        resume=True,
        weights=eyes,
        batch=options.batch,
        switches=VARIANTS[name],
        tasks=dict.fromkeys(tasks, 1.0),
        seed=seed,
    )
    state = torch.load(folder / "adapters" / "state.pt", map_location="cpu", weights_only=True)
    return {
        "variant": name,
        "seed": seed,
        "steps": int(state["step"]),
        "minutes": round(float(state["spent_s"]) / 60, 2),
        "scores": measured(shown, LM4LVRestorer("compact", path)),
    }


def _write(path: Path, record: Mapping[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
