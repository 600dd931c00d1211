"""What is done to a photo at a node of a dialogue, as an expression over the untouched input, and how a wish changes it.

A restorer works on a source (`Treat`); a region shows another picture than the rest (`Mix`). A wish about the whole photo
changes every step that treats the kind; one about a region mixes the changed treatment into the present one. Either way the
picture is made again from the original: a changed prompt beats polishing what came out last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from conservator.agent.recipe import MixStep, RecipeStep
from conservator.policies.attempt import Attempt, chain_of
from conservator.policies.ordering import in_treatment_order
from conservator.policies.refinement import STEP, refined
from conservator.policies.strength import LEAST_SEVERITY
from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.regions import Region

__all__ = [
    "Addition",
    "Change",
    "Mix",
    "Treat",
    "Treatment",
    "Untouched",
    "after_run",
    "changed_in",
    "inside",
    "moved",
    "recipe_steps",
    "set_to",
    "showing",
    "strengths",
    "without",
]


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Untouched(_Node):
    """The input as it is."""

    what: Literal["untouched"] = "untouched"


class Treat(_Node):
    """A restorer's work on its source; the attributes are those of a `RecipeStep`."""

    what: Literal["treat"] = "treat"
    source: Treatment
    restorer: str
    configuration: str
    prompt: RestorationPrompt
    blend: float = Field(default=1.0, gt=0, le=1)
    rounded: bool = False
    seed: int = 0


class Mix(_Node):
    """`over` inside the region, `under` outside."""

    what: Literal["mix"] = "mix"
    under: Treatment
    over: Treatment
    region: Region


Treatment: TypeAlias = Annotated[Untouched | Treat | Mix, Field(discriminator="what")]
Change = Callable[[Treatment], Treatment]

Treat.model_rebuild()
Mix.model_rebuild()


@dataclass(frozen=True)
class Addition:
    """The restorer that takes a kind over which nobody treats yet."""

    card: RestorerCard
    configuration: str
    seed: int
    semantic: str = ""


def after_run(attempts: Sequence[Attempt], best: str, source: Treatment) -> tuple[Treat, ...]:
    """The steps that an automatic run added to `source`, the last one its result; empty when it changed nothing."""
    steps: list[Treat] = []
    for attempt in chain_of(attempts, best):
        call = attempt.call
        steps.append(
            Treat(
                source=steps[-1] if steps else source,
                restorer=call.restorer,
                configuration=call.configuration,
                prompt=call.prompt,
                blend=call.blend,
                rounded=not call.calls_tool,
                seed=call.seed,
            )
        )
    return tuple(steps)


def strengths(treatment: Treatment) -> dict[Kind, float]:
    """Kind -> strength of all that is treated somewhere; of several the last one's, in a mix the outer one's."""
    match treatment:
        case Treat(source=source, prompt=prompt):
            found = {**strengths(source), **prompt.degradations}
        case Mix(under=under, over=over):
            found = {**strengths(over), **strengths(under)}
        case _:
            found = {}
    return {kind: found[kind] for kind in Kind if kind in found}


def recipe_steps(treatment: Treatment) -> tuple[RecipeStep | MixStep, ...]:
    """The treatment as steps that replay; what occurs twice is done once."""
    steps: list[RecipeStep | MixStep] = []
    numbers: dict[str, int] = {}

    def number(node: Treatment) -> int:
        if isinstance(node, Untouched):
            return 0
        key = node.model_dump_json()
        if key not in numbers:
            step: RecipeStep | MixStep
            if isinstance(node, Mix):
                step = MixStep(under=number(node.under), over=number(node.over), region=node.region)
            else:
                step = RecipeStep(
                    restorer=node.restorer,
                    configuration=node.configuration,
                    source=number(node.source),
                    degradations=node.prompt.degradations,
                    others=node.prompt.blind,
                    semantic=node.prompt.semantic,
                    blend=node.blend,
                    rounded=node.rounded,
                    seed=node.seed,
                )
            steps.append(step)
            numbers[key] = len(steps)
        return numbers[key]

    number(treatment)
    return tuple(steps)


def moved(
    treatment: Treatment,
    kind: Kind,
    dose: float,
    cards: Mapping[str, RestorerCard],
    addition: Addition | None = None,
    value: float = 0.0,
) -> Treatment:
    """Every strength of `kind` moved by `dose`; what falls to nothing is left out.

    Args:
        treatment: what to change.
        kind: whose strength.
        dose: severity, [-1, 1]; below 0 for less.
        cards: of the restorers in it; one that ignores strengths is blended with its source instead.
        addition: takes the kind where nobody treats it; None to leave it untreated there.
        value: its strength there.
    """

    def change(step: Treat) -> Treatment:
        card = cards.get(step.restorer)
        if card is not None and not card.understands_strength:
            blend = min(1.0, step.blend + dose)
            if blend < LEAST_SEVERITY:
                return step.source
            return step.model_copy(update={"blend": blend})
        word: Literal["more", "less"] = "more" if dose > 0 else "less"
        prompt = refined(step.prompt, {kind: word}, amount=abs(dose) / STEP)
        return _prompted(step, prompt)

    return _changed(treatment, kind, change, addition, value)


def set_to(treatment: Treatment, kind: Kind, value: float, addition: Addition | None) -> Treatment:
    """Every strength of `kind` at `value`; added where nobody treats it."""

    def change(step: Treat) -> Treatment:
        return _prompted(step, _with(step.prompt, kind, value))

    return _changed(treatment, kind, change, addition, value)


def showing(treatment: Treatment, scene: str, cards: Mapping[str, RestorerCard]) -> Treatment:
    """The treatment with the restorers that read it told what the photo shows."""
    match treatment:
        case Treat(source=source, restorer=name, prompt=prompt):
            card, update = cards.get(name), {"source": showing(source, scene, cards)}
            if card is not None and card.reads_scene:
                prompt = prompt.model_copy(update={"semantic": scene})
            return treatment.model_copy(update={**update, "prompt": prompt})
        case Mix(under=under, over=over, region=region):
            return _mix(showing(under, scene, cards), showing(over, scene, cards), region)
        case _:
            return treatment


def without(treatment: Treatment, kind: Kind | None = None) -> Treatment:
    """The treatment with a kind left alone; without any treatment for None."""
    match treatment:
        case Treat(source=source, prompt=prompt) if kind is not None:
            rest = {k: v for k, v in prompt.degradations.items() if k is not kind}
            below = treatment.model_copy(update={"source": without(source, kind)})
            return _prompted(below, prompt.model_copy(update={"degradations": rest}))
        case Mix(under=under, over=over, region=region) if kind is not None:
            return _mix(without(under, kind), without(over, kind), region)
        case _:
            return Untouched()


def inside(treatment: Treatment, region: Region | None) -> Treatment:
    """What counts in a region: its own treatment where it has one."""
    if region is not None and isinstance(treatment, Mix) and treatment.region == region:
        return treatment.over
    return treatment


def changed_in(treatment: Treatment, region: Region | None, change: Change) -> Treatment:
    """The treatment with a change in a region, everywhere for None."""
    if region is None:
        return change(treatment)
    if isinstance(treatment, Mix) and treatment.region == region:
        return _mix(treatment.under, change(treatment.over), region)
    return _mix(treatment, change(treatment), region)


def _changed(
    treatment: Treatment,
    kind: Kind,
    change: Callable[[Treat], Treatment],
    addition: Addition | None,
    value: float,
) -> Treatment:
    """The last step that treats `kind` changed, in each part of the photo; where none does, one is added."""
    if kind not in strengths(treatment):
        return treatment if addition is None else _added(treatment, kind, addition, value)
    match treatment:
        case Treat(prompt=prompt) if kind in prompt.degradations:
            return change(treatment)
        case Treat(source=source):
            below = _changed(source, kind, change, addition, value)
            return treatment.model_copy(update={"source": below})
        case Mix(under=under, over=over, region=region):
            return _mix(
                _changed(under, kind, change, addition, value),
                _changed(over, kind, change, addition, value),
                region,
            )
    return treatment


def _added(treatment: Treatment, kind: Kind, addition: Addition, value: float) -> Treatment:
    """A kind's treatment put where its turn is; a restorer that takes several kinds at once gets it in its prompt."""
    card = addition.card
    if isinstance(treatment, Treat):
        composite = card.prompt_style != "parameters" and card.understands_strength
        if composite and treatment.restorer == card.name:
            return _prompted(treatment, _with(treatment.prompt, kind, value))
        # A light that is raised raises the noise with it.
        if all(in_treatment_order((kind, k))[0] is kind for k in treatment.prompt.degradations):
            below = _added(treatment.source, kind, addition, value)
            return treatment.model_copy(update={"source": below})
    prompt = RestorationPrompt(degradations={kind: value}, semantic=addition.semantic)
    return Treat(
        source=treatment,
        restorer=card.name,
        configuration=addition.configuration,
        prompt=prompt,
        seed=addition.seed,
    )


def _with(prompt: RestorationPrompt, kind: Kind, value: float) -> RestorationPrompt:
    named = {**prompt.degradations, kind: value}
    ordered = {k: named[k] for k in Kind if k in named}
    return prompt.model_copy(update={"degradations": ordered})


def _prompted(step: Treat, prompt: RestorationPrompt) -> Treatment:
    """The step with another prompt; its source when that asks for nothing."""
    if not prompt.degradations:
        return step.source
    return step.model_copy(update={"prompt": prompt})


def _mix(under: Treatment, over: Treatment, region: Region) -> Treatment:
    return under if under == over else Mix(under=under, over=over, region=region)
