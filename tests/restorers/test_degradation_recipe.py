"""Recipes: what parses, what is drawn, and that stored draws replay bit for bit."""

import re

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from conservator.restorers.degradations.recipe import (
    Draws,
    Recipe,
    Step,
    apply,
    named_recipes,
)
from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind, Level, value_of
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.amounts import DOMAINS

SIDE = 96


@pytest.fixture(scope="module")
def photo():
    image = torch.from_numpy(skimage.data.astronaut()[:384, 64:448].copy()).permute(2, 0, 1)[None]
    return F.interpolate(image.float() / 255, size=(SIDE, SIDE), mode="bilinear", antialias=True)


def degraded(photo, text, seed=0):
    return apply(photo, Recipe.parse(text).draw(seed, *photo.shape[-2:]))


def error(a, b):
    return float(((a - b) ** 2).mean())


def detail(x):
    return float((x[..., 1:] - x[..., :-1]).abs().mean())


# ── text ────────────────────────────────────────────────────────────────────

steps = st.lists(
    st.sampled_from(list(Kind)).flatmap(
        lambda kind: st.tuples(st.just(kind), st.floats(*DOMAINS[kind]))
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=60)
@given(steps)
def test_lists_of_kinds_round_trip_in_their_order(kinds):
    recipe = Recipe(kinds=tuple(kinds))
    assert Recipe.parse(str(recipe)) == recipe
    assert Recipe.parse(str(recipe).upper().replace("+", " + ")) == recipe


@pytest.mark.parametrize("name", named_recipes())
def test_named_recipes_round_trip(name):
    assert str(Recipe.parse(name)) == name
    assert Recipe.parse(f" {name.upper()} ") == Recipe.parse(name)


def test_spellings():
    assert str(Recipe.parse("cdd11:s+H+l")) == "cdd11:L+H+S"
    assert str(Recipe.parse("Real_ESRGAN")) == "real-esrgan"
    assert str(Recipe.parse("lm4lv:<denoise>")) == "lm4lv:denoise"
    assert str(Recipe.parse("noise:high+JPEG:20")) == "noise:sigma=30+jpeg:quality=20"
    assert str(Recipe.parse("mio16:b")) == "mio16:B"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("mio16:D1", "D1"),
        ("mio16:A9", "A9"),
        ("cdd11:R+S", "R+S"),
        ("cdd11:X", "cdd11:L+H"),
        ("spire:often", "often"),
        ("real-esrgan:x8", "x8"),
        ("lm4lv:rotate", "rotate"),
        ("nois:sigma=25", "mio16"),
        ("noise:radius=25", "radius"),
        ("noise:sigma=-1", "-1"),
        ("jpeg:quality=101", "101"),
        ("low_resolution:factor=0.5", "0.5"),
        ("", "empty"),
        ("noise+", "empty"),
    ],
)
def test_errors_name_what_is_wrong(text, named):
    with pytest.raises(PromptError, match=re.escape(named)):
        Recipe.parse(text)


# ── draws ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [*named_recipes(), "rain+haze+noise:sigma=25+mask"])
def test_draws_depend_on_the_seed_and_nothing_else(name):
    recipe = Recipe.parse(name)
    torch.manual_seed(1)
    first = recipe.draw(7, SIDE, SIDE)
    torch.manual_seed(2)
    assert recipe.draw(7, SIDE, SIDE) == first
    assert any(recipe.draw(seed, SIDE, SIDE).steps != first.steps for seed in range(8, 14))


@pytest.mark.parametrize("name", [*named_recipes(), "rain+haze+noise:sigma=25+mask+snow"])
def test_draws_replay_from_json_bit_for_bit(photo, name):
    draws = Recipe.parse(name).draw(11, SIDE, SIDE)
    back = Draws.model_validate_json(draws.model_dump_json())
    assert back == draws
    state = torch.get_rng_state()
    picture = apply(photo, draws)
    torch.rand(3)
    assert torch.equal(apply(photo, back), picture)
    assert picture.shape[:2] == (1, 3) and picture.dtype is torch.float32
    levels = picture * 255
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    assert float(picture.min()) >= 0 and float(picture.max()) <= 1
    torch.set_rng_state(state)


@pytest.mark.parametrize("name", ["real-esrgan:same", "rain+haze+defocus_blur"])
def test_the_number_of_threads_changes_nothing(photo, name):
    large = F.interpolate(photo, size=(320, 320), mode="bilinear")
    draws = Recipe.parse(name).draw(5, 320, 320)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = apply(large, draws)
        torch.set_num_threads(3)
        assert torch.equal(apply(large, draws), alone)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_applying_leaves_the_input_and_the_global_generator_alone(photo):
    before, state = photo.clone(), torch.get_rng_state()
    degraded(photo, "noise:sigma=25+rain:value=70+mask:fraction=0.1")
    assert torch.equal(photo, before) and torch.equal(torch.get_rng_state(), state)


def test_every_noise_step_has_its_own_field(photo):
    draws = Recipe.parse("noise:sigma=20+noise:sigma=20").draw(0, SIDE, SIDE)
    assert draws.steps[0].seed != draws.steps[1].seed
    grey = torch.full_like(photo, 0.5)
    once = apply(grey, draws.model_copy(update={"steps": draws.steps[:1]})).std()
    assert float(apply(grey, draws).std() / once) == pytest.approx(2**0.5, rel=0.05)


def test_steps_strike_from_left_to_right(photo):
    late = degraded(photo, "defocus_blur:radius=4+noise:sigma=30")
    early = degraded(photo, "noise:sigma=30+defocus_blur:radius=4")
    assert detail(late) > 2 * detail(early)


def test_the_truth_is_what_was_done():
    draws = Recipe.parse("noise:sigma=25+jpeg:quality=20+noise:sigma=40").draw(0, SIDE, SIDE)
    assert draws.truth().degradations == {Kind.NOISE: 40.0, Kind.JPEG: 20.0}
    assert Recipe.parse("real-esrgan").draw(0, SIDE, SIDE).truth().blind


def test_wrong_size_and_broken_draws_are_refused(photo):
    with pytest.raises(PromptError, match="32x64"):
        apply(photo, Recipe.parse("noise").draw(0, 64, 32))
    base = Recipe.parse("noise").draw(0, SIDE, SIDE)
    with pytest.raises(PromptError, match="sparkle"):
        apply(photo, base.model_copy(update={"steps": (Step(operator="sparkle"),)}))
    with pytest.raises(PromptError, match="sigma_255"):
        apply(photo, base.model_copy(update={"steps": (Step(operator="gaussian_noise"),)}))
    with pytest.raises(ValidationError):
        Draws.model_validate({**base.model_dump(), "surprise": 1})


# ── what each kind does ─────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [k for k in Kind if k not in (Kind.LOW_RESOLUTION, Kind.RAIN)])
def test_a_higher_level_is_a_larger_error(photo, kind):
    name = PARAMETERS[kind].name
    errors = []
    for level in Level:
        text = f"{kind.value}:{name}={value_of(kind, level)}"
        errors.append(np.mean([error(degraded(photo, text, s), photo) for s in range(4)]))
    assert errors[0] < (2e-4 if kind is Kind.JPEG else 1e-5)
    assert errors == sorted(errors) and errors[1] > errors[0]


def test_denser_rain_covers_more():
    black = torch.zeros(1, 3, 160, 160)
    covered = [
        np.mean([float((degraded(black, f"rain:{v}", s) > 0.1).float().mean()) for s in range(6)])
        for v in (0, 5, 60, 85)
    ]
    assert covered[0] == 0 and covered[1] < covered[2] / 4 and covered[2] < covered[3]


def test_noise_has_the_asked_deviation():
    grey = torch.full((1, 3, 128, 128), 0.5)
    for sigma in (5, 15, 30):
        assert float(degraded(grey, f"noise:sigma={sigma}").std()) * 255 == pytest.approx(
            sigma, rel=0.03
        )


def test_blurs_take_detail_away(photo):
    for text in ("defocus_blur:radius=3", "motion_blur:sigma=5"):
        assert detail(degraded(photo, text)) < 0.8 * detail(photo)


def test_weather_adds_light(photo):
    for text in ("rain:value=75", "snow:coverage=0.1", "haze:beta=1.2"):
        assert float(degraded(photo, text).mean()) > float(photo.mean()) + 0.01
    assert float(degraded(photo, "haze:beta=1.8").std()) < 0.8 * float(photo.std())


def test_low_light_loses_the_asked_stops():
    grey = torch.full((1, 3, 32, 32), 0.45)
    grey[..., 0, 0], grey[..., 0, 1] = 0, 1
    for seed in range(6):
        dark = degraded(grey, "low_light:stops=0.8", seed)[0, 0, 16, 16]
        assert float(torch.log2(0.45 / dark)) == pytest.approx(0.8, abs=0.02)


def test_jpeg_is_the_real_codec(photo):
    rough, fine = degraded(photo, "jpeg:quality=10"), degraded(photo, "jpeg:quality=90")
    across = (rough[..., 1:] - rough[..., :-1]).abs().mean(dim=(0, 1, 2))
    borders = across[7::8].mean()
    inside = torch.cat([across[i::8] for i in range(7)]).mean()
    assert float(borders) > 1.2 * float(inside)
    assert error(fine, photo) < error(rough, photo) / 3


def test_low_resolution_leaves_a_smaller_picture(photo):
    small = degraded(photo, "low_resolution:factor=3")
    assert small.shape == (1, 3, SIDE // 3, SIDE // 3)
    assert float(small.mean()) == pytest.approx(float(photo.mean()), abs=0.01)


@pytest.mark.parametrize(("kind", "low", "high"), [("pepper_noise", 0.9, 1.1), ("mask", 0.9, 1.6)])
def test_lost_pixels_are_the_asked_share(kind, low, high):
    white = torch.ones(1, 3, 128, 128)
    for seed in range(4):
        lost = float((degraded(white, f"{kind}:fraction=0.1", seed) == 0).float().mean())
        assert 0.1 * low <= lost <= 0.1 * high


def test_tiny_pictures_survive_every_recipe():
    for side in (1, 2, 7):
        picture = torch.full((1, 3, side, side), 0.5)
        for name in (*named_recipes(), *(kind.value for kind in Kind)):
            out = degraded(picture, name)
            assert out.shape[-1] >= 1 and bool(torch.isfinite(out).all())
