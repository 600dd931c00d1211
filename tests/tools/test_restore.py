"""Restorers as LangChain tools: schemas from cards, validation with names and values, one call end to end."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
from skimage import data

from conservator.restorers import catalog
from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError
from conservator.tools.look import Pixels
from conservator.tools.restore import (
    Treated,
    arguments_schema,
    blended,
    describe,
    restore_tool,
    validated,
)

CARD = RestorerCard(name="two-kinds", title="Both", treats=(Kind.NOISE, Kind.JPEG))


@dataclass
class Bench:
    """A workbench with one picture on it."""

    picture: Pixels
    device: str = "cpu"
    cancel: threading.Event = field(default_factory=threading.Event)
    told: list[tuple[int, int]] = field(default_factory=list)

    def pixels(self, node: str) -> Pixels:
        assert node == "original"
        return self.picture

    def progress(self, restorer: str):
        return lambda done, total: self.told.append((done, total))

    def clock(self) -> float:
        return 0.0


def test_schema_has_a_described_bounded_strength_for_each_kind() -> None:
    schema = arguments_schema(CARD).model_json_schema()
    assert set(schema["properties"]) == {"source", "blend", "semantic", "seed", "noise", "jpeg"}
    assert "of 255" in schema["properties"]["noise"]["description"]
    bounds = schema["properties"]["noise"]["anyOf"][0]
    assert (bounds["minimum"], bounds["maximum"]) == (0, 255)
    assert schema["additionalProperties"] is False


def test_arguments_become_a_prompt() -> None:
    given = validated(CARD, {"noise": 25, "semantic": "a cat"})
    assert given.prompt().degradations == {Kind.NOISE: 25.0}
    assert given.prompt().semantic == "a cat"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "no strength given"),
        ({"noise": 300}, "noise=300"),
        ({"noise": "loud"}, "'loud'"),
        ({"rain": 5}, "rain=5"),
        ({"noise": 25, "blend": 0}, "blend=0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, named: str) -> None:
    with pytest.raises(PromptError, match="two-kinds") as caught:
        validated(CARD, arguments)
    assert named in str(caught.value)


def test_describes_itself() -> None:
    assert describe(CARD) == "Both. Treats: noise, jpeg. It follows the strengths given."


def test_a_call_restores_and_reports() -> None:
    clean = (data.astronaut()[:96, 150:246] / 255).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, clean.shape)
    bench = Bench(np.clip(clean + noise, 0, 1).astype(np.float32))
    tool = restore_tool(catalog.card("classical-nlm"), bench)
    message = tool.invoke(
        {"type": "tool_call", "id": "1", "name": tool.name, "args": {"noise": 25.0}}
    )
    treated = message.artifact
    assert isinstance(treated, Treated)
    assert treated.pixels.shape == clean.shape
    assert np.mean((treated.pixels - clean) ** 2) < np.mean((bench.picture - clean) ** 2) / 2
    assert "25" in message.content
    assert bench.told[-1][0] == bench.told[-1][1]


def test_blends() -> None:
    dark, bright = np.zeros((4, 4, 3), np.float32), np.ones((4, 4, 3), np.float32)
    assert blended(dark, bright, 1.0) is bright
    np.testing.assert_allclose(blended(dark, bright, 0.25), 0.25)
    assert blended(dark, np.ones((8, 8, 3), np.float32), 0.5).shape == (8, 8, 3)
