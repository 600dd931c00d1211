"""`conservator report`: the page of a run or a dialogue, from its folder alone."""

import json
import shutil
from pathlib import Path

import pytest

from conservator import RestorationResult


@pytest.fixture
def folder(whole: RestorationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "noisy.restored.run"
    shutil.copytree(whole.run_dir, copy)
    monkeypatch.chdir(tmp_path)
    return copy


def test_by_folder_by_name_and_by_file(run, folder: Path) -> None:
    for name in (folder, folder.name, folder / "report.json", f"{folder.name}/"):
        (folder / "report.html").unlink()
        done = run("report", name)
        assert (done.code, done.err) == (0, "")
        assert Path(done.out.strip()) == folder / "report.html"
        assert (folder / "report.html").read_text().startswith("<!doctype html>")
    # Its own page is replaced.
    assert run("report", folder).code == 0


def test_elsewhere_and_as_json(run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    data = json.loads(run("report", folder, "-o", out, "--json").out)
    assert data["path"] == str(out) and data["kind"] == "run" and data["gone"] == []
    assert data["report"]["outcome"] == "met"
    refused = run("report", folder, "-o", out)
    assert refused.code == 1 and "overwrite" in refused.err and not refused.out
    assert run("report", folder, "-o", out, "--overwrite").code == 0


def test_pictures_that_are_gone(run, folder: Path) -> None:
    (folder / "report.html").unlink()
    shutil.rmtree(folder / "artifacts")
    done = run("report", folder)
    assert done.code == 0
    assert "no pictures any more of: a1" in done.err


def test_a_folder_with_its_page_can_be_deleted(run, folder: Path) -> None:
    assert run("report", folder).code == 0
    assert run("sessions", "delete", folder, "--yes").code == 0
    assert not folder.exists()


@pytest.mark.parametrize("name", ["nowhere", ".", "noise.json"])
def test_what_is_no_run(run, folder: Path, name: str) -> None:
    Path("noise.json").write_text('{"what": 1}')
    done = run("report", name)
    assert done.code == 2 and not done.out
    assert done.err.startswith("error: ") and done.err.count("\n") == 1


def test_a_damaged_report(run, folder: Path) -> None:
    (folder / "report.json").write_text("{")
    done = run("report", folder)
    assert done.code == 2
    assert "report.json" in done.err and "conservator sessions resume" in done.err
