"""The plans that the embedded model learns from: what is asked in the product, and answers that the policy lets run."""

import json
import random
import re
from collections import Counter

import numpy as np
import pytest

from conservator.agent.vlm.embedded.case import Case, Dialogue
from conservator.agent.vlm.embedded.plans import first_step, later_step
from conservator.agent.vlm.hermes import read_answer
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind

GREY = np.full((64, 64, 3), 0.5, np.float32)
NOISE_AND_HAZE = Case(GREY, GREY, {Kind.NOISE: 25.0, Kind.HAZE: 1.2})
MANY = 150


def text_of(dialogue: Dialogue) -> str:
    (text,) = [p["text"] for p in dialogue.question.messages[-1].content if p["type"] == "text"]  # type: ignore[index]
    return str(text)


def calls_of(dialogue: Dialogue) -> list[tuple[str, dict[str, object]]]:
    return [(name, json.loads(given)) for name, given in read_answer(dialogue.answer).calls]


@pytest.fixture(scope="module")
def later() -> list[Dialogue]:
    rng = random.Random(0)
    return [d for _ in range(MANY) if (d := later_step(NOISE_AND_HAZE, rng)) is not None]


def test_every_call_is_of_a_tool_that_is_offered_with_arguments_it_has(
    later: list[Dialogue],
) -> None:
    rng = random.Random(1)
    first = [d for _ in range(MANY) if (d := first_step(NOISE_AND_HAZE, rng)) is not None]
    assert len(first) > MANY / 2
    assert len(later) > MANY / 3
    for dialogue in (*first, *later):
        tools = {t["function"]["name"]: t["function"] for t in dialogue.question.tools}
        calls = calls_of(dialogue)
        assert 1 <= len(calls) <= 2
        for name, given in calls:
            properties = tools[name]["parameters"]["properties"]
            assert list(given) == [key for key in properties if key in given]
            assert set(given) & {kind.value for kind in Kind}


def test_the_first_step_says_the_truth_as_far_as_the_readings_name_it() -> None:
    found = Finding(kind=Kind.NOISE, value=18.0, confidence=0.9, source="instrument")
    measured = Case(GREY, GREY, NOISE_AND_HAZE.present, ConditionReport(findings=(found,)))
    dialogue = first_step(measured, random.Random(3), measured=True)
    assert dialogue is not None
    assert "noise medium sigma 18.0 (0.90)" in text_of(dialogue)
    tools = {t["function"]["name"]: t["function"]["parameters"] for t in dialogue.question.tools}
    for name, given in calls_of(dialogue):
        less, same, more = tools[name]["properties"]["noise"]["enum"]
        assert less < same == 18.0 < given["noise"] == more
        assert "haze" not in given
    nearly = found.model_copy(update={"value": 24.0})
    shown = Case(GREY, GREY, {Kind.NOISE: 25.0}, ConditionReport(findings=(nearly,)))
    again = first_step(shown, random.Random(3), measured=True)
    assert again is not None
    assert all(given["noise"] == 24.0 for _, given in calls_of(again))
    clean = Case(GREY, GREY, {}, ConditionReport(findings=()))
    assert first_step(clean, random.Random(0), measured=True) is None


def test_later_steps_go_on_from_what_was_accepted(
    later: list[Dialogue],
) -> None:
    seen: Counter[str] = Counter()
    for dialogue in later:
        text = text_of(dialogue)
        best = re.search(r"Best so far: (\S+)", text)
        assert best is not None
        last = re.findall(r"^(a\d): (\S+?)\((.*?)\) on (\S+): (accepted|refused): \"(.*)\"$", text, re.M)[-1]  # fmt: skip
        (_, given), *_ = calls_of(dialogue)
        source = given.get("source", "original")
        seen[f"{last[4]} {'on it' if source == best[1] != 'original' else source}"] += 1
        assert source in {"original", best[1]}
    assert seen["accepted on it"] > 10
    assert seen["refused original"] > 5
    assert seen["accepted original"] > 2, "what is left is redone from the original"


def test_pictures_are_shown_once() -> None:
    rng = random.Random(5)
    shown = first_step(NOISE_AND_HAZE, rng, pixels=GREY)
    assert shown is not None
    blocks = [p for p in shown.question.messages[-1].content if p["type"] == "image_url"]  # type: ignore[index]
    assert blocks
