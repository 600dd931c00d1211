"""Conversations to learn from, each made of a question of this project and the answer that the truth gives.

The questions are built by the functions that ask them in the product, so the model trains on the very texts and views that it will get. The
teachers: the degradations that were really put there; the deterministic planner on the true condition; PSNR and SSIM against the clean
photo for a verdict; the writer of a remark for what it asks. The same seed makes the same conversations.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from conservator.agent.vlm.embedded.case import (
    BLANK,
    VIEWS,
    Case,
    Dialogue,
    Pair,
    compact,
    condition_answer,
    scene_of,
)
from conservator.agent.vlm.embedded.plans import first_step, later_step, read_aloud
from conservator.agent.vlm.embedded.remarks import Wish, changes_of, remark, small_talk
from conservator.agent.vlm.questions import (
    condition_question,
    guide_question,
    refine_question,
    sentences_question,
    verdict_question,
)
from conservator.restorers.degradations.vocabulary import (
    ConditionReport,
    Finding,
    Kind,
    Level,
    level_of,
    value_at,
)
from conservator.restorers.prompts import llmra, mofe
from conservator.restorers.prompts.amounts import rounded
from conservator.restorers.prompts.model import RestorationPrompt

if TYPE_CHECKING:
    from conservator.tools.look import Pixels

__all__ = ["about", "judged", "planned", "read_aloud", "refinements"]


def about(case: Case, rng: random.Random) -> Iterator[Dialogue]:
    """Everything that is asked about one picture: condition, sentences, guide and, where it was inspected, the plan."""
    # Only the first question shows its pictures; the others show the same ones, and coding them again takes time.
    first = condition_question(case.pixels, VIEWS, case.report)
    yield Dialogue(first, _condition(case))
    prompt = RestorationPrompt(degradations={f.kind: f.value for f in case.truth()})
    yield Dialogue(sentences_question(BLANK, VIEWS), llmra.render(prompt))
    listed = mofe.render(prompt).removeprefix(mofe.QUESTION).strip()
    yield Dialogue(guide_question(BLANK, VIEWS), listed)
    if case.report is not None:
        alone = Case(case.pixels, case.clean, case.present)
        yield Dialogue(condition_question(BLANK, VIEWS), _condition(alone))
        step = first_step(case, rng, measured=rng.random() < 0.5)
        if step is not None:
            yield step


def planned(case: Case, rng: random.Random) -> Iterator[Dialogue]:
    """Plans about a picture that nobody inspected, with readings made up around the truth: a first step and two later ones."""
    steps = [first_step, later_step, later_step]
    rng.shuffle(steps)
    pixels = case.pixels
    for step in steps:
        dialogue = step(case, rng, pixels=pixels)
        if dialogue is not None:
            yield dialogue
            pixels = BLANK


def _condition(case: Case) -> str:
    return condition_answer(scene_of(case.clean), case.truth())


def judged(pair: Pair) -> Dialogue:
    """A verdict, as PSNR and SSIM against the clean picture give it."""
    from skimage.metrics import structural_similarity

    def psnr(x: Pixels) -> float:
        return float(-10 * np.log10(max(1e-10, np.square(x - pair.clean).mean())))

    def ssim(x: Pixels) -> float:
        return float(structural_similarity(x.mean(axis=2), pair.clean.mean(axis=2), data_range=1.0))

    gain, structure = psnr(pair.after) - psnr(pair.before), ssim(pair.after) - ssim(pair.before)
    merit = gain + 25 * structure
    better = "after" if merit > 0.5 else "before" if merit < -0.5 else "same"
    left = {f.kind for f in pair.left if f.level > Level.ABSENT}
    remaining = [
        k
        for k, v in pair.present.items()
        if level_of(k, v) > 0 and (k not in pair.treated or k in left)
    ]
    harm = _harm(pair)
    answer = {
        "better": better,
        "remaining": [k.value for k in Kind if k in remaining],
        "harm": harm,
        "reason": _reason(better, pair.treated, harm),
    }
    question = verdict_question(
        pair.before, pair.after, VIEWS, treated=pair.treated, found=pair.found, left=pair.left
    )
    return Dialogue(question, compact(answer))


def _harm(pair: Pair) -> list[str]:
    def detail(x: Pixels) -> float:
        luma = x.mean(axis=2)
        return float(
            np.abs(np.diff(luma, 2, axis=0)).mean() + np.abs(np.diff(luma, 2, axis=1)).mean()
        )

    def light(x: Pixels) -> float:
        return abs(float(x.mean() - pair.clean.mean()))

    def colour(x: Pixels) -> float:
        means = (x - pair.clean).mean(axis=(0, 1))
        return float(np.abs(means - means.mean()).max())

    sharp = detail(pair.clean)
    broken = {
        "smoothed": detail(pair.after) < 0.65 * sharp and detail(pair.before) > 0.8 * sharp,
        "halos": detail(pair.after) > 1.5 * sharp and detail(pair.before) < 1.2 * sharp,
        "colour": colour(pair.after) > 0.03 and colour(pair.after) > 1.5 * colour(pair.before),
        "brightness": light(pair.after) > 0.06 and light(pair.after) > 1.3 * light(pair.before),
    }
    return [name for name, true in broken.items() if true]


def _reason(better: str, treated: Mapping[Kind, float], harm: list[str]) -> str:
    names = " and ".join(kind.value.replace("_", " ") for kind in treated) or "damage"
    said = {
        "after": f"less {names}",
        "before": f"the treatment of {names} did harm",
        "same": f"{names} hardly changed",
    }[better]
    if not harm:
        return said
    return f"{said}{': ' if better == 'before' else ', but '}{' and '.join(harm)}"


def refinements(rng: random.Random) -> Dialogue:
    """A user's remark on a treatment, and the changes it asks for; one in eight asks for none."""
    kinds = rng.sample(list(Kind), rng.choice((1, 1, 1, 2, 2, 3)))
    treated = {k: rounded(k, value_at(k, rng.uniform(0.15, 1))) for k in kinds}
    report = None
    if rng.random() < 0.5:
        shown = set(kinds) | set(rng.sample(list(Kind), rng.choice((0, 0, 1, 2))))
        found = [_found(k, treated.get(k), rng) for k in Kind if k in shown]
        report = ConditionReport(findings=tuple(found))
    wishes: list[tuple[Kind, Wish]] = []
    if rng.random() < 0.12:
        sentence = small_talk(rng)
    else:
        spoken_of = rng.sample(list(Kind), 1)
        if rng.random() < 0.7:
            spoken_of = [rng.choice(kinds)]
        if rng.random() < 0.15:
            other = rng.choice(list(Kind))
            spoken_of += [other] if other not in spoken_of else []
        wishes = [(kind, _wish(rng)) for kind in spoken_of]
        said = [remark(kind, wish, rng) for kind, wish in wishes]
        sentence = rng.choice((" and ", ", but ", ". ", "; ")).join(said)
    prompt = RestorationPrompt(degradations=treated)
    changes = changes_of(wishes, treated)
    answer = {"changes": [{"kind": k.value, "change": change} for k, change in changes.items()]}
    return Dialogue(refine_question(sentence, prompt, report), compact(answer))


def _wish(rng: random.Random) -> Wish:
    wishes: tuple[Wish, ...] = ("up", "down", "away")
    return rng.choices(wishes, (0.45, 0.3, 0.25))[0]


def _found(kind: Kind, value: float | None, rng: random.Random) -> Finding:
    value = value_at(kind, rng.uniform(0.15, 1)) if value is None else value
    return Finding(
        kind=kind, value=value, confidence=round(rng.uniform(0.5, 1), 2), source="instrument"
    )
