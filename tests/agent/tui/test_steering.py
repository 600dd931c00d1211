"""A hand on a run under way, through the real agent: approve, edit, pause, keep the best, cancel, quit."""

import threading
from pathlib import Path

from textual.widgets import Input, Select, TextArea

from conservator.agent.tui.modals.approve import ApproveStep
from conservator.agent.tui.screens.session import SessionScreen
from conservator.agent.tui.widgets.slider import Slider
from conservator.restorers.degradations.vocabulary import Kind
from tui_pilot import MakeApp, rendered, said, settled, until


async def asked(app, pilot) -> ApproveStep:
    await until(pilot, lambda: isinstance(app.screen, ApproveStep), "asked")
    await pilot.pause()
    return app.screen


async def restoring(app, pilot, asks: str = "each") -> SessionScreen:
    """A session that asks, with its restoration begun."""
    screen = await settled(pilot)
    screen.session.aim(approve=asks, approver=screen.bridge.approver)
    await pilot.press("ctrl+r")
    return screen


async def pressed_in_time(pilot, door: threading.Event, *keys: str) -> None:
    """Keys that reach the agent while it works, seen through to the end."""
    door.clear()
    await pilot.press(*keys)
    door.set()
    await settled(pilot)


async def test_an_edited_step_is_what_runs(make_app: MakeApp, noisy_png: Path) -> None:
    app = make_app(noisy_png)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await restoring(app, pilot, "plan")
        step = await asked(app, pilot)
        assert "classical-nlm: noise" in rendered(app)
        slider, text = step.query_one(Slider), step.query_one(TextArea)
        assert slider.kind is Kind.NOISE

        # The slider moves the text, and the text moves the slider.
        before = slider.value
        slider.focus()
        await pilot.press("right", "right")
        assert slider.value > before
        assert f"noise={slider.value:.4g}" in text.text or f"sigma={slider.value:.1f}" in text.text
        text.load_text(text.text.replace(f"{slider.value:.1f}", "31.5"))
        await pilot.pause()
        assert slider.value == 31.5

        # Words first, and one that is asked again.
        step.query_one(Input).value = "foo bar"
        step.query_one(Input).focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ApproveStep) and app.screen is not step)
        step = await asked(app, pilot)
        assert "do not understand" in rendered(app)
        step.query_one(Slider).focus()
        await pilot.press("right")
        value = step.query_one(Slider).value
        await pilot.press("ctrl+s")
        await settled(pilot)
    turn = screen.session.here
    assert turn is not None and turn.decided_by == "user"
    assert turn.steps[0].degradations == {Kind.NOISE: value}


async def test_skip_plans_another_way_and_stop_keeps_the_best(
    make_app: MakeApp, noisy_png: Path
) -> None:
    app = make_app(noisy_png)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await restoring(app, pilot)
        first = await asked(app, pilot)
        chosen = first.query_one(Select).value
        await pilot.press("ctrl+n")
        await until(
            pilot, lambda: not screen.busy or app.screen not in (first, screen), "another question"
        )
        if screen.busy:
            assert app.screen.query_one(Select).value != chosen
            await pilot.press("escape")
        await settled(pilot)
        assert "you answered: skip" in said(screen)
    assert screen.session.here is not None and not screen.session.here.steps


async def test_a_pause_a_word_and_an_end(
    make_app: MakeApp, noisy_png: Path, door: threading.Event
) -> None:
    app = make_app(noisy_png)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        door.clear()
        await pilot.press("ctrl+r", "f5")
        assert screen.busy
        door.set()
        await until(pilot, lambda: "paused" in said(screen))
        assert screen.bridge.steering.paused
        await pilot.press(*"noise sigma 28", "enter")
        await pilot.press("f5")
        await until(pilot, lambda: "going on" in said(screen))
        await settled(pilot)
        assert "noise sigma 28" in said(screen)
        turn = screen.session.here
        assert turn.words == "noise sigma 28"
        assert turn.steps[-1].degradations[Kind.NOISE] == 28

        await pilot.press("ctrl+z")
        await settled(pilot)
        await pressed_in_time(pilot, door, "ctrl+r", "f8")
        assert "stopped" in said(screen)


async def test_ctrl_c_cancels_and_twice_quits(
    make_app: MakeApp, noisy_png: Path, door: threading.Event
) -> None:
    app = make_app(noisy_png)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pressed_in_time(pilot, door, "ctrl+r", "ctrl+c")
        assert "the session is as it was" in said(screen)
        assert not screen.session.tree.turns
        # The question is gone with the run that asked it.
        await restoring(app, pilot)
        await asked(app, pilot)
        app._interrupted = float("-inf")
        await pilot.press("ctrl+c")
        await until(pilot, lambda: app.screen is screen)
        await settled(pilot)
        door.clear()
        app._interrupted = float("-inf")
        await pilot.press("ctrl+r", "ctrl+c")
        assert app.is_running
        await pilot.press("ctrl+c")
        door.set()
        await until(pilot, lambda: not app.is_running)
    bridge = app.bridges[0]
    bridge.close()
    assert bridge.join(60)
    # A session in which nothing was done leaves nothing.
    assert not noisy_png.with_name("noisy.session").exists()
