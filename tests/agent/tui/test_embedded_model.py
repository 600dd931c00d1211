"""A session with the vision-language model that ships, as a person holds it: nothing of the agent is replaced."""

from pathlib import Path

import pytest
import yaml
from textual.widgets import Input, Select, TextArea

from conservator.agent.tui.modals.aims import AimsForm
from conservator.agent.tui.modals.approve import ApproveStep
from conservator.agent.tui.modals.ask import Ask
from conservator.agent.tui.widgets.slider import Slider
from conservator.restorers.degradations.vocabulary import Kind
from tui_pilot import PATIENCE_S, MakeApp, rendered, said, settled, until


@pytest.fixture
def patient_yaml(quick_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The quick policy, with more time for an answer than a busy machine takes."""
    policy = yaml.safe_load(quick_yaml.read_text())
    policy["vlm"]["seconds"] = PATIENCE_S
    monkeypatch.setenv("CONSERVATOR_VLM_TIMEOUT_S", str(PATIENCE_S))
    path = tmp_path / "patient.yaml"
    path.write_text(yaml.safe_dump(policy))
    return path


async def test_a_session_with_the_embedded_model(
    make_app: MakeApp, noisy_png: Path, patient_yaml: Path
) -> None:
    app = make_app(noisy_png, vlm="embedded", policy=str(patient_yaml))
    async with app.run_test(size=(140, 45)) as pilot:
        screen = await settled(pilot)
        assert screen.session is not None
        assert "model: embedded" in rendered(app)

        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, AimsForm))
        app.screen.query_one("#asks", Select).value = "plan"
        await pilot.press("ctrl+s")
        await settled(pilot)
        assert screen.session.approve == "plan"

        # Approve an edited prompt.
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.screen, ApproveStep), "asked")
        step = app.screen
        assert "the model sees" in said(screen)
        text, slider = step.query_one(TextArea), step.query_one(Slider)
        assert slider.kind is Kind.NOISE
        written = f"{slider.value:.1f}"
        assert written in text.text
        text.load_text(text.text.replace(written, "31.5"))
        await until(pilot, lambda: slider.value == 31.5)
        await pilot.press("ctrl+s")
        await settled(pilot)
        turn = screen.session.here
        assert turn is not None and turn.decided_by == "user"
        assert turn.steps[0].degradations[Kind.NOISE] == 31.5
        words = said(screen)
        for told in ("a1 runs: ", "you answered: ", "a1 kept", "t1: done in"):
            assert told in words, words

        # Refine, undo, compare, export.
        await pilot.press(*"a bit less smoothing", "enter")
        await settled(pilot)
        assert screen.session.tree.here == "t2"
        assert screen.session.here.steps[0].degradations[Kind.NOISE] < 31.5
        await pilot.press("ctrl+z")
        await settled(pilot)
        assert screen.session.tree.here == "t1"
        await pilot.press(*"compare t1 t2", "enter")
        await settled(pilot)
        assert screen.board.picture.nodes == ("t1", "t2")
        await pilot.press("f9")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        into = Path(app.screen.query_one(Input).value)
        await pilot.press("enter")
        await until(pilot, lambda: "exported" in said(screen))
        assert {"recipe.json", "report.json"} <= {path.name for path in into.iterdir()}
