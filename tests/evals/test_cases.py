"""Test cases, fidelity and the summaries of the eval scripts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conservator.evals.cases import CASES, Case, image_paths, samples
from conservator.evals.fidelity import fidelity
from conservator.evals.restorer_table import markdown, measure_case
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError


def test_fidelity_by_hand() -> None:
    a = np.zeros((32, 32, 3), np.float32)
    b = np.full((32, 32, 3), 51 / 255, np.float32)
    assert fidelity(b, a).psnr == pytest.approx(20 * np.log10(255 / 51), abs=1e-4)
    same = fidelity(b, b)
    assert (same.psnr, same.ssim) == (100.0, pytest.approx(1.0))


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    from skimage import data

    kodak, pairs = tmp_path / "clean" / "kodak24", tmp_path / "pairs" / "sirr20"
    for folder in (kodak, pairs / "degraded", pairs / "clean"):
        folder.mkdir(parents=True)
    photo = Image.fromarray(data.astronaut()[:96, :96])
    photo.save(kodak / "01.png")
    photo.save(pairs / "clean" / "norain1.png")
    photo.resize((100, 98)).save(pairs / "degraded" / "input1.png")
    (tmp_path / "manifest.csv").write_text(
        "kind,set,degraded,clean\nrain,SIRR20,pairs/sirr20/degraded/input1.png,pairs/sirr20/clean/norain1.png\n"
    )
    return tmp_path


def test_synthetic_samples_are_always_the_same(dev: Path) -> None:
    case = next(case for case in CASES if case.name == "noise sigma 25")
    first, second = (next(samples(case, dev)) for _ in range(2))
    assert np.array_equal(first.degraded, second.degraded)
    assert 19 < fidelity(first.degraded, first.clean).psnr < 22


def test_pairs_follow_the_manifest_and_are_cut_to_one_size(dev: Path) -> None:
    case = next(case for case in CASES if case.pairs == "sirr20")
    sample = next(samples(case, dev))
    assert sample.degraded.shape == sample.clean.shape == (96, 96, 3)


def test_missing_sets_are_named(dev: Path) -> None:
    with pytest.raises(UsageError, match="sots"):
        list(samples(Case("haze", {Kind.HAZE: 1.0}, pairs="sots-indoor"), dev))
    with pytest.raises(UsageError, match="no pictures"):
        image_paths(dev / "nowhere")


def test_table_measures_the_untouched_input_and_classical_tools(dev: Path) -> None:
    case = next(case for case in CASES if case.name == "jpeg quality 10")
    row = measure_case(case, samples(case, dev), ("untouched", "classical"))
    assert row["classical"]["psnr"] >= row["untouched"]["psnr"]
    assert "**" in markdown([row])
