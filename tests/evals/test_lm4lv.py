"""LM4LV under test: its rows in the suite, the seven tasks, the control experiments."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from conservator.evals import lm4lv
from conservator.evals.sample import Image, Sample, SampleSpec
from conservator.evals.systems import build
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UnknownNameError, WeightsError
from conservator.restorers.lm4lv.config import ALL_TASKS
from conservator.restorers.lm4lv.restorer import LM4LVRestorer
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.weights import save_weights
from conservator.tools.image_io import from_array, save
from tiny_lm4lv import write_llm, write_weights


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llm(tmp_path_factory.mktemp("llm") / "llama")


@pytest.fixture
def weights(tmp_path: Path, llm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_weights(tmp_path / "tiny.safetensors", llm, monkeypatch)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    for name in ("astronaut", "coffee"):
        save(from_array(getattr(data, name)()[100:190, 100:200]), folder / f"{name}.png")
    return folder


def sample() -> Sample:
    clean = data.coffee()[100:160, 100:170].astype(np.float32) / 255
    noise = np.random.default_rng(3).normal(0, 25 / 255, clean.shape)
    degraded = np.round(np.clip(clean + noise, 0, 1) * 255).astype(np.float32) / 255
    spec = SampleSpec(sample_id="n/1", row="n", picture="p.png", recipe="noise:sigma=25", seed=4)
    truth = RestorationPrompt(degradations={Kind.NOISE: 25, Kind.HAZE: 1})
    return Sample(spec=spec, degraded=degraded, clean=clean, truth=truth, path=Path("p.png"))


def answered(system: str) -> Image:
    image = build(system).answer(sample(), seed=0, seconds=60).image
    assert image is not None
    return image


def test_the_suite_s_systems_answer(weights: Path) -> None:
    shown = sample()
    whole = answered(f"lm4lv:weights={weights}")
    alone = answered(f"lm4lv:weights={weights},configuration=mae-r")
    assert whole.shape == alone.shape == shown.degraded.shape
    assert np.abs(whole - alone).max() > 0.01
    with pytest.raises(UnknownNameError, match="configuration of lm4lv 'huge'"):
        build("lm4lv:configuration=huge")


def test_cases_are_the_suite_s_degradations(photos: Path) -> None:
    made = lm4lv.cases(photos, ALL_TASKS, limit=2, side=32)
    assert len(made) == 2 * len(ALL_TASKS)
    for case in made:
        side = 32 if case.task in ("rotate", "flip") else 64
        assert case.degraded.shape == case.wanted.shape == (1, 3, side, side)
        assert not torch.equal(case.degraded, case.wanted)
    again = lm4lv.cases(photos, ALL_TASKS, limit=2, side=32)
    assert all(torch.equal(a.degraded, b.degraded) for a, b in zip(made, again, strict=True))


def test_scores_are_means_a_task(photos: Path, weights: Path) -> None:
    shown = lm4lv.cases(photos, ("denoise", "flip"), limit=2, side=32)
    found = lm4lv.measured(shown, None)
    by_hand = [
        -10 * np.log10(float((c.degraded - c.wanted).square().mean()))
        for c in shown
        if c.task == "denoise"
    ]
    assert found["denoise"]["psnr"] == pytest.approx(np.mean(by_hand), abs=0.05)
    assert list(found) == ["denoise", "flip"]
    restored = lm4lv.measured(shown, LM4LVRestorer("compact", weights))
    assert restored["denoise"] != found["denoise"]


def test_the_tasks_command_measures_and_writes(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tasks.json"
    words = ["tasks", "--weights", str(weights), "--images", str(photos), "--out", str(out)]
    assert lm4lv.main([*words, "--limit", "1"]) == 0
    record = json.loads(out.read_text())
    assert list(record["scores"]) == ["degraded", "MAE-r", "LM4LV"]
    assert all(list(scores) == list(ALL_TASKS) for scores in record["scores"].values())
    assert record["pictures"] == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| PSNR / SSIM | degraded | MAE-r | LM4LV | gain |"
    assert len(lines) == 2 + len(ALL_TASKS)
    first = record["scores"]
    gain = first["LM4LV"]["denoise"]["psnr"] - first["MAE-r"]["denoise"]["psnr"]
    assert f"{gain:+.2f} / " in lines[2]


def test_the_controls_command_trains_measures_and_writes(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = tmp_path / "train"
    crops.mkdir()
    save(from_array(data.chelsea()[:300, :320]), crops / "a.png")
    out = tmp_path / "controls.json"
    words = ["controls", "--weights", str(weights), "--images", str(photos), "--out", str(out)]
    words += ["--data", str(crops), "--work", str(tmp_path / "runs"), "--limit", "1"]
    words += ["--steps", "1", "--batch", "4", "--seed", "3"]
    words += ["--variant", "LM4LV", "--variant", "linear only"]
    assert lm4lv.main(words) == 0
    record = json.loads(out.read_text())
    assert [row["variant"] for row in record["rows"]] == [
        "degraded",
        "MAE-r",
        "LM4LV",
        "linear only",
    ]
    assert [row["steps"] for row in record["rows"]] == [0, 0, 1, 1]
    assert record["budget"] == {"steps": 1}
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "| PSNR / SSIM | steps | denoise |"
    assert printed[-1].startswith("| linear only | 1 | ")


def test_controls_need_an_autoencoder(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_weights({"head": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="holds no autoencoder"):
        lm4lv._eyes(path, tmp_path)


def test_the_table_says_how_far_seeds_lie_apart() -> None:
    rows = [
        {"variant": "MLP", "steps": 9, "scores": {"denoise": {"psnr": 20.0 + i, "ssim": 0.5}}}
        for i in (0, 2)
    ]
    assert lm4lv.controls_table(rows).splitlines()[2] == (
        "| MLP | 9 | 21.00 ± 1.41 / 0.5000 ± 0.0000 |"
    )
