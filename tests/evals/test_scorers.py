"""Scores of answers: values against independent implementations, and what is left out."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from skimage import data, metrics
from skimage.transform import resize

from conservator.evals.fidelity import fidelity, psnr
from conservator.evals.perception import sample_scores
from conservator.evals.sample import Answer, Image, Sample, SampleSpec
from conservator.evals.scorers import FAMILIES, score
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind
from conservator.restorers.errors import UnknownNameError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.iqa import score as iqa_score

Plane = npt.NDArray[np.float64]


def small(photo: Image, side: int = 192) -> Image:
    resized = np.asarray(resize(photo, (side, side), anti_aliasing=True))
    return (np.round(resized * 255) / 255).astype(np.float32)


CLEAN = small(data.astronaut())
PHOTOS = [CLEAN, small(data.coffee()), small(data.chelsea())]
NOISY = np.clip(
    CLEAN + np.random.default_rng(0).normal(0, 0.08, CLEAN.shape).astype(np.float32), 0, 1
).astype(np.float32)


def sample(
    degraded: Image, clean: Image | None = None, truth: dict[Kind, float] | None = None
) -> Sample:
    spec = SampleSpec(sample_id="r/x", row="r", picture="x.png")
    prompt = None if truth is None else RestorationPrompt(degradations=truth)
    return Sample(spec, degraded, clean, prompt, Path("x.png"))


def worse(photo: Image, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, 0.05, photo.shape)
    moved = np.roll(photo, 1, axis=1) * 0.5 + photo * 0.5
    return (np.round(np.clip(moved + noise, 0, 1) * 255) / 255).astype(np.float32)


def test_fidelity_by_hand() -> None:
    a = np.zeros((32, 32, 3), np.float32)
    b = np.full((32, 32, 3), 51 / 255, np.float32)
    assert psnr(b, a) == fidelity(b, a).psnr == pytest.approx(20 * np.log10(255 / 51), abs=1e-9)
    same = fidelity(b, b)
    assert (same.psnr, same.ssim) == (100.0, pytest.approx(1.0))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pyiqa_against_scikit_image(seed: int) -> None:
    clean = PHOTOS[seed]
    image = worse(clean, seed)
    found = iqa_score(image, clean, ["psnr", "psnry", "ssim", "ms_ssim", "gmsd"])
    assert not found.skipped
    assert found["psnr"] == pytest.approx(
        metrics.peak_signal_noise_ratio(clean, image, data_range=1), abs=1e-3
    )
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    a, b = (x.astype(np.float64) @ [0.299, 0.587, 0.114] * 255 for x in (image, clean))
    assert found["psnry"] == pytest.approx(
        metrics.peak_signal_noise_ratio(b, a, data_range=255), abs=1e-3
    )
    _, full = metrics.structural_similarity(a, b, data_range=255, full=True, **window)
    # pyiqa leaves the window's own border out.
    assert found["ssim"] == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-3)
    assert found["ms_ssim"] == pytest.approx(ms_ssim(a, b), abs=3e-4)
    assert found["gmsd"] == pytest.approx(gmsd(a, b), abs=2e-3)


def ms_ssim(a: Plane, b: Plane) -> float:
    """Wang et al. 2003 from scikit-image's contrast-structure terms."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    total = 1.0
    for i, weight in enumerate(weights):
        blur = [gaussian_filter(x, 1.5, truncate=3.5) for x in (a, b, a * a, b * b, a * b)]
        ma, mb, aa, bb, ab = blur
        structure = (2 * (ab - ma * mb) + 58.5225) / (aa - ma**2 + bb - mb**2 + 58.5225)
        light = (2 * ma * mb + 6.5025) / (ma**2 + mb**2 + 6.5025)
        inside = (slice(5, -5), slice(5, -5))
        last = i == len(weights) - 1
        total *= float(((structure * light) if last else structure)[inside].mean()) ** weight
        a, b = (uniform_filter(x, 2)[1::2, 1::2] for x in (a, b))
    return total


def gmsd(a: Plane, b: Plane) -> float:
    """Xue et al. 2014."""
    from scipy.ndimage import convolve, uniform_filter

    a, b = (uniform_filter(x, 2)[1::2, 1::2] for x in (a, b))
    kernel = np.array([[1, 0, -1]] * 3) / 3
    size = [np.hypot(convolve(x, kernel), convolve(x, kernel.T)) for x in (a, b)]
    similar = (2 * size[0] * size[1] + 170) / (size[0] ** 2 + size[1] ** 2 + 170)
    return float(similar[1:-1, 1:-1].std())


def test_full_reference_by_hand() -> None:
    scores, findings = score(["full-reference"], Answer(NOISY), sample(NOISY, CLEAN))
    error = np.mean((np.round(NOISY * 255) - np.round(CLEAN * 255)) ** 2)
    assert scores["psnr"] == pytest.approx(10 * math.log10(255**2 / error), abs=1e-3)
    assert {"ssim", "ms_ssim", "gmsd", "fsim", "vsi"} <= set(scores)
    assert findings == {}
    same, _ = score(["full-reference"], Answer(CLEAN), sample(NOISY, CLEAN))
    assert same["psnr"] == 100
    assert same["ssim"] == pytest.approx(1) == same["fsim"]
    assert same["gmsd"] == pytest.approx(0, abs=1e-6)
    assert scores["ssim"] < 0.9 < same["ssim"]


def test_a_small_answer_is_enlarged_to_the_clean_picture() -> None:
    quarter = small(CLEAN, 48)
    scores, _ = score(["full-reference"], Answer(quarter), sample(quarter, CLEAN))
    import torch

    x = torch.from_numpy(quarter).permute(2, 0, 1)[None]
    grown = torch.nn.functional.interpolate(x, size=(192, 192), mode="bicubic").clamp(0, 1)
    y = np.round(grown[0].permute(1, 2, 0).numpy() * 255) / 255
    assert scores["psnr"] == pytest.approx(
        metrics.peak_signal_noise_ratio(CLEAN, y.astype(np.float32), data_range=1), abs=1e-3
    )


def test_pictures_too_small_for_a_metric_go_without_it() -> None:
    for side, there, gone in (
        (160, {"psnr", "ssim", "gmsd", "fsim", "vsi"}, {"ms_ssim"}),
        (12, {"psnr", "ssim"}, {"ms_ssim", "gmsd", "fsim", "vsi"}),
        (8, {"psnr"}, {"ssim"}),
    ):
        clean = small(CLEAN, side)
        scores, _ = score(["full-reference", "no-reference"], Answer(clean), sample(clean, clean))
        assert there <= set(scores), side
        assert not gone & set(scores), side


def test_what_cannot_be_told_is_left_out() -> None:
    families = ["full-reference", "self", "no-reference", "perception", "control"]
    only_report = Answer(None, report=ConditionReport())
    assert score(families, only_report, sample(CLEAN)) == ({}, {})
    flat = np.full((200, 200, 3), 0.5, np.float32)
    scores, _ = score(["full-reference", "no-reference"], Answer(flat), sample(flat, flat))
    assert scores["psnr"] == 100
    assert all(math.isfinite(value) for value in scores.values())
    with pytest.raises(UnknownNameError, match="taste"):
        score(["taste"], only_report, sample(CLEAN))


def test_metrics_can_be_named() -> None:
    scores, _ = score(
        ["full-reference", "no-reference"],
        Answer(NOISY),
        sample(NOISY, CLEAN),
        metrics=["psnr", "piqe"],
    )
    assert set(scores) == {"psnr", "piqe"}


def test_no_reference_tells_a_noisy_picture() -> None:
    clean, noisy = (score(["no-reference"], Answer(x), sample(x))[0] for x in (CLEAN, NOISY))
    assert {"piqe", "niqe", "quality"} <= set(clean)
    assert clean["niqe"] < noisy["niqe"]
    assert clean["quality"] > noisy["quality"]


def test_self_is_what_was_left_alone() -> None:
    def of(image: Image) -> dict[str, float]:
        return score(["self"], Answer(image), sample(CLEAN))[0]

    assert of(CLEAN) == {"psnr_to_input": 100.0, "unchanged": 1.0}
    # One of 255 everywhere is 48.13 dB; two are 42.11 dB.
    one = np.where(CLEAN < 0.5, CLEAN + 1 / 255, CLEAN - 1 / 255).astype(np.float32)
    two = np.where(CLEAN < 0.5, CLEAN + 2 / 255, CLEAN - 2 / 255).astype(np.float32)
    assert of(one) == {"psnr_to_input": pytest.approx(48.13, abs=0.01), "unchanged": 1.0}
    assert of(two) == {"psnr_to_input": pytest.approx(42.11, abs=0.01), "unchanged": 0.0}
    assert of(small(CLEAN, 96))["unchanged"] == 0


def test_control_measures_change_and_what_is_left() -> None:
    truth = {Kind.NOISE: 0.08 * 255}
    untouched = score(["control"], Answer(NOISY), sample(NOISY, CLEAN, truth))[0]
    cleaned = score(["control"], Answer(CLEAN), sample(NOISY, CLEAN, truth))[0]
    assert untouched["change_255"] == 0
    assert cleaned["change_255"] == pytest.approx(np.abs(NOISY - CLEAN).mean() * 255, rel=1e-3)
    assert cleaned["left"] < 0.15 < untouched["left"]
    nothing = score(["control"], Answer(CLEAN), sample(CLEAN, CLEAN, {}))[0]
    assert nothing == {"change_255": 0.0}


def finding(kind: Kind, value: float, confidence: float = 0.9) -> Finding:
    return Finding(kind=kind, value=value, confidence=confidence, source="instrument")


def test_perception_sets_what_was_said_beside_what_is() -> None:
    report = ConditionReport(
        findings=(finding(Kind.NOISE, 14), finding(Kind.RAIN, 70), finding(Kind.HAZE, 0.0))
    )
    truth = {Kind.NOISE: 25.0, Kind.JPEG: 20.0}
    scores, findings = score(
        ["perception"], Answer(None, report=report), sample(NOISY, CLEAN, truth)
    )
    assert findings == {
        "noise": {"true": 25, "said": 14, "confidence": 0.9},
        "rain": {"true": None, "said": 70, "confidence": 0.9},
        "haze": {"true": None, "said": 0, "confidence": 0.9},
        "jpeg": {"true": 20, "said": None, "confidence": None},
    }
    # Noise seen (medium for high), rain imagined, jpeg missed.
    assert scores == {"presence_f1": pytest.approx(2 / 4), "level_accuracy": 0.0}
    assert sample_scores(findings, confidence=0.95)["presence_f1"] == 0
    assert sample_scores({"noise": {"true": None, "said": 0.5, "confidence": 1}}) == {
        "presence_f1": 1.0
    }


def test_a_small_file_does_not_show_what_it_was() -> None:
    report = ConditionReport(findings=(finding(Kind.LOW_RESOLUTION, 1),))
    truth = {Kind.LOW_RESOLUTION: 4.0}
    answer = Answer(None, report=report)
    _, grown = score(["perception"], answer, sample(CLEAN, CLEAN, truth))
    _, small_file = score(["perception"], answer, sample(small(CLEAN, 48), CLEAN, truth))
    assert set(grown) == {"low_resolution"}
    assert small_file == {}
    blind = sample(CLEAN, CLEAN, {})
    told = Sample(blind.spec, CLEAN, CLEAN, RestorationPrompt(blind=True), blind.path)
    assert score(["perception"], answer, told) == ({}, {})
    assert set(FAMILIES) >= {"full-reference", "no-reference", "self", "perception", "control"}
