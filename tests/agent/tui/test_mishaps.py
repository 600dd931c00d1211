"""What goes wrong outside: a server that dies in the middle of a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from openai_server import openai_server, says
from tui_pilot import MakeApp, said, settled

SEEN = says(json.dumps({"scene": "a face", "degradations": []}))


def dies(request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    raise ConnectionAbortedError("nobody is there any more")


async def test_a_server_that_dies_costs_its_opinion_alone(
    make_app: MakeApp, noisy_png: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSERVATOR_VLM_RETRIES", "0")
    # It says what it sees, and then there is nobody who could plan.
    with openai_server(SEEN, dies) as server:
        app = make_app(noisy_png, vlm=server.url)
        async with app.run_test(size=(80, 24)) as pilot:
            screen = await settled(pilot)
            await pilot.press("ctrl+r")
            await settled(pilot)
            words = said(screen)
            assert "the model sees: nothing wrong" in words, words
            assert "the vision-language model failed" in words, words
            assert "planned by the policy" in words
            assert "t1: done in" in words
            # Told when it happened, and not again at the end.
            assert words.count("the vision-language model failed") == 1
            assert screen.session is not None
            assert screen.session.here is not None and screen.session.here.steps
            await pilot.press(*"a bit less", "enter")
            await settled(pilot)
            assert screen.session.tree.here == "t2"
