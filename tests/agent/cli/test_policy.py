"""`conservator policy learn|show|export` on real runs."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import yaml

from conservator import RestorationResult
from conservator.policies.cases import CaseFile


@pytest.fixture
def runs(whole: RestorationResult, tmp_path: Path) -> Path:
    """A folder with a run, and one that was cut off."""
    assert whole.run_dir is not None
    folder = tmp_path / "photos" / "2024"
    shutil.copytree(whole.run_dir, folder / "a.run")
    shutil.copytree(whole.run_dir, folder / "b.run")
    (folder / "b.run" / "report.json").write_text("{")
    return folder.parent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONSERVATOR_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_learning_takes_what_is_whole_and_says_what_is_not(run, runs: Path, home: Path) -> None:
    done = run("policy", "learn", "--from", runs)
    assert done.code == 0
    assert done.out.strip() == str(home / "experience.sqlite")
    assert "b.run" in done.err
    assert "from 1 runs; 0 were known already" in done.err
    again = run("policy", "learn", runs / "2024" / "a.run")
    assert again.code == 0
    assert "learned 0 cases from 0 runs; 1 were known already" in again.err
    (lesson,) = CaseFile(home / "experience.sqlite").lessons()
    assert lesson.name == "a.run"


def test_several_folders_into_a_file_of_ones_own(run, runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.sqlite"
    done = run("policy", "learn", "--from", runs / "2024" / "a.run", runs, "-o", out)
    assert done.code == 0
    assert done.out.strip() == str(out)
    assert len(CaseFile(out).lessons()) == 1


def test_show_and_export(run, runs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.sqlite"
    run("policy", "learn", runs, "-o", mine)
    cases = len(CaseFile(mine).cases())
    shown = run("policy", "show", "--experience", mine)
    head, *lines = shown.out.splitlines()
    assert head.split() == ["condition", "treatment", "cases", "gain", "dB", "accepted"]
    assert any("classical-nlm(noise)" in line and "noise" in line for line in lines)
    data = json.loads(run("policy", "show", "--experience", mine, "--kind", "noise", "--json").out)
    assert sum(one["cases"] for one in data) == cases
    nothing = run("policy", "show", "--experience", mine, "--kind", "snow")
    assert (nothing.code, nothing.out) == (0, "")
    assert "none with snow" in nothing.err

    exported = json.loads(run("policy", "export", "--experience", mine).out)
    assert len(exported) == cases
    for suffix in ("json", "csv", "yaml"):
        path = tmp_path / f"cases.{suffix}"
        done = run("policy", "export", "--experience", mine, "-o", path)
        assert done.out.strip() == str(path)
        text = path.read_text()
        read = {
            "json": json.loads,
            "yaml": yaml.safe_load,
            "csv": lambda words: list(csv.DictReader(io.StringIO(words))),
        }[suffix](text)
        assert [str(row["steps"]) for row in read] == [row["steps"] for row in exported]
    refused = run("policy", "export", "--experience", mine, "-o", tmp_path / "cases.csv")
    assert refused.code == 1
    assert "exists" in refused.err


def test_the_shipped_experience_shows(run) -> None:
    done = run("policy", "show", "--kind", "haze", "--kind", "rain")
    assert done.code == 0
    assert all("haze" in line and "rain" in line for line in done.out.splitlines()[1:])


def test_wrong_words(run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words, complaint in (
        (("learn",), "nothing to learn from"),
        (("learn", tmp_path / "nowhere"), "no folder"),
        (("learn", tmp_path / "empty"), "no runs in"),
        (("show", "--kind", "fog"), "unknown degradation"),
        (("show", "--experience", tmp_path / "e.sqlite"), "no experience file"),
        (("export", "-o", tmp_path / "cases.txt"), ".yaml, .csv or .json"),
    ):
        done = run("policy", *words)
        assert done.code == 2, words
        assert complaint in done.err
    assert not (tmp_path / "state").exists()
    lonely = tmp_path / "photos" / "a.run"
    lonely.mkdir(parents=True)
    (lonely / "request.json").write_text("{}")
    nothing = run("policy", "learn", tmp_path / "photos")
    assert nothing.code == 1
    assert "skipped" in nothing.err
