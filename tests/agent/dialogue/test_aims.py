"""What the automatic runs of a session go by, and how it is changed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conservator import Session, open_session, replay
from conservator.agent.approval import Answer, Question
from conservator.agent.errors import ConservatorError, UsageError
from conservator.policies.budget import Budget
from conservator.policies.preset import Preset
from conservator.restorers.degradations.vocabulary import Kind


@pytest.fixture
def session(dim_png: Path, plain: Preset, tmp_path: Path) -> Session:
    return open_session(dim_png, policy=plain, run_dir=tmp_path / "talk", vlm=None)


def test_the_photo_is_looked_at_once_and_remembered(session: Session) -> None:
    assert session.report is None and session.baseline is None
    report = session.inspect()
    assert report.finding(Kind.NOISE) is not None
    assert session.report == report
    again = open_session(run_dir=session.run_dir, vlm=None)
    assert again.report == report


def test_targets_and_budget_are_kept_and_used(session: Session) -> None:
    session.aim(targets="noise<=low, fidelity>=0.2", budget=Budget(max_tools=0))
    assert session.request.targets == "noise<=low, fidelity>=0.2"
    reply = session.restore()
    assert "the limit of 0 tools" in "\n".join(reply.said)
    again = open_session(run_dir=session.run_dir, vlm=None)
    assert again.request.budget == Budget(max_tools=0)
    again.aim(targets="", budget=Budget())
    assert again.request.targets == "" and again.request.budget == Budget()
    assert again.restore().turn is not None
    assert again.here is not None and again.here.steps


def test_what_is_protected_comes_back_as_it_came_in(session: Session, dim: np.ndarray) -> None:
    session.aim(protect=("0,0,60,96",), keep=("the colours",))
    session.restore()
    turn = session.here
    assert turn is not None and turn.steps
    before = dim / np.float32(255)
    assert np.abs(session.array - before)[:, :50].max() < 1e-6
    assert np.abs(session.array - before)[:, 70:].max() > 0.02


def test_what_is_protected_stays_whatever_is_said(session: Session, dim: np.ndarray) -> None:
    before = dim / np.float32(255)
    session.aim(protect="0,0,60,96")
    session.restore()
    restored = session.array
    for words in ("brighter", "a bit less denoising", "too dark on the left half"):
        session.refine(words)
        assert np.abs(session.array - before)[:, :60].max() == 0, words
    assert np.abs(session.array - restored)[:, 70:].max() > 0.02
    # The recipe knows it too.
    again = replay(session.recipe(), Image.fromarray(dim))
    assert again.array is not None
    np.testing.assert_array_equal(again.array, session.array)
    # From now on; the turns before stay as they were made.
    session.aim(protect=())
    session.refine("brighter")
    assert np.abs(session.array - before)[:, :50].max() > 0.02
    assert session.undo().turn is not None
    assert np.abs(session.array - before)[:, :60].max() == 0
    assert session.recipe().protect and not session.recipe("t5").protect


def test_a_second_run_protects_the_input_and_not_what_came_of_it(
    session: Session, dim: np.ndarray
) -> None:
    before = dim / np.float32(255)
    session.refine("brighter")
    session.aim(protect="0,0,60,96")
    session.restore()
    assert np.abs(session.array - before)[:, :60].max() == 0
    again = replay(session.recipe(), Image.fromarray(dim))
    assert again.array is not None
    np.testing.assert_array_equal(again.array, session.array)


def test_a_session_opens_with_its_aims(dim_png: Path, plain: Preset, tmp_path: Path) -> None:
    folder = tmp_path / "aimed"
    given = open_session(
        dim_png,
        policy=plain,
        run_dir=folder,
        vlm=None,
        targets="noise<=low",
        protect=["0,0,50%,100%", "face"],
        keep="the colours",
        max_tools=1,
        experience="none",
    )
    assert given.request.budget.max_tools == 1
    reply = given.restore()
    assert "note: protect the face: not found" in "\n".join(reply.said)
    again = open_session(run_dir=folder, vlm=None, keep=["it dark"], max_seconds=30)
    assert again.request.keep == ("it dark",)
    assert again.request.protect == ("0,0,50%,100%", "face")
    assert again.request.targets == "noise<=low"
    assert again.request.budget == Budget(max_seconds=30, max_tools=1)
    with pytest.raises(ConservatorError, match="contradict"):
        open_session(run_dir=folder, vlm=None, keep="the grain")
    with pytest.raises(ConservatorError, match="none that can be found"):
        open_session(dim_png, policy=plain, run_dir=tmp_path / "other", vlm=None, protect="nose")
    assert not (tmp_path / "other").exists()


def test_another_policy_brings_its_limits(session: Session) -> None:
    before = session.request.preset
    session.aim(policy="fast")
    assert session.request.preset.name == "fast" != before.name
    assert session.request.budget.max_tools == session.request.preset.max_tools


@pytest.mark.parametrize(
    "wrong",
    [
        {"targets": "noise=>low"},
        {"policy": "nope"},
        {"approve": "plan"},
        {"protect": ("nowhere at all",)},
        {"targets": "noise<=low", "keep": ("the grain",)},
    ],
)
def test_what_does_not_read_changes_nothing(session: Session, wrong: dict[str, Any]) -> None:
    before = session.request
    with pytest.raises(ConservatorError):
        session.aim(**wrong)
    assert session.request == before
    assert session.approve == "never"


def test_a_person_can_be_asked_from_now_on(session: Session) -> None:
    asked: list[Question] = []

    def approver(question: Question) -> Answer:
        asked.append(question)
        return Answer(what="stop")

    session.aim(approve="plan", approver=approver)
    session.restore()
    assert len(asked) == 1 and asked[0].calls
    with pytest.raises(UsageError):
        session.aim(approve="never", approver=approver)
    session.aim(approve="never")
    assert session.approve == "never"
