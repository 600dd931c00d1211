"""How wishes change a treatment, and that it replays."""

import pytest

from conservator.agent.dialogue.treatment import (
    Addition,
    Mix,
    Treat,
    Treatment,
    Untouched,
    changed_in,
    inside,
    moved,
    recipe_steps,
    set_to,
    strengths,
    without,
)
from conservator.agent.recipe import MixStep, Recipe, RecipeStep
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.regions import Region

CARDS = catalog.cards()
LEFT = Region(name="the left half", box=(0, 0, 0.5, 1))


def treat(restorer: str, source: Treatment | None = None, **asked: float) -> Treat:
    prompt = RestorationPrompt(degradations={Kind(name): value for name, value in asked.items()})
    return Treat(
        source=source or Untouched(), restorer=restorer, configuration="compact", prompt=prompt
    )


def added(restorer: str) -> Addition:
    return Addition(CARDS[restorer], "compact", 0)


CHAIN = treat("classical-gamma", treat("classical-dct", noise=8), low_light=0.6)


def test_more_and_less_of_what_is_treated() -> None:
    more = moved(CHAIN, Kind.NOISE, 0.2, CARDS)
    assert strengths(more)[Kind.NOISE] > 8
    assert strengths(more)[Kind.LOW_LIGHT] == 0.6
    back = moved(more, Kind.NOISE, -0.2, CARDS)
    assert strengths(back)[Kind.NOISE] == pytest.approx(8, abs=0.05)
    assert moved(CHAIN, Kind.NOISE, -0.6, CARDS) == treat("classical-gamma", low_light=0.6)


def test_beyond_the_ladder_and_back() -> None:
    bright = treat("classical-gamma", low_light=1.1)
    there = moved(bright, Kind.LOW_LIGHT, 0.2, CARDS)
    assert strengths(there)[Kind.LOW_LIGHT] == pytest.approx(1.42, abs=0.02)
    half = strengths(moved(there, Kind.LOW_LIGHT, -0.1, CARDS))[Kind.LOW_LIGHT]
    assert 1.1 < half < 1.42


def test_leaving_alone() -> None:
    assert without(CHAIN, Kind.NOISE) == treat("classical-gamma", low_light=0.6)
    assert without(without(CHAIN, Kind.NOISE), Kind.LOW_LIGHT) == Untouched()
    assert without(CHAIN) == Untouched()
    both = treat("llmra", noise=20, jpeg=30)
    assert without(both, Kind.JPEG) == treat("llmra", noise=20)


def test_an_addition_takes_its_turn() -> None:
    """Rain is taken off after the noise and before the light is raised."""
    rain = moved(CHAIN, Kind.RAIN, 0.5, CARDS, added("classical-rain"), 60)
    assert isinstance(rain, Treat) and isinstance(rain.source, Treat)
    assert [rain.restorer, rain.source.restorer] == ["classical-gamma", "classical-rain"]
    assert moved(CHAIN, Kind.RAIN, 0.5, CARDS) == CHAIN
    # LLMRA takes several kinds in one prompt.
    both = moved(treat("llmra", noise=20), Kind.RAIN, 0.5, CARDS, added("llmra"), 60)
    assert both == treat("llmra", noise=20, rain=60)


def test_a_restorer_that_ignores_strengths_is_blended() -> None:
    whole = treat("community", noise=20)
    half = moved(whole, Kind.NOISE, -0.4, CARDS)
    assert isinstance(half, Treat) and half.blend == pytest.approx(0.6)
    assert moved(half, Kind.NOISE, -0.6, CARDS) == Untouched()


def test_a_region_is_mixed_into_the_rest() -> None:
    less = changed_in(CHAIN, LEFT, lambda t: moved(t, Kind.LOW_LIGHT, -0.2, CARDS))
    assert isinstance(less, Mix) and less.under == CHAIN
    assert strengths(less.over)[Kind.LOW_LIGHT] < 0.6
    assert inside(less, LEFT) == less.over
    again = changed_in(less, LEFT, lambda t: moved(t, Kind.LOW_LIGHT, 0.1, CARDS))
    assert isinstance(again, Mix) and again.under == CHAIN and isinstance(again.over, Treat)
    # A change of the whole photo reaches both.
    all_more = moved(less, Kind.LOW_LIGHT, 0.2, CARDS)
    assert isinstance(all_more, Mix)
    assert strengths(all_more.under)[Kind.LOW_LIGHT] > 0.6
    assert strengths(all_more.over)[Kind.LOW_LIGHT] == pytest.approx(0.6, abs=0.01)
    back = changed_in(less, LEFT, lambda t: moved(t, Kind.LOW_LIGHT, 0.2, CARDS))
    assert back == changed_in(CHAIN, LEFT, lambda t: t) == CHAIN
    assert without(less, Kind.LOW_LIGHT) == treat("classical-dct", noise=8)


def test_what_only_one_part_has_comes_to_the_other() -> None:
    light = added("classical-gamma")
    left = changed_in(Untouched(), LEFT, lambda t: moved(t, Kind.LOW_LIGHT, 0.3, CARDS, light, 0.5))
    both = moved(left, Kind.LOW_LIGHT, 0.1, CARDS, light, 0.3)
    assert isinstance(both, Mix)
    assert strengths(both.under) == {Kind.LOW_LIGHT: 0.3}
    assert strengths(both.over)[Kind.LOW_LIGHT] > 0.5


def test_numbers() -> None:
    assert strengths(set_to(CHAIN, Kind.NOISE, 15, None))[Kind.NOISE] == 15
    assert set_to(CHAIN, Kind.HAZE, 1, None) == CHAIN
    assert strengths(set_to(CHAIN, Kind.HAZE, 1, added("classical-dehaze")))[Kind.HAZE] == 1


def test_steps_are_done_once_and_in_order() -> None:
    less = changed_in(CHAIN, LEFT, lambda t: moved(t, Kind.LOW_LIGHT, -0.2, CARDS))
    noise, light, dimmer, mix = recipe_steps(less)
    assert isinstance(noise, RecipeStep) and noise.source == 0
    assert isinstance(light, RecipeStep) and light.source == 1
    assert isinstance(dimmer, RecipeStep) and dimmer.source == 1
    assert mix == MixStep(under=2, over=3, region=LEFT)
    recipe = Recipe(conservator="0", steps=(noise, light, dimmer, mix))
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    with pytest.raises(ValueError, match="later step"):
        Recipe(conservator="0", steps=(mix,))
    assert recipe_steps(Untouched()) == ()


def test_it_reads_back() -> None:
    less = changed_in(CHAIN, LEFT, lambda t: moved(t, Kind.LOW_LIGHT, -0.2, CARDS))
    assert isinstance(less, Mix)
    assert Mix.model_validate_json(less.model_dump_json()) == less
