"""Which experience a run has, and what it teaches when it is done."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from conservator import RestorationResult, restore
from conservator.agent.experience import (
    experience_files,
    experienced,
    lesson_of_run,
    open_experience,
    own_file,
)
from conservator.agent.settings import Settings
from conservator.policies.cases import Case, CaseFile, Condition, Lesson, Seen, Step
from conservator.policies.experience import SHIPPED
from conservator.policies.preset import Preset, load_preset
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.restorers.errors import MissingFileError, UnknownNameError, UsageError


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CaseFile:
    """The user's own file, in which the bilateral filter beats the table's first choice on noise."""
    monkeypatch.setenv("CONSERVATOR_STATE_DIR", str(tmp_path / "state"))
    own_file().parent.mkdir()
    file = CaseFile(own_file())
    file.learn([Lesson("a", "by hand", tuple(noisy_cases(30)))])
    return file


def noisy_cases(photos: int) -> list[Case]:
    found = []
    for _ in range(photos):
        condition = Condition((Seen(Kind.NOISE, 0.7, 0.95),), 160)
        found += [
            Case(condition, (Step(name, ((Kind.NOISE, 25.0),)),), gain)
            for name, gain in (("classical-nlm", 2.0), ("classical-bilateral", 6.0))
        ]
    return found


@pytest.fixture
def finished(whole: RestorationResult, tmp_path: Path) -> Path:
    """A run folder of one's own to spoil."""
    assert whole.run_dir is not None
    return shutil.copytree(whole.run_dir, tmp_path / "photo.run")


def test_what_the_words_mean(own: CaseFile, tmp_path: Path) -> None:
    assert experience_files("none") == ()
    assert experience_files("auto") == (SHIPPED, own.path)
    assert experience_files(str(own.path)) == (own.path,)
    own.path.unlink()
    assert experience_files("auto") == (SHIPPED,)
    with pytest.raises(UnknownNameError, match=r"'a lot'.*auto"):
        experience_files("a lot")
    with pytest.raises(MissingFileError, match="policy learn"):
        experience_files(str(tmp_path / "e.sqlite"))
    assert open_experience("none") is None


def test_the_caller_goes_before_the_settings_and_both_before_the_policy(own: CaseFile) -> None:
    plain, bold = load_preset("balanced"), load_preset("balanced").model_copy()
    bold = bold.model_copy(update={"experience": "auto"})
    set_none, unset = Settings(experience="none"), Settings()
    assert plain.experience == "none"
    assert experienced(plain, None, unset) == plain
    assert experienced(bold, None, unset) == bold
    assert experienced(bold, None, set_none).experience == "none"
    assert experienced(plain, "auto", set_none).experience == "auto"
    assert experienced(plain, own.path, unset).experience == str(own.path)


def test_a_finished_run_teaches_each_judged_candidate(
    whole: RestorationResult, finished: Path
) -> None:
    lesson = lesson_of_run(finished)
    judged = [a for a in whole.attempts if a.measurement is not None]
    assert len(lesson.cases) == len(judged) > 0
    first = lesson.cases[0]
    assert first.steps[0].restorer == "classical-nlm"
    assert Kind.NOISE in first.condition.sure
    assert first.condition.side == 160
    assert judged[0].measurement is not None
    estimate = judged[0].measurement.gain
    assert estimate is not None
    assert (first.gain, first.error) == (estimate.psnr, estimate.spread)
    assert first.accepted == judged[0].accepted
    assert first.seconds > 0


def test_the_same_run_is_known_wherever_it_lies(finished: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(finished, tmp_path / "elsewhere")
    assert lesson_of_run(moved).digest == lesson_of_run(finished).digest
    report = json.loads((moved / "report.json").read_text())
    report["attempts"][0]["seconds"] += 1
    (moved / "report.json").write_text(json.dumps(report))
    assert lesson_of_run(moved).digest == lesson_of_run(finished).digest
    report["attempts"][0]["measurement"]["gain"]["psnr"] += 1
    (moved / "report.json").write_text(json.dumps(report))
    assert lesson_of_run(moved).digest != lesson_of_run(finished).digest


def test_unfinished_and_damaged_runs_are_refused(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    report["attempts"][0]["verdict"]["accepted"] = "perhaps"
    (finished / "report.json").write_text(json.dumps(report))
    with pytest.raises(UsageError, match="does not read"):
        lesson_of_run(finished)
    (finished / "report.json").unlink()
    with pytest.raises(UsageError, match="unfinished"):
        lesson_of_run(finished)


def test_a_run_does_what_experience_says_and_learns_nothing_by_itself(
    own: CaseFile, noisy: np.ndarray, quick: Preset
) -> None:
    before = own.path.read_bytes()
    gains = dict.fromkeys(catalog.cards(), -1.0)
    gains |= {"classical-nlm": 5.0, "classical-bilateral": 4.0}
    table = own.path.with_name("preferences.yaml")
    levels = {level.label: gains for level in list(Level)[1:]}
    table.write_text(yaml.safe_dump({"lead": "none", "gains": {"noise": levels}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONSERVATOR_PREFERENCES", str(table))
        plain = restore(noisy, policy=quick, max_tools=1)
        taught = restore(noisy, policy=quick, experience=own.path, max_tools=1)
    assert plain.attempts[0].call.restorer == "classical-nlm"
    assert "experience" not in plain.attempts[0].call.rationale
    assert taught.attempts[0].call.restorer == "classical-bilateral"
    assert "experience expects +" in taught.attempts[0].call.rationale
    assert own.path.read_bytes() == before


def test_none_is_as_it_was(noisy: np.ndarray, whole: RestorationResult, quick: Preset) -> None:
    result = restore(noisy, policy=quick, experience="none")
    assert [str(a.call) for a in result.attempts] == [str(a.call) for a in whole.attempts]
    assert np.array_equal(result.array, whole.array)


def test_wrong_experience_is_refused_before_the_work(noisy: np.ndarray, tmp_path: Path) -> None:
    notes = tmp_path / "notes.sqlite"
    notes.write_text("not an experience")
    with pytest.raises(UnknownNameError, match="plenty"):
        restore(noisy, experience="plenty")
    with pytest.raises(UsageError, match="no experience file"):
        restore(noisy, experience=notes)
