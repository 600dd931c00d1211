"""What the screens look like at 80x24 and 140x45, as text; `CONSERVATOR_GOLDEN=write` writes the files anew.

Numbers are drawn as zeros: what instruments measure differs a little from machine to machine.
"""

from pathlib import Path

import pytest
from PIL import Image

from conservator import open_session
from conservator.agent.approval import Question
from conservator.agent.tui.modals.approve import ApproveStep
from conservator.agent.tui.modals.help import Help
from conservator.agent.tui.widgets.side import PANELS
from conservator.policies.attempt import ToolCall
from conservator.restorers.degradations.vocabulary import ConditionReport, Kind
from conservator.restorers.prompts.language import render
from conservator.restorers.prompts.model import RestorationPrompt
from tui_pilot import MakeApp, compare_golden, rendered, settled, until

GOLDEN = Path(__file__).parent / "screens"
SIZES = [(80, 24), (140, 45)]


def golden(name: str, size: tuple[int, int]) -> Path:
    return GOLDEN / f"{name}-{size[0]}x{size[1]}.txt"


@pytest.fixture(scope="session")
def kept(quick, noisy, tmp_path_factory: pytest.TempPathFactory, surroundings: Path) -> Path:
    """A session: restored, a little less, and another branch."""
    path = tmp_path_factory.mktemp("kept") / "astronaut.png"
    Image.fromarray(noisy).save(path)
    with open_session(path, policy=quick, vlm=None) as session:
        session.restore()
        session.refine("a bit less smoothing")
        session.undo()
        session.branch("soft")
        session.refine("remove the noise, sigma 40")
        return session.run_dir


@pytest.mark.parametrize("size", SIZES)
async def test_start(
    make_app: MakeApp, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    folder = home / "photos"
    (folder / "winter").mkdir(parents=True)
    for name, colour in (("one.png", "orange"), ("two.jpg", "purple")):
        Image.new("RGB", (60, 40), colour).save(folder / name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(folder)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "60\u00d740" in rendered(app))
        await until(pilot, lambda: "none yet" in rendered(app))
        await compare_golden(pilot, app, golden("start", size))


@pytest.mark.parametrize("size", SIZES)
async def test_session(make_app: MakeApp, kept: Path, size: tuple[int, int]) -> None:
    app = make_app(kept)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        await pilot.pause(0.2)
        await compare_golden(pilot, app, golden("session", size))
        await pilot.press("escape", "f1")
        await until(pilot, lambda: isinstance(app.screen, Help))
        await pilot.pause(0.2)
        await compare_golden(pilot, app, golden("help", size))


async def test_panels_one_at_a_time(make_app: MakeApp, kept: Path) -> None:
    app = make_app(kept)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for name in (*PANELS[1:], PANELS[0]):
            await pilot.press("f3")
            await compare_golden(pilot, app, golden(f"panel-{name}", (80, 24)))


@pytest.mark.parametrize("size", SIZES)
async def test_approval(make_app: MakeApp, size: tuple[int, int], tmp_path: Path) -> None:
    prompt = RestorationPrompt(degradations={Kind.NOISE: 18.1, Kind.JPEG: 40.0})
    call = ToolCall(restorer="llmra", prompt=prompt)
    question = Question(
        scope="each",
        report=ConditionReport(),
        calls=(call,),
        prompts=(render(prompt, "llmra"),),
        reason="noise medium, jpeg medium: llmra",
    )
    app = make_app(tmp_path)
    async with app.run_test(size=size) as pilot:
        app.push_screen(ApproveStep(question))
        await until(pilot, lambda: isinstance(app.screen, ApproveStep))
        await pilot.pause(0.2)
        shown = rendered(app)
        # What lies behind it is the start screen, which has its own picture.
        for told in ("Before this step", "noise", "sigma 18.1 medium", "quality 40", "Do it"):
            assert told in shown, shown
        assert "noise level is medium (sigma 18.1)" in " ".join(
            shown.replace("\u2502", " ").split()
        )
