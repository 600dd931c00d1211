"""Cases as text and in their file."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from conservator.policies.attempt import ToolCall
from conservator.policies.cases import Case, CaseFile, Condition, Learned, Lesson, Seen, Step
from conservator.restorers.degradations.vocabulary import Finding, Kind
from conservator.restorers.errors import MissingFileError, OutputError, UsageError
from conservator.restorers.prompts.model import RestorationPrompt

NOISE = Step("llmra", ((Kind.NOISE, 25.0),))
BOTH = Step("mofe-ir", ((Kind.NOISE, 25.5), (Kind.JPEG, 20.0)), others=True, blend=0.6)
FOUND = Condition((Seen(Kind.NOISE, 0.62, 0.93), Seen(Kind.JPEG, 0.3, 0.5)), 320)


def lesson(digest: str, *gains: float, condition: Condition = FOUND) -> Lesson:
    cases = tuple(Case(condition, (NOISE,), gain, error=1.2, accepted=gain > 0) for gain in gains)
    return Lesson(digest, f"run {digest}", cases)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (NOISE, "llmra(noise=25)"),
        (BOTH, "mofe-ir(noise=25.5,jpeg=20,others) x0.6"),
        (Step("spire", (), others=True), "spire(others)"),
    ],
)
def test_steps_as_text(step: Step, text: str) -> None:
    assert str(step) == text
    assert Step.parse(text) == step


@pytest.mark.parametrize("text", ["llmra", "llmra(noise=25", "llmra(noise=lots)", "llmra(fog=1)"])
def test_what_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"llmra|lots|fog"):
        Step.parse(text)


def test_a_call_as_a_step_keeps_the_vocabularys_order() -> None:
    prompt = RestorationPrompt(degradations={Kind.JPEG: 20, Kind.NOISE: 25.5}, blind=True)
    assert Step.of(ToolCall(restorer="mofe-ir", prompt=prompt, blend=0.6)) == BOTH
    assert BOTH.words == "mofe-ir(noise, jpeg, others)"


def test_a_condition_holds_what_is_there() -> None:
    findings = [
        Finding(kind=Kind.JPEG, value=15, confidence=0.876, source="instrument"),
        Finding(kind=Kind.NOISE, value=15, confidence=0.4, source="instrument"),
        Finding(kind=Kind.HAZE, value=0.01, confidence=0.9, source="instrument"),
    ]
    found = Condition.of(findings, 64)
    assert str(found) == "noise 0.5 0.4,jpeg 0.88 0.88"
    assert Condition.parse(str(found), 64) == found
    assert found.sure == (Kind.JPEG,)
    assert Condition.parse("") == Condition(())
    with pytest.raises(UsageError, match="'noise'"):
        Condition.parse("noise")


def test_the_same_lesson_is_learned_once(tmp_path: Path) -> None:
    file = CaseFile(tmp_path / "e.sqlite")
    assert file.learn([lesson("a", 1.0, -2.0)]) == Learned(lessons=1, cases=2)
    assert file.learn([lesson("a", 1.0, -2.0), lesson("b", 3.0)]) == Learned(1, 1, 1)
    cases = file.cases()
    assert [case.gain for case in cases] == [1.0, -2.0, 3.0]
    assert [case.accepted for case in cases] == [True, False, True]
    assert cases[0].condition == FOUND
    assert cases[0].condition is cases[1].condition
    assert cases[1].condition is not cases[2].condition
    assert [one.name for one in file.lessons()] == ["run a", "run b"]


def test_two_photos_in_the_same_condition_stay_two(tmp_path: Path) -> None:
    twin = Condition(FOUND.seen, FOUND.side)
    cases = [Case(FOUND, (NOISE,), 1.0), Case(twin, (NOISE,), 2.0), Case(FOUND, (BOTH,), 3.0)]
    file = CaseFile(tmp_path / "e.sqlite")
    file.learn([Lesson("a", "a", tuple(cases))])
    first, second, third = file.cases()
    assert first.condition is third.condition
    assert first.condition is not second.condition


def test_the_same_lessons_give_the_same_bytes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one.sqlite", "two.sqlite")]
    for path in files:
        CaseFile(path).learn([lesson("a", 1.0, 2.0), lesson("b", 3.0)])
    assert files[0].read_bytes() == files[1].read_bytes()


def test_lessons_are_learned_together_or_not_at_all(tmp_path: Path) -> None:
    file = CaseFile(tmp_path / "e.sqlite")
    file.learn([lesson("a", 1.0)])

    def broken() -> Iterator[Lesson]:
        yield lesson("b", 2.0)
        raise UsageError("damaged")

    with pytest.raises(UsageError, match="damaged"):
        file.learn(broken())
    assert [one.digest for one in file.lessons()] == ["a"]
    assert len(file.cases()) == 1


def test_what_is_no_experience_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    text, other = tmp_path / "text.sqlite", tmp_path / "other.sqlite"
    text.write_text("these are my notes, keep them")
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE notes (words TEXT)")
    database.close()
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(UsageError, match="no experience file"):
            CaseFile(path).cases()
        with pytest.raises(UsageError, match="no experience file"):
            CaseFile(path).learn([lesson("a", 1.0)])
        assert path.read_bytes() == before


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="policy learn"):
        CaseFile(tmp_path / "e.sqlite").cases()
    with pytest.raises(OutputError, match="nowhere"):
        CaseFile(tmp_path / "nowhere" / "e.sqlite").learn([lesson("a", 1.0)])
