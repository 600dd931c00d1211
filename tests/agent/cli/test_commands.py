"""The other commands, through the real command line."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conservator.policies.preset import Preset, preset_names
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind

SOURCE = str(Path(__file__).parents[3] / "src")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def clean_png(tmp_path, clean) -> Path:
    path = tmp_path / "clean.png"
    Image.fromarray(clean).save(path)
    return path


def test_restorers_json_is_exactly_what_was_promised(run) -> None:
    done = run("restorers", "--json")
    assert done.code == 0
    entries = json.loads(done.out)
    assert [entry["name"] for entry in entries] == list(catalog.cards())
    keys = {"name", "treats", "prompt_style", "licence", "commercial_use", "configurations"}
    for entry in entries:
        assert set(entry) == keys
        assert set(entry["treats"]) <= {kind.value for kind in Kind}
        assert isinstance(entry["commercial_use"], bool)
        ways = {
            "classical-gamma": {"gamma", "shift", "exposure"},
            "lm4lv": {"residual", "mae-r"},
            "spire": {"full"},
        }
        known = {"paper", "compact"} | ways.get(entry["name"], set())
        assert set(entry["configurations"]) <= known
        for configuration in entry["configurations"].values():
            assert set(configuration) == {"parameters_m", "weights", "sha256"}


def test_restorers_as_a_table(run) -> None:
    lines = run("restorers").out.splitlines()
    assert len(lines) == 1 + len(catalog.cards())
    markdown = run("restorers", "--markdown").out.splitlines()
    assert len(markdown) == 2 + len(catalog.cards())
    assert all(line.startswith("| ") and line.endswith(" |") for line in markdown[2:])


def test_policies(run) -> None:
    assert [line.split()[0] for line in run("policies").out.splitlines()] == list(preset_names())
    presets = json.loads(run("policies", "--json").out)
    assert [Preset.model_validate(data).name for data in presets] == list(preset_names())


def test_inspect_measures_the_noise(run, noisy_png) -> None:
    before = sorted(noisy_png.parent.iterdir())
    report = json.loads(run("inspect", noisy_png, "--json").out)
    noise = next(f for f in report["findings"] if f["kind"] == "noise")
    assert noise["level"] in ("medium", "high", "very high")
    assert noise["parameter"] == "sigma"
    assert 15 < noise["value"] < 40
    talk = run("inspect", noisy_png)
    assert talk.code == 0
    assert "noise" in talk.out.splitlines()[0]
    assert not talk.err
    assert sorted(noisy_png.parent.iterdir()) == before


def test_apply_follows_prompt_and_strength(run, noisy_png, clean, tmp_path) -> None:
    def error(*words: str) -> float:
        target = tmp_path / f"{len(list(tmp_path.iterdir()))}.png"
        done = run("apply", "classical-nlm", noisy_png, *words, "-o", target)
        assert done.code == 0, done.err
        assert done.out == f"{target}\n"
        return float(np.abs(pixels(target).astype(float) - clean).mean())

    untouched = float(np.abs(pixels(noisy_png).astype(float) - clean).mean())
    plain = error("--prompt", "remove the noise", "--strength", "25")
    assert plain < 0.7 * untouched
    assert error("--prompt", "noise:sigma=25") == plain
    assert error("--prompt", "remove the noise", "--strength", "low") > plain
    assert error("--prompt", "remove all degradation", "--strength", "25") == plain


def test_apply_says_what_it_did_not_understand(run, noisy_png) -> None:
    done = run("apply", "classical-nlm", noisy_png, "--prompt", "remove the noise. Make it sing.")
    assert done.code == 0
    assert "not understood" in done.err
    assert "sing" in done.err
    assert noisy_png.with_name("noisy.restored.png").exists()


def test_degrade_repeats_itself(run, clean_png, tmp_path) -> None:
    recipe = ["--recipe", "noise:sigma=25+jpeg:quality=20", "--seed", "7"]
    draws = tmp_path / "draws.json"
    first, again, replayed, other = (tmp_path / f"{name}.png" for name in "abcd")
    done = run("degrade", clean_png, *recipe, "-o", first, "--draws", draws)
    assert done.code == 0
    assert done.out == f"{first}\n"
    assert "sigma=25" in done.err
    assert json.loads(draws.read_text())["seed"] == 7
    assert run("degrade", clean_png, *recipe, "-o", again).code == 0
    assert run("degrade", clean_png, "--draws", draws, "-o", replayed).code == 0
    assert run("degrade", clean_png, *recipe[:2], "--seed", "8", "-o", other).code == 0
    assert np.array_equal(pixels(first), pixels(again))
    assert np.array_equal(pixels(first), pixels(replayed))
    assert not np.array_equal(pixels(first), pixels(other))
    assert not np.array_equal(pixels(first), pixels(clean_png))


def test_draws_are_not_replaced_by_accident(run, clean_png, tmp_path) -> None:
    draws = tmp_path / "draws.json"
    draws.write_text("{}")
    words = ["degrade", clean_png, "--recipe", "noise:sigma=25", "--draws", draws]
    done = run(*words)
    assert done.code == 1
    assert "draws.json" in done.err
    assert not clean_png.with_name("clean.degraded.png").exists()
    stored = run("degrade", clean_png, "--draws", draws)
    assert stored.code == 2
    assert "holds no draws" in stored.err


def test_degrade_knows_named_recipes(run, clean_png) -> None:
    done = run("degrade", clean_png, "--recipe", "mio16:A1", "--seed", "3")
    assert done.code == 0
    assert Path(done.out.strip()) == clean_png.with_name("clean.degraded.png")
    assert "rain" in done.err
    assert "haze" in done.err


def test_a_jpeg_says_the_truth_about_its_quality(run, clean_png, tmp_path) -> None:
    target = tmp_path / "out.jpg"
    assert run("degrade", clean_png, "--recipe", "jpeg:quality=20", "-o", target).code == 0
    report = json.loads(run("inspect", target, "--json").out)
    jpeg = next(f for f in report["findings"] if f["kind"] == "jpeg")
    assert jpeg["source"] == "metadata"
    assert abs(jpeg["value"] - 20) <= 1


def test_score_against_a_reference(run, noisy_png, clean_png) -> None:
    words = ["score", noisy_png, "--reference", clean_png, "--metrics", "psnr, gmsd"]
    scores = json.loads(run(*words, "--json").out)["scores"]
    assert set(scores) == {"psnr", "gmsd"}
    assert 18 < scores["psnr"] < 24
    lines = run(*words).out.splitlines()
    assert [line.split()[0] for line in lines] == ["psnr", "gmsd"]


def test_a_named_metric_that_cannot_run_is_a_failure(
    run, noisy_png, clean_png, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    words = ["score", noisy_png, "--reference", clean_png, "--metrics", "psnr,lpips"]
    done = run(*words)
    assert done.code == 3
    assert done.out.startswith("psnr")
    assert done.err.startswith("error: lpips")


def test_replay_on_several_pictures(run, noisy_png, clean_png, quick_yaml, tmp_path) -> None:
    folder, out = tmp_path / "run", tmp_path / "out"
    assert run("restore", noisy_png, "--policy", quick_yaml, "--run-dir", folder).code == 0
    restored = noisy_png.with_name("noisy.restored.png")
    done = run("replay", folder, noisy_png, clean_png, "-o", out)
    assert done.code == 0
    assert done.out.splitlines() == [str(out / "noisy.png"), str(out / "clean.png")]
    assert np.array_equal(pixels(out / "noisy.png"), pixels(restored))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    partly = run("replay", folder / "recipe.json", broken, noisy_png)
    assert partly.code == 1
    assert "broken.png" in partly.err
    assert partly.out == f"{noisy_png.with_name('noisy.restored-2.png')}\n"


def test_doctor_finds_damaged_weights(run, tmp_path, monkeypatch) -> None:
    done = run("doctor", "--json")
    found = json.loads(done.out)
    assert found["packages"]["torch"]
    assert found["device"]["cpu_cores"] >= 1
    assert found["memory_gib"]["total"] > 0
    assert {"ok", "not shipped"} >= {w["state"] for w in found["weights"]}, found["problems"]
    assert {m["name"] for m in found["metrics"] if m["ready"]} >= {"psnr", "niqe"}
    assert any("non-commercial" in note for note in found["licences"])
    assert done.code == 0
    assert "all is well" in run("doctor").out
    monkeypatch.setattr("conservator.restorers.weights.PACKAGED", tmp_path)
    lost = run("doctor")
    assert lost.code == 1
    assert "problem: weights of llmra" in lost.out


def process(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "conservator.agent.cli.main", *words],
        env={**os.environ, "PYTHONPATH": SOURCE},
        check=False,
        timeout=120,
        **options,
    )


def test_a_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = process("restorers", "--json", stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert done.stderr == b""


def test_a_terminal_sees_a_bar(noisy_png) -> None:
    leader, terminal = pty.openpty()
    words = ["apply", "classical-bilateral", str(noisy_png), "--prompt", "noise:sigma=25"]
    with subprocess.Popen(
        [sys.executable, "-m", "conservator.agent.cli.main", *words],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        stderr=terminal,
    ) as running:
        os.close(terminal)
        seen = b""
        # The end of a terminal is an error, not an empty read.
        with contextlib.suppress(OSError):
            while piece := os.read(leader, 65536):
                seen += piece
        out, _ = running.communicate()
    os.close(leader)
    assert running.returncode == 0
    assert b"classical-bilateral on noisy.png" in seen
    assert b"100%" in seen
    assert out == os.fsencode(noisy_png.with_name("noisy.restored.png")) + b"\n"


def test_a_process_returns_the_exit_code(tmp_path) -> None:
    done = process("inspect", str(tmp_path / "missing.png"), capture_output=True)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.startswith(b"error: ")
    assert len(done.stderr.splitlines()) == 1
