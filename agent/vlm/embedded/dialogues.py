"""Conversations to learn from, each made of a question of this project and the answer that the truth gives.

The questions are built by the functions that ask them in the product, so the model trains on the very texts and views that it will get. The
teachers: the degradations that were really put there; the deterministic planner on the true condition; PSNR and SSIM against the clean
photo for a verdict; the writer of a remark for what it asks. The same seed makes the same conversations.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from conservator.agent.vlm.embedded.remarks import Wish, changes_of, remark, small_talk
from conservator.agent.vlm.questions import (
    Question,
    Views,
    condition_question,
    guide_question,
    plan_question,
    refine_question,
    sentences_question,
    verdict_question,
)
from conservator.policies.attempt import ORIGINAL
from conservator.policies.planner import plan
from conservator.policies.preferences import load_preferences
from conservator.policies.preset import load_preset
from conservator.policies.review import offered
from conservator.policies.situation import Situation
from conservator.restorers import catalog
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
    from conservator.policies.attempt import ToolCall
    from conservator.tools.look import Pixels

__all__ = [
    "UNKNOWN",
    "VIEWS",
    "Case",
    "Dialogue",
    "Pair",
    "about",
    "bounded",
    "judged",
    "refinements",
]

VIEWS = Views(overview_side=128, crop_side=128, crops=4, pair_crops=2)
"""The pictures that the embedded model was trained on."""

UNKNOWN = 0.8
"""Confidence written where nothing was measured; training puts what the tower says in its place."""
_BLANK = np.zeros((32, 32, 3), np.float32)


@dataclass(frozen=True, eq=False)
class Case:
    """A degraded picture, what is wrong with it, and what was measured.

    Attributes:
        pixels: (H, W, 3), float32, [0, 1].
        clean: the same before.
        present: kind -> parameter.
        report: of a real inspection; None where there was none.
    """

    pixels: Pixels
    clean: Pixels
    present: Mapping[Kind, float]
    report: ConditionReport | None = None

    def truth(self) -> tuple[Finding, ...]:
        """What is wrong, in the order of `Kind`; what is too faint for a level is nothing."""
        return tuple(
            Finding(
                kind=kind,
                value=self.present[kind],
                confidence=self._confidence(kind),
                source="vlm",
            )
            for kind in Kind
            if kind in self.present and level_of(kind, self.present[kind]) > Level.ABSENT
        )

    def _confidence(self, kind: Kind) -> float:
        """What the inspection says for the kind."""
        measured = None if self.report is None else self.report.finding(kind)
        if measured is None:
            return UNKNOWN
        seen = measured.level > Level.ABSENT
        return bounded(measured.confidence if seen else 1 - measured.confidence)


def bounded(confidence: float) -> float:
    """With two decimals, and never quite sure."""
    return round(min(max(confidence, 0.3), 0.99), 2)


@dataclass(frozen=True, eq=False)
class Pair:
    """A treatment that really happened: the pictures before and after it, and the clean one."""

    before: Pixels
    after: Pixels
    clean: Pixels
    treated: Mapping[Kind, float]
    present: Mapping[Kind, float]
    found: tuple[Finding, ...]
    left: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class Dialogue:
    """A question and what the model shall write."""

    question: Question
    answer: str


def about(case: Case, rng: random.Random) -> Iterator[Dialogue]:
    """Everything that is asked about one picture: condition, sentences, guide and, where it was inspected, the plan."""
    # Only the first question shows its pictures; the others show the same ones, and coding them again takes time.
    first = condition_question(case.pixels, VIEWS, case.report)
    yield Dialogue(first, _condition(case))
    prompt = RestorationPrompt(degradations={f.kind: f.value for f in case.truth()})
    yield Dialogue(sentences_question(_BLANK, VIEWS), llmra.render(prompt))
    listed = mofe.render(prompt).removeprefix(mofe.QUESTION).strip()
    yield Dialogue(guide_question(_BLANK, VIEWS), listed)
    if case.report is not None:
        alone = Case(case.pixels, case.clean, case.present)
        yield Dialogue(condition_question(_BLANK, VIEWS), _condition(alone))
        planned = _plan(case, rng)
        if planned is not None:
            yield planned


def _condition(case: Case) -> str:
    named = [
        {
            "kind": f.kind.value,
            "level": f.level.label,
            "value": rounded(f.kind, f.value),
            "confidence": f.confidence,
        }
        for f in case.truth()
    ]
    return _json({"scene": _scene(case.clean), "degradations": named})


def _scene(clean: Pixels) -> str:
    """A few words that a small model can know: light, colour, detail."""
    luma = clean @ np.array([0.299, 0.587, 0.114], np.float32)
    colour = float((clean.max(axis=2) - clean.min(axis=2)).mean())
    detail = float(np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean())
    light = float(luma.mean())
    words = ["a dark" if light < 0.3 else "a bright" if light > 0.62 else "a"]
    if colour < 0.03:
        words.append("black-and-white")
    elif colour > 0.25:
        words.append("colourful")
    words.append("photo")
    if detail > 0.1:
        words.append("with much detail")
    elif detail < 0.03:
        words.append("with smooth areas")
    return " ".join(words)


def _plan(case: Case, rng: random.Random) -> Dialogue | None:
    """The planner's first step on the true condition; only what the shown report names may be treated."""
    assert case.report is not None
    truth = {f.kind: f for f in case.truth()}
    shown = case.report
    if rng.random() < 0.5:
        shown = shown.model_copy(update={"findings": tuple(_near(f, rng) for f in truth.values())})
    present = shown.present()
    known = tuple(
        _within(f, near) for kind, f in truth.items() if (near := shown.finding(kind)) in present
    )
    preset, preferences = load_preset("balanced"), load_preferences()
    cards = {n: c for n, c in catalog.cards().items() if not c.configurations or n == "llmra"}

    def situation(report: ConditionReport) -> Situation:
        return Situation(report=report, preset=preset, preferences=preferences, cards=cards)

    shown_situation = situation(shown)
    offers = offered(shown_situation)
    calls = [
        call
        for call in plan(situation(shown.model_copy(update={"findings": known}))).calls
        if call.restorer in offers and call.kinds
    ]
    if not calls:
        return None
    question = plan_question(shown_situation, _BLANK, VIEWS, offers)
    return Dialogue(question, "".join(_call(call, question) for call in calls))


def _within(true: Finding, shown: Finding) -> Finding:
    """The truth as far as the policy lets anyone go beyond what was measured: less than two levels."""
    severity = min(max(true.severity, shown.severity - 0.45), shown.severity + 0.45)
    value = value_at(true.kind, min(max(severity, 0.14), 1))
    return true.model_copy(update={"value": value, "confidence": 0.95})


def _near(finding: Finding, rng: random.Random) -> Finding:
    severity = min(1.0, max(0.14, finding.severity + rng.gauss(0, 0.05)))
    value = rounded(finding.kind, value_at(finding.kind, severity))
    return finding.model_copy(update={"value": value, "confidence": round(rng.uniform(0.5, 1), 2)})


def _call(call: ToolCall, question: Question) -> str:
    """A tool call as hermes models write it, its arguments in the order of the schema: grammars insist on it."""
    tool = next(t["function"] for t in question.tools if t["function"]["name"] == call.restorer)
    given: dict[str, Any] = {k.value: rounded(k, v) for k, v in call.prompt.degradations.items()}
    if call.source != ORIGINAL:
        given["source"] = call.source
    if call.blend < 1:
        given["blend"] = call.blend
    arguments = {name: given[name] for name in tool["parameters"]["properties"] if name in given}
    return (
        f'<tool_call>\n{{"name": "{call.restorer}", "arguments": {_json(arguments)}}}\n</tool_call>'
    )


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
    return Dialogue(question, _json(answer))


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
    return Dialogue(refine_question(sentence, prompt, report), _json(answer))


def _wish(rng: random.Random) -> Wish:
    wishes: tuple[Wish, ...] = ("up", "down", "away")
    return rng.choices(wishes, (0.45, 0.3, 0.25))[0]


def _found(kind: Kind, value: float | None, rng: random.Random) -> Finding:
    value = value_at(kind, rng.uniform(0.15, 1)) if value is None else value
    return Finding(
        kind=kind, value=value, confidence=round(rng.uniform(0.5, 1), 2), source="instrument"
    )


def _json(value: object) -> str:
    """Without blanks, as the grammars of both the server and the process have it."""
    return json.dumps(value, separators=(",", ":"))
