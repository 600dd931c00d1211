"""The line that moves: its clock is the run's, which stands while it waits for the user."""

import pytest

from conservator.agent.tui.widgets import activity
from conservator.agent.tui.widgets.activity import Activity
from tui_pilot import MakeApp


async def test_the_clock_stands_while_the_user_is_waited_for(
    make_app: MakeApp, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0

    class Clock:
        monotonic = staticmethod(lambda: now)

    app = make_app(tmp_path)
    async with app.run_test() as pilot:
        line = Activity()
        await app.screen.mount(line)
        monkeypatch.setattr(activity, "time", Clock)
        assert line.seconds == 0
        line.begin("looking at the photo")
        now = 105.0
        assert line.seconds == 5
        line.stand()
        now = 165.0
        line.stand()
        assert line.seconds == 5
        assert not line.render().plain.endswith(" s")
        line.go()
        line.go()
        now = 167.0
        assert line.seconds == 7
        assert "7 s" in line.render().plain
        line.progress(1, 4)
        assert "25%" in line.render().plain
        line.end()
        assert line.seconds == 0
        assert "Esc" in line.render().plain
        await pilot.pause()
