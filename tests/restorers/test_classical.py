"""Classical tools: each gains on its own degradation, follows its strength, and harms nothing it need not touch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from classical_pictures import (
    PHOTOS,
    Image,
    coded,
    covered,
    darkened,
    defocused,
    eight_bits,
    hazy,
    moved,
    noisy,
    peppered,
    photo,
    pixels,
    psnr,
    rainy,
    shrunk,
    snowy,
    tensor,
    treated,
)
from conservator.restorers import catalog
from conservator.restorers.classical import cards
from conservator.restorers.classical.filters import noise_sigma
from conservator.restorers.classical.inpaint import Inpaint, flat_mask
from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind, value_at
from conservator.restorers.errors import PromptError, UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.runner import Runner

CLASSICAL = [name for name in catalog.cards() if name.startswith("classical-")]
SAME_SIZE = [name for name in CLASSICAL if catalog.card(name).scale == 1]


# name, kind, strength asked for, how it was degraded, least mean gain in dB over the untouched input
GAINS: list[tuple[str, str, float, Callable[[Image], Image], float]] = [
    ("classical-nlm", "noise", 25, lambda x: noisy(x, 25), 6.0),
    ("classical-wavelet", "noise", 25, lambda x: noisy(x, 25), 7.0),
    ("classical-dct", "noise", 25, lambda x: noisy(x, 25), 8.0),
    ("classical-bilateral", "noise", 25, lambda x: noisy(x, 25), 5.5),
    ("classical-gamma", "low_light", 0.45, lambda x: darkened(x, 0.45), 15),
    ("classical-gamma", "low_light", 0.8, lambda x: darkened(x, 0.8, "shift"), 8),
    ("classical-gamma", "low_light", 0.8, lambda x: darkened(x, 0.8, "range"), 8),
    ("classical-clahe", "low_light", 0.8, lambda x: darkened(x, 0.8), 8),
    ("classical-dehaze", "haze", 0.6, lambda x: hazy(x, 0.6, 0.7), 3),
    ("classical-dehaze", "haze", 1.2, lambda x: hazy(x, 1.2, 0.8), 4),
    ("classical-deblur", "defocus_blur", 3, lambda x: defocused(x, 3), 3),
    ("classical-motion", "motion_blur", 3, lambda x: moved(x, 3, 30), 3),
    ("classical-motion", "motion_blur", 5, lambda x: moved(x, 5, 120), 3),
    ("classical-median", "pepper_noise", 0.03, lambda x: peppered(x, 0.03), 15),
    ("classical-median", "pepper_noise", 0.15, lambda x: peppered(x, 0.15), 15),
    ("classical-deblock", "jpeg", 20, lambda x: coded(x, 20), 0.4),
    ("classical-deblock", "jpeg", 10, lambda x: coded(x, 10), 0.4),
    ("classical-resize", "low_resolution", 2, lambda x: shrunk(x, 2), 0.4),
    ("classical-resize", "low_resolution", 3, lambda x: shrunk(x, 3), 0.2),
    ("classical-inpaint", "mask", 0.05, lambda x: covered(x, "blocks"), 6),
    ("classical-inpaint", "mask", 0.05, lambda x: covered(x, "lines"), 10),
    ("classical-inpaint", "mask", 0.05, lambda x: covered(x, "lines", 0.6), 8),
    ("classical-rain", "rain", 60, lambda x: rainy(x, 0.003), 1.0),
    ("classical-rain", "rain", 85, lambda x: rainy(x, 0.006), 1.0),
    ("classical-snow", "snow", 0.05, lambda x: snowy(x, 0.004), 1.0),
    ("classical-snow", "snow", 0.1, lambda x: snowy(x, 0.01), 2.0),
]


@pytest.mark.parametrize(
    ("name", "kind", "strength", "degrade", "least"),
    GAINS,
    ids=[f"{g[0].removeprefix('classical-')}-{g[2]:g}-{i}" for i, g in enumerate(GAINS)],
)
def test_gain_over_the_untouched_input(
    name: str, kind: str, strength: float, degrade: Callable[[Image], Image], least: float
) -> None:
    gains = []
    for title in PHOTOS if name != "classical-motion" else PHOTOS[:1]:
        clean = photo(title)
        degraded = degrade(clean)
        result = treated(name, degraded, **{kind: strength})
        gains.append(psnr(eight_bits(pixels(result)), clean) - psnr(degraded, clean))
    assert np.mean(gains) > least, gains


# ── strength ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SAME_SIZE)
def test_identity_strength_changes_nothing(name: str) -> None:
    kind = catalog.card(name).treats[0]
    image = photo("chelsea", 48)
    result = treated(name, image, **{kind.value: PARAMETERS[kind].identity})
    assert np.array_equal(pixels(result), image)


DEGRADED: dict[str, Callable[[Image], Image]] = {
    "noise": lambda x: noisy(x, 25),
    "low_light": lambda x: darkened(x, 0.8),
    "haze": lambda x: hazy(x, 1.2, 0.8),
    "defocus_blur": lambda x: defocused(x, 3),
    "motion_blur": lambda x: moved(x, 3, 30),
    "pepper_noise": lambda x: peppered(x, 0.15),
    "jpeg": lambda x: coded(x, 20),
    "low_resolution": lambda x: shrunk(x, 3),
    "mask": lambda x: covered(x, "blocks"),
    "rain": lambda x: rainy(x, 0.006),
    "snow": lambda x: snowy(x, 0.01),
}


@pytest.mark.parametrize("name", SAME_SIZE)
def test_a_stronger_prompt_treats_more(name: str) -> None:
    kind = catalog.card(name).treats[0]
    degraded = DEGRADED[kind.value](photo("coffee", 96))
    changes = []
    for severity in (0.1, 0.35, 0.7):
        result = treated(name, degraded, **{kind.value: value_at(kind, severity)})
        changes.append(float(np.abs(pixels(result) - degraded).mean()))
    assert 0 < changes[0] <= changes[1] <= changes[2]
    assert changes[0] < changes[2]


@pytest.mark.parametrize("name", ["classical-bilateral", "classical-median", "classical-inpaint"])
def test_blind_measures_the_strength(name: str) -> None:
    kind = catalog.card(name).treats[0]
    clean = photo("coffee")
    degraded = DEGRADED[kind.value](clean)
    restored = catalog.load(name).restore(tensor(degraded), RestorationPrompt(blind=True))
    assert restored.details["strength_estimated"] is True
    assert restored.details["strength"] > 0
    assert "estimated" in restored.rendered_prompt
    assert psnr(pixels(restored), clean) > psnr(degraded, clean) + 4


def test_what_cannot_be_measured_must_be_told() -> None:
    with pytest.raises(PromptError, match="as in: defocus_blur with radius 3"):
        catalog.load("classical-deblur").restore(
            tensor(photo("coffee", 48)), RestorationPrompt(blind=True)
        )


def test_noise_is_measured() -> None:
    for sigma in (8, 15, 25):
        measured = [255 * noise_sigma(noisy(photo(title), sigma)) for title in PHOTOS]
        assert np.mean(measured) == pytest.approx(sigma, rel=0.15)
    assert 255 * noise_sigma(photo("coffee")) < 4


# ── doing no harm ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("tone", [0.0, 1.0, 0.6])
def test_inpainting_touches_the_mask_only(tone: float) -> None:
    clean = photo("coffee")
    degraded = covered(clean, "blocks", tone)
    hidden = (np.abs(degraded - clean) > 1e-6).any(2)
    assert np.array_equal(flat_mask(tensor(degraded), 0.1) & hidden, hidden)
    result = pixels(treated("classical-inpaint", degraded, mask=0.1))
    same = (result == degraded).all(2)
    assert same[~hidden].mean() > 0.999
    assert not same[hidden].all()


def test_a_photo_without_a_mask_stays() -> None:
    for title in PHOTOS:
        clean = photo(title)
        result = pixels(treated("classical-inpaint", clean, mask=0.05))
        assert (result == clean).all(2).mean() > 0.98


def test_an_explicit_mask_is_used() -> None:
    clean = photo("coffee")
    mask = np.zeros(clean.shape[:2], bool)
    mask[40:60, 50:70] = True
    damaged = clean.copy()
    damaged[mask] = np.random.default_rng(0).random((400, 3))
    prompt = RestorationPrompt(degradations={Kind.MASK: 0.01})
    result = pixels(Runner(Inpaint(mask=mask), tile=96).restore(tensor(damaged), prompt))
    # Tiles are put together with weights that sum to one: a rounding away from identical.
    assert np.abs(result - clean)[~mask].max() < 1e-6
    assert psnr(result, clean) > psnr(damaged, clean) + 5
    with pytest.raises(UsageError, match="does not fit"):
        Runner(Inpaint(mask=mask)).restore(tensor(photo("coffee", 64)), prompt)


def test_median_touches_impulses_only() -> None:
    clean = photo("chelsea")
    degraded = peppered(clean, 0.05)
    hit = (degraded != eight_bits(clean)).any(2)
    result = pixels(treated("classical-median", degraded, pepper_noise=0.05))
    assert np.array_equal((result != degraded).any(2), hit)


def test_sixteen_bits_survive() -> None:
    """A ramp finer than 8 bits keeps its steps."""
    ramp = np.linspace(0.2, 0.3, 512, dtype=np.float32)
    image = np.broadcast_to(ramp[None, :, None], (32, 512, 3)).copy()
    prompts: dict[str, dict[str, float]] = {
        "classical-gamma": {"low_light": 0.5},
        "classical-clahe": {"low_light": 0.5},
        "classical-dct": {"noise": 2},
        "classical-wavelet": {"noise": 2},
        "classical-nlm": {"noise": 2},
        "classical-dehaze": {"haze": 0.6},
    }
    for name, strengths in prompts.items():
        row = pixels(treated(name, image, **strengths))[16, :, 0]
        assert len(np.unique(row)) > 300, name
        assert (np.diff(row[16:-16]) > -1e-4).all(), name


@pytest.mark.parametrize("name", SAME_SIZE)
def test_tiles_agree_with_the_whole(name: str) -> None:
    """Guidance comes from the whole image, and the overlap is wide enough, so no seam shows."""
    kind = catalog.card(name).treats[0]
    degraded = DEGRADED[kind.value](photo("astronaut"))
    prompt = RestorationPrompt(degradations={kind: value_at(kind, 0.6)})
    tool = catalog.load(name)
    small = Runner(tool._restorer, tile=144)  # type: ignore[attr-defined]
    whole, tiled = tool.restore(tensor(degraded), prompt), small.restore(tensor(degraded), prompt)
    assert whole.details["tiles"] == 1
    assert tiled.details["tiles"] >= 4
    difference = (whole.image - tiled.image).abs()
    # The overlap is cut to half a tile here, which a deconvolution feels.
    assert float(difference.mean()) < 2.5e-3
    assert float(difference.quantile(0.999)) < 0.04


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("size", [(1, 1), (17, 5)])
def test_tiny_images(name: str, size: tuple[int, int]) -> None:
    kind, scale = catalog.card(name).treats[0], catalog.card(name).scale
    image = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
    result = treated(name, image, **{kind.value: value_at(kind, 0.75)})
    assert result.image.shape == (1, 3, size[0] * scale, size[1] * scale)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("name", SAME_SIZE)
def test_black_and_white_images_stay_flat(name: str, value: float) -> None:
    kind = catalog.card(name).treats[0]
    image = np.full((40, 50, 3), value, np.float32)
    result = pixels(treated(name, image, **{kind.value: value_at(kind, 0.75)}))
    assert float(np.ptp(result)) < 0.02


@pytest.mark.parametrize(
    ("name", "scale"), [("classical-upscale-x2", 2), ("classical-upscale-x4", 4)]
)
def test_enlarging_beats_bilinear(name: str, scale: int) -> None:
    gains = []
    for title in PHOTOS:
        clean = photo(title)
        small = F.interpolate(tensor(clean), scale_factor=1 / scale, mode="bicubic", antialias=True)
        small = small.clamp(0, 1)
        prompt = RestorationPrompt(degradations={Kind.LOW_RESOLUTION: scale})
        result = pixels(catalog.load(name).restore(small, prompt))
        plain = F.interpolate(small, scale_factor=scale, mode="bilinear")
        gains.append(psnr(result, clean) - psnr(plain[0].permute(1, 2, 0).numpy(), clean))
    assert np.mean(gains) > 0.5, gains


def test_cards_are_honest_about_cost() -> None:
    for name in CLASSICAL:
        card = catalog.card(name)
        assert card.seconds_per_mp > 0
        assert card.cpu_only
        assert card.licence == "Apache-2.0"
    assert set(cards.__all__) == {
        key for key in vars(cards) if key.isupper() and not key.startswith("_")
    }


def test_a_tone_curve_can_be_asked_for_by_name() -> None:
    """`compact` chooses one and says which; a named one stays the same at any strength."""
    dark = tensor(darkened(photo("astronaut"), 0.6))
    prompt = RestorationPrompt(degradations={Kind.LOW_LIGHT: 0.6})
    chosen = catalog.load("classical-gamma").restore(dark, prompt)
    curve = chosen.details["configuration"]
    named = catalog.load("classical-gamma", curve).restore(dark, prompt)
    assert torch.equal(named.image, chosen.image)
    for curve in ("gamma", "shift", "exposure"):
        tool = catalog.load("classical-gamma", curve)
        light = [
            float(
                tool.restore(dark, RestorationPrompt(degradations={Kind.LOW_LIGHT: s})).image.mean()
            )
            for s in (0.2, 0.5, 0.8, 1.1, 1.4, 1.7)
        ]
        assert light == sorted(light)
