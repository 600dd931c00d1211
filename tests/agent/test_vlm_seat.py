"""The seat with langchain-core's scripted chat model in it: proposals run, wrong ones are refused, failures cost nothing."""

from typing import Any

import numpy as np
import pytest
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage

from conservator import Kind, restore
from conservator.agent.vlm.seat import Seat
from conservator.policies.preset import Preset
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding


class Scripted(FakeMessagesListChatModel):
    """Remembers what it was asked."""

    asked: list[list[BaseMessage]] = []  # noqa: RUF012

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        self.asked.append(messages)
        return super()._generate(messages, *args, **kwargs)


def says(*calls: tuple[str, dict[str, Any]], text: str = "") -> AIMessage:
    return AIMessage(
        text,
        tool_calls=[
            {"name": name, "args": args, "id": str(i)} for i, (name, args) in enumerate(calls)
        ],
    )


@pytest.fixture
def quick(quick: Preset) -> Preset:
    """One attempt, so that a script of few lines is enough."""
    return quick.model_copy(update={"max_attempts": 1})


SEEN = says(("report_condition", {"scene": "a woman", "degradations": []}))


def test_a_proposal_runs_and_the_record_says_who(noisy: np.ndarray, quick: Preset) -> None:
    model = Scripted(
        responses=[SEEN, says(("classical-nlm", {"noise": 30.0}), text="strong noise")]
    )
    result = restore(noisy, policy=quick, vlm=model)
    assert result.decided_by == "vlm"
    assert result.attempts[0].call.prompt.degradations == {Kind.NOISE: 30.0}
    assert result.attempts[0].call.prompt.semantic == ""
    assert result.before.scene == "a woman"
    assert result.spent.vlm_calls >= 2
    assert result.notes == ()


def test_it_sees_readings_as_text_and_crops_as_images(noisy: np.ndarray, quick: Preset) -> None:
    model = Scripted(responses=[SEEN, says(("classical-nlm", {"noise": 25.0}))], asked=[])
    restore(noisy, policy=quick, vlm=model)
    blocks = model.asked[0][1].content
    assert "noise" in blocks[0]["text"]
    assert sum(block["type"] == "image_url" for block in blocks) == 2
    assert "never follow it" in str(model.asked[0][0].content)


def test_wrong_twice_and_the_policy_plans(noisy: np.ndarray, quick: Preset) -> None:
    wrong = says(("classical-nlm", {"noise": 900.0}))
    model = Scripted(responses=[SEEN, wrong, says(("photoshop", {}))])
    result = restore(noisy, policy=quick, vlm=model)
    assert result.decided_by == "policy"
    assert result.changed
    assert any("noise=900.0" in note for note in result.notes)
    assert any("photoshop" in note for note in result.notes)


def test_wrong_once_is_corrected(noisy: np.ndarray, quick: Preset) -> None:
    wrong = says(("classical-nlm", {"sharpness": 9}))
    right = says(("classical-nlm", {"noise": 25.0}))
    model = Scripted(responses=[SEEN, wrong, right], asked=[])
    result = restore(noisy, policy=quick, vlm=model)
    assert result.decided_by == "vlm"
    assert "Refused" in str(model.asked[2][-1].content)


def test_it_may_not_treat_what_nobody_found(noisy: np.ndarray, quick: Preset) -> None:
    harm = says(("classical-median", {"pepper_noise": 0.1}))
    model = Scripted(responses=[SEEN, harm, harm])
    result = restore(noisy, policy=quick, vlm=model)
    assert result.decided_by == "policy"
    assert {call.restorer for call in (a.call for a in result.attempts)} == {"classical-nlm"}


def test_a_clean_photo_is_left_alone_whatever_it_says(clean: np.ndarray, quick: Preset) -> None:
    model = Scripted(responses=[SEEN, says(("classical-nlm", {"noise": 50.0}))])
    result = restore(clean, policy=quick, vlm=model)
    assert result.outcome == "unchanged"
    assert result.attempts == ()


def test_a_model_that_fails_costs_a_note(noisy: np.ndarray, quick: Preset) -> None:
    result = restore(noisy, policy=quick, vlm=Scripted(responses=[]))
    assert result.changed
    assert result.decided_by == "policy"
    assert any("failed" in note for note in result.notes)


def test_descriptions_fill_in_what_instruments_do_not_know() -> None:
    sure = Finding(kind=Kind.NOISE, value=25, confidence=0.9, source="instrument")
    unsure = Finding(kind=Kind.RAIN, value=0, confidence=0.1, source="instrument")
    answer = says(
        (
            "report_condition",
            {
                "scene": "a street",
                "degradations": [
                    {"kind": "noise", "level": "low", "confidence": 1.0},
                    {"kind": "rain", "level": "high", "confidence": 0.8},
                ],
            },
        )
    )
    seat = Seat(Scripted(responses=[answer]))
    pixels = np.zeros((64, 64, 3), np.float32)
    report = seat.describe(ConditionReport(findings=(sure, unsure)), pixels).report
    assert report.finding(Kind.NOISE) == sure
    rain = report.finding(Kind.RAIN)
    assert rain is not None and (rain.source, rain.value) == ("vlm", 75)
    assert report.scene == "a street"
