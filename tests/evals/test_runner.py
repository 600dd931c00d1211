"""Runs: complete, identical on any number of workers, resumable after kill -9, and not stopped by anything that is wrong."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

from conservator.evals import Row, Task, resume_run, run_suite
from conservator.evals.log import RunFolder
from conservator.evals.run_pictures import RunPictures
from conservator.restorers.errors import UnknownNameError, UsageError

ROOT = Path(__file__).parents[2]
TASK = Task(
    id="mini",
    version=1,
    title="two rows",
    rows=(
        Row(name="noise", recipe="noise:sigma=25"),
        Row(name="jpeg", recipe="jpeg:quality=10"),
    ),
    systems=("untouched", "classical-dct:text=true", "classical-deblock"),
    scorers=("full-reference",),
)
METRICS = ("psnr", "ssim")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i, photo in enumerate((data.astronaut(), data.coffee(), data.chelsea())):
        Image.fromarray(photo[40:136, 60:188]).save(folder / f"{i}.png")
    return folder


def timeless(data: Any) -> Any:
    """Without what depends on the clock or the place."""
    if isinstance(data, dict):
        return {k: timeless(v) for k, v in data.items() if k not in {"cost", "seconds", "date"}}
    return [timeless(v) for v in data] if isinstance(data, list) else data


def keys(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "samples.jsonl").read_text().splitlines()
    return [(r["sample_id"], r["system"]) for r in map(json.loads, lines)]


def test_a_run_is_complete_and_says_how_it_was_made(images: Path, tmp_path: Path) -> None:
    told: list[int] = []
    run = run_suite(
        TASK,
        images,
        tmp_path / "run",
        metrics=METRICS,
        workers=1,
        on_progress=lambda done, total, record: told.append(done),
    )
    assert len(run.records) == 2 * 3 * 3
    assert not run.failed
    assert told == list(range(19))
    folder = RunFolder.open(tmp_path / "run")
    assert folder.config["status"] == "done"
    assert {"versions", "revision", "hardware", "weights", "data"} <= set(
        folder.config["provenance"]
    )
    assert folder.summary == json.loads(json.dumps(dict(run.summary)))
    by_key = {r.key: r for r in run.records}
    assert (
        by_key["noise/0", "classical-dct:text=true"].scores["psnr"]
        > by_key["noise/0", "untouched"].scores["psnr"] + 4
    )
    for record in run.records:
        assert record.draws is not None
        if record.system != "untouched":
            picture = np.asarray(Image.open(tmp_path / "run" / record.image))
            assert picture.shape == (96, 128, 3)


def test_one_and_two_workers_give_the_same_numbers(images: Path, tmp_path: Path) -> None:
    one, two = (
        run_suite(
            TASK, images, tmp_path / str(n), metrics=METRICS, workers=n, keep_images=False, limit=2
        )
        for n in (1, 2)
    )
    assert timeless(dict(one.summary)) == timeless(dict(two.summary))
    assert [r.scores for r in one.records] == [r.scores for r in two.records]
    assert not (tmp_path / "1" / "images").exists()


def test_killed_and_resumed_is_as_if_uninterrupted(images: Path, tmp_path: Path) -> None:
    task = tmp_path / "mini.yaml"
    task.write_text(json.dumps(TASK.model_dump(mode="json")))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = [
        *(sys.executable, "-m", "conservator.agent.cli.main", "eval", "run", str(task)),
        *("--images", str(images), "--metric", "psnr", "--workers", "1"),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [*command, "--out", str(broken)],
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: (broken / "samples.jsonl").exists() and len(keys(broken)) >= 5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = keys(broken)
    assert 5 <= len(before) < 18
    assert RunFolder.open(broken).config["status"] == "started"
    with pytest.raises(UsageError, match="resume"):
        RunFolder.open(broken).summary  # noqa: B018
    with (broken / "samples.jsonl").open("a") as file:
        file.write('{"sample_id": "jpeg/2", "system": "unto')
    resumed = resume_run(broken, workers=1)
    uninterrupted = run_suite(task, images, whole, metrics=["psnr"], workers=1)
    assert timeless(dict(resumed.summary)) == timeless(dict(uninterrupted.summary))
    lines = list((broken / "samples.jsonl").read_text().splitlines())
    whole_lines = [line for line in lines if line.endswith("}")]
    assert len(lines) == len(whole_lines) + 1  # the torn one stays, and is owed again
    done = [(r["sample_id"], r["system"]) for r in map(json.loads, whole_lines)]
    assert len(done) == len(set(done)) == 18
    assert done[: len(before)] == before


def test_only_what_changed_is_done_again(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_suite(
        TASK, images, out, metrics=["psnr"], workers=1, keep_images=False, systems=["untouched"]
    )
    first = keys(out)
    again = resume_run(out, workers=1)
    assert keys(out) == first
    Image.fromarray(data.coffee()[:96, :128]).save(images / "1.png")
    changed = resume_run(out, workers=1)
    assert keys(out)[len(first) :] == [("noise/1", "untouched"), ("jpeg/1", "untouched")]
    assert len(changed.records) == len(again.records) == 6
    assert changed.summary["systems"] != again.summary["systems"]


def test_crops_of_several_folders_in_one_run(images: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(data.coffee()[:96, :128]).save(other / "0.png")
    out, systems = tmp_path / "run", ["untouched", "classical-dct"]
    run = run_suite(
        TASK, [images, other], out, crop=64, metrics=["psnr"], workers=1, systems=systems
    )
    assert not run.failed
    assert {r.sample_id for r in run.records if r.row == "noise"} == {
        *("noise/images/0", "noise/images/1", "noise/images/2", "noise/other/0"),
    }
    kept = sorted((out / "images").rglob("degraded.png"))
    assert len(kept) == 8
    for path in kept:
        with Image.open(path) as picture:
            assert picture.size == (64, 64)
    before = keys(out)
    assert not resume_run(out, workers=1).failed
    assert keys(out) == before
    pictures = RunPictures(RunFolder.open(out), ["noise/other/0"])
    reference = pictures.reference_pixels("noise/other/0")
    assert reference is not None
    assert np.array_equal(np.round(reference * 255), data.coffee()[16:80, 32:96])


def test_out_of_time_and_out_of_luck_are_outcomes(images: Path, tmp_path: Path) -> None:
    slow = "command:sh -c 'sleep 60' {in} {out}"
    deadly = "command:sh -c 'kill -9 $PPID' {in} {out}"
    run = run_suite(
        TASK,
        images,
        tmp_path / "run",
        systems=["untouched", slow, deadly, "classical-dct"],
        metrics=["psnr"],
        sample_ids=["noise/0"],
        seconds=3,
        workers=1,
    )
    by_system = {r.system: r for r in run.records}
    assert by_system[slow].status == "limit"
    assert "3 s" in by_system[slow].reason
    assert by_system[slow].scores == by_system["untouched"].scores
    assert by_system[deadly].status == "failed"
    assert "SIGKILL" in by_system[deadly].reason
    assert by_system["classical-dct"].status == "done"


def test_bad_files_fail_alone_and_are_named(images: Path, tmp_path: Path) -> None:
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(200))
    (images / "text.jpg").write_text("not a picture")
    (images / "notes.txt").write_text("not a picture either")
    (images / "huge.png").write_bytes(_huge_header())
    deep = (data.coffee()[:64, :64].astype(np.uint16) * 257)[..., 0]
    Image.fromarray(deep).save(images / "deep.tiff")
    frames = [Image.fromarray(data.chelsea()[i : i + 64, :64]) for i in (0, 9)]
    frames[0].save(images / "moving.gif", save_all=True, append_images=frames[1:])
    run = run_suite(
        TASK, images, tmp_path / "run", systems=["untouched"], metrics=["psnr"], workers=1
    )
    reasons = {r.sample_id: r.reason for r in run.failed}
    assert set(reasons) == {
        f"{row}/{n}" for row in ("noise", "jpeg") for n in ("broken", "text", "huge")
    }
    assert all(reasons.values())
    assert "pixels" in reasons["noise/huge"]
    done = {r.sample_id for r in run.records if r.status == "done"}
    assert {"noise/deep", "noise/moving"} <= done
    skipped = RunFolder.open(tmp_path / "run").config["skipped"]
    assert any("notes.txt" in name for name, _ in skipped)


def _huge_header() -> bytes:
    """A PNG that claims 40000 x 40000 pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0)
    rest = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rest


def test_nothing_is_put_aside_for_longer_than_a_sample(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside, found = tmp_path / "aside", tmp_path / "found.txt"
    aside.mkdir()
    monkeypatch.setenv("TMPDIR", str(aside))
    monkeypatch.setattr("tempfile.tempdir", None)
    count = f"find {aside} -name '*.png' ! -name out.png | wc -l >> {found}; cp $0 $1"
    run = run_suite(
        *(TASK, images, tmp_path / "run"),
        systems=["untouched", f'command:sh -c "{count}" {{in}} {{out}}'],
        metrics=["psnr"],
        keep_images=False,
        workers=1,
    )
    assert not run.failed
    assert found.read_text().split() == ["1"] * 6
    assert not list(aside.iterdir())


def test_stopped_while_busy_leaves_nobody_working(images: Path, tmp_path: Path) -> None:
    task = tmp_path / "mini.yaml"
    task.write_text(json.dumps(TASK.model_dump(mode="json")))
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    for number in (signal.SIGINT, signal.SIGKILL):
        out, busy = tmp_path / number.name, tmp_path / f"{number.name}.pid"
        command = [
            *(sys.executable, "-m", "conservator.agent.cli.main", "eval", "run", str(task)),
            *("--images", str(images), "--out", str(out), "--metric", "psnr", "--workers", "1"),
            *("--system", f"command:sh -c 'echo $$ > {busy}; exec sleep 600' {{in}} {{out}}"),
        ]
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        until(lambda busy=busy: busy.exists() and busy.read_text().strip())
        process.send_signal(number)
        _, said = process.communicate()
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert said.strip().endswith(f"go on with: conservator eval resume {out}")
        until(lambda busy=busy: not running(int(busy.read_text())))
        assert RunFolder.open(out).config["status"] == "started"
        assert len(keys(out)) == 1


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_metrics_that_would_not_come_are_refused_before_the_run(
    images: Path, tmp_path: Path
) -> None:
    for metric in ("nope", "piqe"):
        with pytest.raises(UnknownNameError, match=metric):
            run_suite(TASK, images, tmp_path / "run", metrics=["psnr", metric])
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_refused_with_the_ways_out(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="another --out"):
        run_suite(TASK, images, out, systems=["untouched"])
    with pytest.raises(UsageError, match="not a run folder"):
        run_suite(TASK, images, out, systems=["untouched"], overwrite=True)
    assert (out / "mine.txt").read_text() == "precious"
    with pytest.raises(UsageError, match=r"config\.json"):
        resume_run(out)
    with pytest.raises(UnknownNameError):
        run_suite("smoek", images, tmp_path / "new")
    assert not (tmp_path / "new").exists()
