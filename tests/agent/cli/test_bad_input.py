"""Whatever a user gives by mistake: one line that names the value, the right exit code, nothing half-written."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def text_named_jpg(folder: Path) -> Path:
    path = folder / "text.jpg"
    path.write_text("this is no picture\n" * 20)
    return path


def truncated_jpeg(folder: Path) -> Path:
    path = folder / "truncated.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=90)
    path.write_bytes(path.read_bytes()[:4000])
    return path


def giant_header(folder: Path) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path = folder / "giant.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.png"
    path.touch()
    return path


def directory(folder: Path) -> Path:
    path = folder / "directory.png"
    path.mkdir()
    return path


def missing(folder: Path) -> Path:
    return folder / "missing.png"


BAD_PICTURES = [text_named_jpg, truncated_jpeg, giant_header, empty, directory, missing]
COMMANDS = {
    "restore": ["restore"],
    "inspect": ["inspect"],
    "score": ["score"],
    "degrade": ["degrade", "--recipe", "noise:sigma=25"],
    "apply": ["apply", "classical-nlm", "--prompt", "noise:sigma=25"],
}


def one_line_error(done, code: int, *named: str) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    for word in named:
        assert word in lines[0]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("make", BAD_PICTURES)
def test_bad_pictures(run, tmp_path, make: Callable[[Path], Path], command: str) -> None:
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    one_line_error(run(*COMMANDS[command], path), 2, path.name)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_picture_of_one_pixel_comes_back_as_it_is(run, tmp_path) -> None:
    path = tmp_path / "one.png"
    Image.new("RGB", (1, 1), (10, 200, 30)).save(path)
    done = run("restore", path, "--run-dir", tmp_path / "run")
    assert done.code == 0
    assert "unchanged" in done.err
    assert Path(done.out.strip()).read_bytes() == path.read_bytes()


def test_a_folder_that_takes_no_files(run, tmp_path, noisy_png, read_only) -> None:
    for words in (
        ["restore", noisy_png, "-o", read_only / "out.png"],
        ["degrade", noisy_png, "--recipe", "noise:sigma=25", "-o", read_only / "out.png"],
    ):
        one_line_error(run(*words), 1, str(read_only))
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["restore", "IN", "--policy", "nope"], ["policy 'nope'", "balanced"]),
        (["restore", "IN", "--policy", "nope.yaml"], ["nope.yaml"]),
        (["restore", "IN", "--target", "fog<=low"], ["target 'fog'", "noise"]),
        (["restore", "IN", "--target", "noise<=cosy"], ["cosy", "medium"]),
        (["restore", "IN", "--target", "noise"], ["noise"]),
        (["restore", "IN", "--max-seconds", "-1"], ["--max-seconds", "-1"]),
        (["restore", "IN", "--max-seconds", "0"], ["--max-seconds"]),
        (["restore", "IN", "--max-seconds", "nan"], ["--max-seconds", "nan"]),
        (["restore", "IN", "--max-seconds", "inf"], ["--max-seconds", "inf"]),
        (["restore", "IN", "--max-seconds", "soon"], ["--max-seconds", "soon"]),
        (["restore", "IN", "--max-tools", "-2"], ["--max-tools", "-2"]),
        (["restore", "IN", "--max-tools", "1.5"], ["--max-tools", "1.5"]),
        (["restore", "IN", "--seed", "-1"], ["--seed", "-1"]),
        (["restore", "IN", "--device", "toaster"], ["toaster"]),
        (["restore", "IN", "-o", "out.gif"], [".gif"]),
        (["restore", "IN", "--run-dir", "IN"], ["is a file"]),
        (["restore", "IN", "--resume"], ["--run-dir"]),
        (["restore", "IN", "--resume", "--seed", "2"], ["--seed"]),
        (["restore", "IN", "--fast"], ["--fast"]),
        (["restore"], ["IN"]),
        (["apply", "nope", "IN", "--prompt", "denoise"], ["restorer 'nope'", "classical-nlm"]),
        (["apply", "classical-nlm", "IN", "--prompt", "make it pop"], ["make it pop"]),
        (["apply", "classical-nlm", "IN", "--prompt", ""], ["prompt"]),
        (["apply", "classical-nlm", "IN", "--prompt", "remove the rain"], ["rain", "noise"]),
        (["apply", "classical-nlm", "IN"], ["--prompt"]),
        (["apply", "classical-nlm", "IN", "--prompt", "denoise", "--strength", "nan"], ["nan"]),
        (["apply", "classical-nlm", "IN", "--prompt", "denoise", "--strength", "x"], ["'x'"]),
        (["apply", "classical-nlm", "IN", "--prompt", "denoise", "--strength", "-3"], ["-3"]),
        (
            ["apply", "classical-nlm", "IN", "--prompt", "noise and jpeg", "--strength", "5"],
            ["noise, jpeg", "level"],
        ),
        (
            ["apply", "classical-nlm", "IN", "--prompt", "denoise", "--configuration", "vast"],
            ["vast", "compact"],
        ),
        (["score", "IN", "--metrics", "nope"], ["metric 'nope'", "psnr"]),
        (["score", "IN", "--metrics", "psnr"], ["psnr", "reference"]),
        (["degrade", "IN", "--recipe", "fog:beta=1"], ["fog"]),
        (["degrade", "IN", "--recipe", "noise:sigma=-4"], ["-4"]),
        (["degrade", "IN", "--recipe", "mio16:Z9"], ["Z9"]),
        (["degrade", "IN"], ["--recipe"]),
        (["degrade", "IN", "--draws", "missing.json"], ["missing.json"]),
        (["replay", "missing.json", "IN"], ["missing.json"]),
        (["replay", "IN", "IN"], ["is no recipe"]),
        (["train", "llmra", "--data", "missing", "--out", "o"], ["missing"]),
        (["train", "llmra", "--data", ".", "--out", "o", "--stage", "2"], ["--weights"]),
        (["train", "llmra", "--data", ".", "--out", "o", "--minutes", "nan"], ["--minutes"]),
        (["train", "llmra", "--data", ".", "--out", "o", "--config", "big"], ["big", "compact"]),
        (["train", "llmra", "--data", ".", "--out", "o"], ["no training images"]),
        (["train", "estimator", "--data", ".", "--out", "o", "--stage", "2"], ["--stage"]),
        (["train", "gain", "--data", ".", "--out", "o", "--config", "paper"], ["gain", "--config"]),
        (["train", "llmra", "--data", ".", "--out", "o", "--vlm", "embedded"], ["--vlm"]),
        (["train", "nope", "--data", ".", "--out", "o"], ["nope", "llmra"]),
        (["nope"], ["nope"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_requests(run, tmp_path, noisy_png, monkeypatch, words, named) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    done = run(*[noisy_png if word == "IN" else word for word in words])
    one_line_error(done, 2, *named)
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"noisy.png"}


def test_an_existing_output_is_kept(run, noisy_png) -> None:
    target = noisy_png.with_name("kept.png")
    target.write_bytes(b"precious")
    for words in (
        ["restore", noisy_png, "-o", target],
        ["apply", "classical-nlm", noisy_png, "--prompt", "denoise", "-o", target],
        ["degrade", noisy_png, "--recipe", "noise:sigma=25", "-o", target],
    ):
        one_line_error(run(*words), 1, "kept.png", "overwrite")
    assert target.read_bytes() == b"precious"


def test_the_input_is_not_an_output_by_accident(run, noisy_png) -> None:
    before = noisy_png.read_bytes()
    one_line_error(run("restore", noisy_png, "-o", noisy_png), 1, "overwrite")
    assert noisy_png.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"", b"not safetensors at all", b"\x80\x04\x95pickle", b"\xff" * 64],
    ids=["empty", "text", "pickle", "noise"],
)
def test_corrupted_weights(run, tmp_path, noisy_png, content: bytes) -> None:
    weights = tmp_path / "broken.safetensors"
    weights.write_bytes(content)
    output = tmp_path / "out.png"
    done = run(
        "apply", "llmra", noisy_png, "--prompt", "denoise", "--weights", weights, "-o", output
    )
    one_line_error(done, 1, "broken.safetensors")
    assert not output.exists()


def test_missing_weights(run, noisy_png) -> None:
    words = ["apply", "llmra", noisy_png, "--prompt", "denoise"]
    one_line_error(run(*words, "--weights", "gone.safetensors"), 1, "gone.safetensors")


def test_a_setting_that_does_not_read(run, noisy_png, monkeypatch) -> None:
    monkeypatch.setenv("CONSERVATOR_MAX_PIXELS", "many")
    one_line_error(run("inspect", noisy_png), 2, "CONSERVATOR_MAX_PIXELS", "many")


def test_debug_shows_where(capfd, tmp_path) -> None:
    from conservator.agent.cli.main import main

    assert main(["inspect", str(tmp_path / "missing.png"), "--debug"]) == 2
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: ")
