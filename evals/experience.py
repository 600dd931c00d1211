"""Experience to ship: photos are degraded, inspected and treated as the policy would and otherwise, and the true gains are kept as cases.

    python -m conservator.evals.experience --images DIR [DIR ...] --parts DIR --out FILE.sqlite [--pictures N] [--judged N] [--seed N]

Half of the pictures get one of mio16's combinations, the others a mixture of one to three kinds. Parts are written one by one; a run that was
stopped goes on with the next one. The file is made of all parts in their order, so the same parts give the same file. In one part of `--judged` the gain
network is asked, too: how its word and the experience's are weighed is chosen there, with what was learned from other photos.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from conservator.evals.fidelity import psnr, sized_as
from conservator.evals.sources import source
from conservator.policies.attempt import ToolCall
from conservator.policies.cases import Case, CaseFile, Condition, Lesson, Step
from conservator.policies.planner import followers, plan
from conservator.policies.preferences import load_preferences
from conservator.policies.preset import load_preset
from conservator.policies.situation import Situation
from conservator.policies.strength import shifted
from conservator.restorers import catalog
from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.restorers.degradations.synthesis import quantise8
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.restorers.errors import ConservatorError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.training.data import Mixture
from conservator.tools.gain import LEAST_SIDE, estimate_gain
from conservator.tools.image_io import load
from conservator.tools.instruments.calibrate import MIXTURE, WholePhotos
from conservator.tools.instruments.measuring import measure
from conservator.tools.look import Pixels
from conservator.tools.restore import from_restored, to_restorer

__all__ = ["Tried", "gather", "main", "ready", "situation_of", "tried", "written"]

PART: Final = 10
"""Pictures a part."""
SIDES: Final = (256, 320)
_MIXTURE: Final = Mixture(weights=MIXTURE.weights, counts=(0.0, 0.3, 0.45, 0.25), partial=0.0)
_PLANNED: Final = 5
_OTHERS: Final = 2


@dataclass(frozen=True)
class Tried:
    """A treatment of a picture.

    Attributes:
        steps: that were taken.
        gain: true, dB.
        seconds: of the processor that they took.
        said: what the gain network expects, and its expected error; None where it was not asked.
        place: of the first step among the planner's candidates, None where the planner did not name it.
        whole: nothing is left that the planner would do next.
    """

    steps: tuple[Step, ...]
    gain: float
    seconds: float
    said: tuple[float, float] | None
    place: int | None
    whole: bool


def ready() -> dict[str, RestorerCard]:
    """The restorers that can be called."""
    return {name: card for name, card in catalog.cards().items() if card.ready()}


def situation_of(degraded: Pixels, cards: Mapping[str, RestorerCard]) -> Situation:
    """What the planner of the default policy sees of a picture at first, with room for more candidates than it would try."""
    preset = load_preset("balanced").model_copy(update={"candidates": _PLANNED, "max_attempts": 99})
    report = ConditionReport(findings=measure(degraded))
    return Situation(report=report, preset=preset, preferences=load_preferences(), cards=cards)


def tried(
    clean: Pixels,
    degraded: Pixels,
    situation: Situation,
    *,
    rng: random.Random,
    others: int = _OTHERS,
    judged: bool = False,
) -> Iterator[Tried]:
    """Every treatment that the planner names, each also with what would follow it, and some that it does not name.

    Args:
        clean: (H, W, 3), float32, [0, 1].
        degraded: what the inspection saw; may be smaller.
        situation: from `situation_of`.
        rng: of the others.
        others: treatments of another strength, of fewer kinds, or by another restorer.
        judged: ask the gain network, too.
    """
    planned = plan(situation).calls
    known = {str(Step.of(call)) for call in planned}
    more: list[ToolCall] = []
    for _ in range(8 * others):
        call = _other(rng.choice(planned), situation, rng) if planned else None
        if call is not None and len(more) < others and str(Step.of(call)) not in known:
            known.add(str(Step.of(call)))
            more.append(call)
    start = psnr(sized_as(degraded, clean), clean)
    for place, call in enumerate((*planned, *more)):
        then = followers(situation, call)
        picture, seconds = degraded, 0.0
        steps: tuple[Step, ...] = ()
        for number, step in enumerate((call, *then)):
            before = time.process_time()
            made = _made(step, picture)
            if made is None:
                break
            seconds += time.process_time() - before
            picture, steps = made, (*steps, Step.of(step))
            said = None
            if judged and min(degraded.shape[:2]) >= LEAST_SIDE:
                estimate = estimate_gain(degraded, picture)
                said = estimate.psnr, estimate.spread
            yield Tried(
                steps=steps,
                gain=psnr(sized_as(picture, clean), clean) - start,
                seconds=seconds,
                said=said,
                place=place if place < len(planned) else None,
                whole=number == len(then),
            )


def _made(call: ToolCall, picture: Pixels) -> Pixels | None:
    """The picture as it would be kept, of 8 bits; None where the tool fails or changes the size."""
    try:
        restorer = catalog.load(call.restorer, call.configuration, device="cpu")
        made = from_restored(restorer.restore(to_restorer(picture), call.prompt).image)
    except ConservatorError:
        return None
    if made.shape != picture.shape:
        return None
    return (np.rint(made * 255) / 255).astype(np.float32)


def _other(call: ToolCall, situation: Situation, rng: random.Random) -> ToolCall | None:
    """A treatment like a planned one: stronger or weaker, for fewer kinds, or by another restorer."""
    prompt, way = call.prompt, rng.random()
    if way < 0.4:
        changed = shifted(prompt, prompt.degradations, rng.choice((-0.3, -0.15, 0.15, 0.3)))
        return call.model_copy(update={"prompt": changed})
    if way < 0.7 and len(prompt.degradations) > 1:
        left_out = rng.choice(list(prompt.degradations))
        kept = {kind: value for kind, value in prompt.degradations.items() if kind is not left_out}
        return call.model_copy(update={"prompt": prompt.model_copy(update={"degradations": kept})})
    kind = rng.choice(list(prompt.degradations))
    able = [n for n, c in situation.cards.items() if kind in c.treats and c.scale == 1]
    if not able:
        return None
    name = rng.choice(able)
    treats = situation.cards[name].treats
    whole = situation.cards[name].prompt_style != "parameters"
    asked = {
        one: value
        for one, value in prompt.degradations.items()
        if one is kind or (whole and one in treats)
    }
    return call.model_copy(
        update={"restorer": name, "prompt": RestorationPrompt(degradations=asked)}
    )


def gather(
    images: Sequence[Path], folder: Path, pictures: int, *, judged: int = 5, seed: int = 0
) -> None:
    """Write the parts that are not there yet, JSON lines, one picture each; the last of each `judged` parts with the gain network's word."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [entry.picture for path in images for entry in source(path, "clean").entries]
    cards = ready()
    for number in range(-(-pictures // PART)):
        path = folder / f"cases-{number:03}.jsonl"
        if path.is_file():
            continue
        asked = number % judged == judged - 1
        lines = [_line(paths, cards, seed, number * PART + n, asked) for n in range(PART)]
        part = path.with_name(path.name + ".part")
        part.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        part.replace(path)
        count = sum(len(line["tried"]) for line in lines)
        sys.stderr.write(f"{path.name}: {count} cases, {time.process_time():.0f} s of CPU so far\n")


def _line(
    paths: Sequence[Path],
    cards: Mapping[str, RestorerCard],
    seed: int,
    number: int,
    judged: bool,
) -> dict[str, Any]:
    """One picture, degraded and tried."""
    rng = random.Random(f"{seed}/{number}")
    path = rng.choice(paths)
    clean = _crop(load(path).pixels, rng)
    degraded, recipe = _degraded(clean, rng)
    situation = situation_of(degraded, cards)
    rows = tried(clean, degraded, situation, rng=rng, judged=judged)
    return {
        "picture": path.name,
        "recipe": recipe,
        "condition": str(Condition.of(situation.report.findings)),
        "side": min(degraded.shape[:2]),
        "tried": [
            {
                "steps": [str(step) for step in one.steps],
                "gain": round(one.gain, 3),
                "seconds": round(one.seconds, 3),
                "said": one.said,
                "place": one.place,
                "whole": one.whole,
            }
            for one in rows
        ],
    }


def _crop(pixels: Pixels, rng: random.Random) -> Pixels:
    """A square of a random side and place, flipped or not."""
    side = min(rng.choice(SIDES), *(n // 8 * 8 for n in pixels.shape[:2]))
    top, left = (rng.randrange(n - side + 1) for n in pixels.shape[:2])
    crop = pixels[top : top + side, left : left + side]
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)


def _degraded(clean: Pixels, rng: random.Random) -> tuple[Pixels, str]:
    x = torch.from_numpy(clean.copy()).permute(2, 0, 1)[None]
    if rng.random() < 0.5:
        draws = Recipe.parse("mio16").draw(rng.randrange(2**31), *x.shape[-2:])
        made, said = apply(x, draws), "mio16"
    else:
        pairs = WholePhotos(_MIXTURE, seed=rng.randrange(2**31)).pairs(x)
        made, said = quantise8(pairs.degraded), "+".join(pairs.present[0])
    return made[0].permute(1, 2, 0).contiguous().numpy(), said


def written(folder: Path, out: Path, name: str) -> int:
    """Make the experience file of all parts; how many cases it holds."""
    cases = []
    for path in sorted(folder.glob("cases-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            cases += cases_of(json.loads(line))
    part = out.with_name(out.name + ".part")
    part.unlink(missing_ok=True)
    learned = CaseFile(part).learn([Lesson("shipped", name, tuple(cases))])
    part.replace(out)
    return learned.cases


def cases_of(line: Mapping[str, Any]) -> list[Case]:
    """The cases of one picture of a part."""
    condition = Condition.parse(line["condition"], line["side"])
    return [
        Case(
            condition=condition,
            steps=tuple(Step.parse(step) for step in one["steps"]),
            gain=one["gain"],
            seconds=one["seconds"],
        )
        for one in line["tried"]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Gather the parts, and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="clean photos")
    parser.add_argument("--parts", type=Path, required=True, help="folder of the parts")
    parser.add_argument("--out", type=Path, required=True, help="the experience file")
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--judged", type=int, default=5, help="one part of so many")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    gather(
        options.images, options.parts, options.pictures, judged=options.judged, seed=options.seed
    )
    count = written(options.parts, options.out, "degraded training photos")
    sys.stdout.write(f"{options.out}: {count} cases\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
