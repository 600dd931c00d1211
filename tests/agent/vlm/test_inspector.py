"""What an inspection with a model asks a restorer to undo."""

import json

import numpy as np
import torch
from langchain_core.messages import AIMessage

from conservator.agent.vlm.inspector import inspector_of, said_alone, seen_together
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind
from scripted_chat import ScriptedChat

NOISY = "The image is well lit. No rain streaks detected. The image has gaussian noise degradation and the noise level is high (sigma 30.0)."
RAINY = AIMessage(
    json.dumps(
        {
            "scene": "a street",
            "degradations": [{"kind": "rain", "level": "high", "value": 75.0, "confidence": 0.95}],
        }
    )
)
GREY = np.full((64, 64, 3), 0.5, np.float32)


def test_the_models_own_sentences_become_a_prompt() -> None:
    assert dict(said_alone(ScriptedChat(AIMessage(NOISY)), GREY).degradations) == {Kind.NOISE: 30.0}


def test_sentences_that_do_not_read_ask_for_nothing() -> None:
    model = ScriptedChat(AIMessage("lovely"), AIMessage("lovely"))
    assert not said_alone(model, GREY).degradations


def test_both_together_ask_for_what_either_is_certain_of() -> None:
    haze = Finding(kind=Kind.HAZE, value=1.2, confidence=0.95, source="instrument")
    rain = Finding(kind=Kind.RAIN, value=0.0, confidence=0.55, source="instrument")
    seen = seen_together(ScriptedChat(RAINY), ConditionReport(findings=(haze, rain)), GREY)
    assert set(seen.degradations) == {Kind.HAZE, Kind.RAIN}


def test_of_every_two_pictures_one_is_named_by_the_model_alone() -> None:
    model = ScriptedChat(RAINY, AIMessage(NOISY), RAINY)
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(3, 3, 64, 64, generator=generator)
    first, second, third = inspector_of(model)(batch)
    assert second == {Kind.NOISE: 30.0}
    assert first.keys() - {Kind.RAIN} == third.keys() - {
        Kind.RAIN
    }  # what the instruments say of static
    assert len(model.asked) == 3
