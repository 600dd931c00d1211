"""Classical tools: each gains on its own degradation, follows its strength, and harms nothing it need not touch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from conservator.restorers import catalog
from conservator.restorers.base import Restored
from conservator.restorers.classical import cards
from conservator.restorers.classical.deblur import line_kernel, motion_kernel
from conservator.restorers.classical.filters import as_pixels, noise_sigma
from conservator.restorers.classical.inpaint import Inpaint, flat_mask
from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind, value_at
from conservator.restorers.errors import PromptError, UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.runner import Runner

Image = NDArray[np.float32]

CLASSICAL = [name for name in catalog.cards() if name.startswith("classical-")]
SAME_SIZE = [name for name in CLASSICAL if catalog.card(name).scale == 1]


@cache
def photo(name: str, side: int = 176) -> Image:
    """The middle of a photo that scikit-image ships, shrunk by two to be sharp, (side, side, 3)."""
    pixels = getattr(skimage.data, name)()[..., :3]
    height, width = pixels.shape[:2]
    crop = min(height, width, 2 * side)
    top, left = (height - crop) // 2, (width - crop) // 2
    square = pixels[top : top + crop, left : left + crop]
    small = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
    return as_pixels(small) / np.float32(255)


PHOTOS = ("astronaut", "coffee", "chelsea")


def eight_bits(x: Any) -> Image:
    return as_pixels(np.round(np.clip(x, 0, 1) * 255) / 255)


def tensor(x: Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))[None]


def pixels(restored: Restored) -> Image:
    return restored.image[0].permute(1, 2, 0).numpy()


def psnr(a: Image, b: Image) -> float:
    return float(-10 * np.log10(np.mean((a.astype(np.float64) - b) ** 2) + 1e-12))


def treated(name: str, image: Image, **strengths: float) -> Restored:
    prompt = RestorationPrompt(degradations={Kind(k): v for k, v in strengths.items()})
    return catalog.load(name).restore(tensor(image), prompt)


# ── the degradations, written down independently of the project's synthesis ──


def noisy(x: Image, sigma: float, seed: int = 0) -> Image:
    return eight_bits(x + np.random.default_rng(seed).normal(0, sigma / 255, x.shape))


def darkened(x: Image, stops: float, how: str = "gamma") -> Image:
    value = x.max(2, keepdims=True)
    if how == "gamma":
        return eight_bits(x * value ** (stops / np.log2(1 / 0.45)))
    if how == "shift":
        lower = np.maximum(value - 0.45 * (1 - 2**-stops), 0)
        return eight_bits(x * lower / np.maximum(value, 1e-4))
    return eight_bits(x * 2**-stops)


def hazy(x: Image, beta: float, airlight: float) -> Image:
    depth = np.linspace(1, 0.2, x.shape[0], dtype=np.float32)[:, None, None]
    t = np.exp(-beta * depth)
    return eight_bits(x * t + airlight * (1 - t))


def convolved(x: Image, kernel: Image) -> Image:
    return eight_bits(cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REPLICATE))


def defocused(x: Image, radius: int) -> Image:
    y, across = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (np.hypot(y, across) <= radius).astype(np.float32)
    return convolved(x, disk / disk.sum())


def moved(x: Image, sigma: float, angle_deg: float) -> Image:
    total, weights = np.zeros_like(x), 0.0
    for step in range(2 * round(5 * (sigma - 1)) + 1):
        weight = np.exp(-(step**2) / (2 * sigma**2))
        shift = step * np.cos(np.radians(angle_deg)), step * np.sin(np.radians(angle_deg))
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        total += weight * cv2.warpAffine(x, matrix, x.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        weights += weight
    return eight_bits(total / weights)


def dragged(x: Image, length: float, angle_deg: float) -> Image:
    """A steady motion of `length` px: the mean of the photo at places along a line."""
    total = np.zeros_like(x)
    places = np.linspace(-length / 2, length / 2, 8 * round(length) + 1)
    for place in places:
        shift = place * np.cos(np.radians(angle_deg)), place * np.sin(np.radians(angle_deg))
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        total += cv2.warpAffine(x, matrix, x.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    return eight_bits(total / len(places))


def peppered(x: Image, fraction: float) -> Image:
    lost = np.random.default_rng(1).random(x.shape[:2]) < fraction
    return eight_bits(np.where(lost[..., None], 0, x))


def coded(x: Image, quality: int) -> Image:
    bytes_ = (x[..., ::-1] * 255).round().astype(np.uint8)
    data = cv2.imencode(".jpg", bytes_, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert again is not None
    return as_pixels(again[..., ::-1] / 255)


def shrunk(x: Image, factor: int) -> Image:
    size = [side // factor for side in x.shape[:2]]
    small = F.interpolate(tensor(x), size, mode="bicubic", antialias=True)
    large = F.interpolate(small, x.shape[:2], mode="bicubic")
    return eight_bits(large[0].permute(1, 2, 0).numpy())


def covered(x: Image, style: str, tone: float = 0.0) -> Image:
    hidden = np.zeros(x.shape[:2], np.uint8)
    random = np.random.default_rng(2)
    for _ in range(8):
        y, across = (int(v) for v in random.integers(20, x.shape[0] - 20, 2))
        if style == "blocks":
            hidden[y - 9 : y + 9, across - 9 : across + 9] = 1
        else:
            angle = random.uniform(0, np.pi)
            dy, dx = round(90 * np.sin(angle)), round(90 * np.cos(angle))
            cv2.line(hidden, (across - dx, y - dy), (across + dx, y + dy), (1,), 2)
    return eight_bits(np.where(hidden[..., None] > 0, tone, x))


def rainy(x: Image, drops: float, angle_deg: float = 10) -> Image:
    seeds = (np.random.default_rng(3).random(x.shape[:2]) < drops).astype(np.float32)
    kernel = np.zeros((27, 27), np.float32)
    lean = 13 * np.tan(np.radians(angle_deg))
    cv2.line(kernel, (round(13 - lean), 0), (round(13 + lean), 26), (1,), 1)
    streaks = cv2.GaussianBlur(cv2.filter2D(seeds, -1, kernel), (3, 3), 0.7)
    return eight_bits(x + 0.7 * np.clip(streaks, 0, 1)[..., None])


def snowy(x: Image, flakes: float) -> Image:
    seeds = (np.random.default_rng(4).random(x.shape[:2]) < flakes).astype(np.float32)
    spots = cv2.GaussianBlur(seeds, (0, 0), 1.4)
    alpha = np.clip(spots * 2 * np.pi * 1.4**2, 0, 1)[..., None] * 0.9
    return eight_bits(x * (1 - alpha) + alpha)


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


# ── haze ────────────────────────────────────────────────────────────────────


def thick_haze(block: float) -> Image:
    """A sky over dark houses in thick haze; the sky in squares of 16 px that differ by `block` in colour and a third of it in brightness."""
    rng = np.random.default_rng(6)
    sky = np.full((192, 256, 3), 0.78, np.float32)
    sky -= np.linspace(0, 0.2, 192, dtype=np.float32)[:, None, None]
    squares = np.kron(rng.uniform(-1, 1, (12, 16, 3)), np.ones((16, 16, 1)))
    sky += block * as_pixels(squares - squares.mean(2, keepdims=True) * 2 / 3)
    for left in range(8, 240, 24):
        sky[150 - left // 4 :, left : left + 12] -= 0.12
    return eight_bits(sky)


def patchwork(x: Image) -> float:
    """Mean step of the sky at the borders of the squares over that within them."""
    sky = x[:80].mean(2) + (x[:80, :, 0] - x[:80, :, 2])
    steps = np.abs(np.diff(sky, axis=1)).mean(0)
    border = np.arange(1, 256) % 16 == 0
    return float(steps[border].mean() - steps[~border].mean())


def test_what_compression_left_in_a_hazy_sky_is_not_amplified() -> None:
    hazy_sky = thick_haze(0.008)
    clear = pixels(treated("classical-dehaze", hazy_sky, haze=1.8))
    assert patchwork(clear) < 1.5 * patchwork(hazy_sky)
    before, after = (x[160:, 22:30].mean() - x[160:, 8:20].mean() for x in (hazy_sky, clear))
    assert after > 1.7 * before


def test_a_photo_cleared_of_haze_does_not_become_night() -> None:
    grey_day = thick_haze(0.0)
    result = treated("classical-dehaze", grey_day, haze=1.8)
    assert result.details["exponent"] < 1
    assert pixels(result).mean() == pytest.approx(0.6 * grey_day.mean(), rel=0.03)


# ── the course of a motion ──────────────────────────────────────────────────


@pytest.mark.parametrize("title", ["astronaut", "coffee"])
@pytest.mark.parametrize(("length", "angle_deg", "told"), [(7, 20, 1.2), (10, -65, 0.85)])
def test_a_steady_motion_is_recognised_and_undone(
    title: str, length: float, angle_deg: float, told: float
) -> None:
    clean = photo(title, 200)
    blurred = dragged(clean, length, angle_deg)
    result = treated("classical-motion", blurred, motion_blur=told * length / 2.09)
    facts = result.details
    assert facts["course"] == "steady"
    assert facts["recognised"] is True
    assert facts["sigma_px"] * 2.09 == pytest.approx(length, abs=0.7)
    assert abs((facts["angle_deg"] - angle_deg + 90) % 180 - 90) <= 4
    assert psnr(eight_bits(pixels(result)), clean) > psnr(blurred, clean) + 2


@pytest.mark.parametrize("title", ["astronaut", "coffee"])
@pytest.mark.parametrize("angle_deg", [40, 220])
def test_a_motion_that_ebbs_away_is_recognised(title: str, angle_deg: float) -> None:
    blurred = moved(photo(title, 200), 3, angle_deg)
    facts = treated("classical-motion", blurred, motion_blur=3).details
    assert facts["course"] == "ebbing"
    assert facts["recognised"] is True
    assert "usual_db" not in facts


@pytest.mark.parametrize("sigma", [2, 4])
@pytest.mark.parametrize("title", ["astronaut", "coffee"])
def test_motion_in_whole_pixels_is_not_taken_for_steady(title: str, sigma: float) -> None:
    clean = tensor(photo(title, 200))
    for seed in range(6):
        made = apply(clean, Recipe.parse(f"motion_blur:sigma={sigma}").draw(seed, 200, 200))
        blurred = eight_bits(made[0].permute(1, 2, 0).numpy())
        facts = treated("classical-motion", blurred, motion_blur=sigma).details
        assert (facts["course"], facts["recognised"]) != ("steady", True)


@pytest.mark.parametrize("title", PHOTOS)
def test_where_nothing_moved_no_motion_is_recognised(title: str) -> None:
    facts = treated("classical-motion", photo(title), motion_blur=3).details
    assert facts["recognised"] is False


def test_a_line_has_the_variance_of_the_motion_that_ebbs_away() -> None:
    for kernel in (line_kernel(4, 30), motion_kernel(4, 30, 1)):
        assert kernel.sum() == pytest.approx(1)
        half = kernel.shape[0] // 2
        down, across = np.mgrid[-half : half + 1, -half : half + 1]
        along = across * np.cos(np.radians(30)) + down * np.sin(np.radians(30))
        spread = np.sqrt((kernel * along**2).sum() - (kernel * along).sum() ** 2)
        assert spread == pytest.approx(4 * np.sqrt(1 - 2 / np.pi), rel=0.06)


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
