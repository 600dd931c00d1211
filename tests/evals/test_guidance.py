"""MoFE-IR under test: prompts, weights on trial, another picture's guidance, and the ablation."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from conservator.evals import ablation
from conservator.evals.guidance import absent_kind, other_picture
from conservator.evals.sample import Image, Sample, SampleSpec
from conservator.evals.systems import build
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError, UsageError
from conservator.restorers.guides.qwen import QwenGuide
from conservator.restorers.mofe_ir.network import MoFEIR
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.image_io import from_array, save
from tiny_mofe import TINY, write_guide, write_weights


@pytest.fixture(scope="module")
def guide_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_guide(tmp_path_factory.mktemp("guide") / "untrained")


@pytest.fixture
def weights(tmp_path: Path, guide_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_weights(tmp_path / "tiny.safetensors", guide_folder, monkeypatch)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    for name in ("astronaut", "coffee"):
        save(from_array(getattr(data, name)()[100:260, 100:292]), folder / f"{name}.png")
    return folder


def sample_of(photos: Path, name: str = "astronaut") -> Sample:
    clean = getattr(data, name)()[100:260, 100:292].astype(np.float32) / 255
    noise = np.random.default_rng(3).normal(0, 25 / 255, clean.shape)
    degraded = np.round(np.clip(clean + noise, 0, 1) * 255).astype(np.float32) / 255
    picture = photos / f"{name}.png"
    return Sample(
        spec=SampleSpec(
            sample_id="n/1", row="n", picture=str(picture), recipe="noise:sigma=25", seed=4
        ),
        degraded=degraded,
        clean=clean,
        truth=RestorationPrompt(degradations={Kind.NOISE: 25}),
        path=picture,
    )


def answered(system: str, sample: Sample) -> Image:
    image = build(system).answer(sample, seed=0, seconds=60).image
    assert image is not None
    assert image.shape == sample.degraded.shape
    return image


def test_each_way_to_guide_it_gives_its_own_answer(weights: Path, photos: Path) -> None:
    sample = sample_of(photos)
    trial = f"weights={weights}"
    systems = [
        f"mofe-ir:{trial}",
        f"mofe-ir:text=blind,{trial}",
        f"mofe-ir:text=blind,guide=other,{trial}",
        f"mofe-ir:guide=other,{trial}",
    ]
    answers = [answered(system, sample) for system in systems]
    for i, one in enumerate(answers):
        for other in answers[:i]:
            assert float(np.abs(one - other).max()) > 1e-4
    np.testing.assert_array_equal(answered(systems[2], sample), answers[2])


def test_the_other_picture_is_another_one_with_another_damage(photos: Path) -> None:
    sample = sample_of(photos)
    assert absent_kind(sample.truth) is Kind.SNOW
    assert absent_kind(RestorationPrompt(degradations={Kind.SNOW: 0.1})) is Kind.RAIN
    shown = other_picture(sample)
    coffee = data.coffee()[100:260, 100:292] / 255
    assert 0.001 < float(np.abs(shown - coffee).mean()) < 0.2
    np.testing.assert_array_equal(shown, other_picture(sample))
    # The last picture's other one is the first.
    last = other_picture(sample_of(photos, "coffee"))
    assert float(np.abs(last - sample.clean).mean()) < 0.2


def test_what_cannot_be_misguided_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="guide=other of mofe-ir"):
        build("llmra:guide=other")
    with pytest.raises(UsageError, match="not 'wrong'"):
        build("mofe-ir:guide=wrong")
    save(from_array(data.coffee()[:64, :64]), tmp_path / "coffee.png")
    alone = sample_of(tmp_path, "coffee")
    with pytest.raises(PromptError, match="no second picture"):
        other_picture(alone)


# ── the ablation ────────────────────────────────────────────────────────────


def test_cases_are_cdd11_on_every_picture(guide_folder: Path, photos: Path) -> None:
    made = ablation.cases(photos, QwenGuide(guide_folder), limit=1, side=64)
    assert [case.row for case in made] == list(ablation.cdd11.VARIANTS)
    for case in made:
        assert case.degraded.shape == case.clean.shape == (1, 3, 64, 64)
        assert not torch.equal(case.degraded, case.clean)
        assert case.told.joint.shape[1] > case.asked.joint.shape[1]


def test_an_untrained_network_scores_as_its_input(guide_folder: Path, photos: Path) -> None:
    shown = ablation.cases(photos, QwenGuide(guide_folder), limit=1, side=64)
    network = MoFEIR(TINY).eval()
    with torch.no_grad():
        network.output.weight.zero_()
    found = ablation.measured(network, shown)
    untouched = np.mean(
        [
            ablation.fidelity(*(ablation._pixels(x) for x in (c.degraded, c.clean))).psnr
            for c in shown
        ]
    )
    assert found["asked"]["psnr"] == found["told"]["psnr"] == pytest.approx(untouched, abs=1e-3)


def test_the_ablation_trains_measures_and_writes(
    weights: Path,
    guide_folder: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crops = tmp_path / "train"
    crops.mkdir()
    save(from_array(data.chelsea()[:300, :320]), crops / "a.png")
    out = tmp_path / "ablation.json"
    words = ["--data", str(crops), "--images", str(photos), "--out", str(out), "--limit", "1"]
    words += ["--work", str(tmp_path / "runs"), "--guide", str(guide_folder), "--minutes", "0.003"]
    words += ["--seed", "3", "--batch", "2", "--variant", "backbone", "--variant", "without MGL"]
    assert ablation.main(words) == 0
    record = json.loads(out.read_text())
    assert [row["variant"] for row in record["rows"]] == ["backbone", "without MGL"]
    small, whole = (row["parameters_m"] for row in record["rows"])
    assert small < whole
    assert all(row["steps"] > 0 for row in record["rows"])
    assert {"psnr", "ssim"} == set(record["rows"][0]["told"])
    assert record["pictures"] == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("| variant |")
    assert printed[2].startswith("| backbone |")


def test_the_table_says_how_far_seeds_lie_apart() -> None:
    rows = [
        {
            "variant": "+ MoFE",
            "seed": seed,
            "parameters_m": 7.98,
            "steps": 100 + seed,
            "asked": {"psnr": 20.0 + seed, "ssim": 0.8},
            "told": {"psnr": 21.0, "ssim": 0.9},
        }
        for seed in (0, 2)
    ]
    line = ablation.table(rows).splitlines()[2]
    assert line == "| + MoFE | 7.98 | 101 | 21.00 ± 1.41 | 21.00 ± 0.00 | 0.9000 ± 0.0000 |"
