"""The real application without a terminal, over the real agent, on a small noisy photo."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from conservator.agent.events import Event
from conservator.agent.settings import load_settings
from conservator.agent.tui.app import ConservatorApp
from conservator.agent.tui.bridge import Bridge
from conservator.agent.tui.graphics.drawing import HalfCells
from conservator.agent.tui.opening import Opening
from conservator.agent.tui.preferences import Preferences
from conservator.policies.preset import Preset
from tui_pilot import PATIENCE_S, MakeApp


@pytest.fixture(scope="session")
def quick_yaml(quick: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "quick.yaml"
    path.write_text(yaml.safe_dump(quick.model_dump(mode="json")))
    return path


@pytest.fixture
def make_app(
    quick_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeApp]:
    """The application as `launch` makes it, with half-cells and a quick policy."""
    monkeypatch.setenv("CONSERVATOR_STATE_DIR", str(tmp_path / "state"))
    made: list[ConservatorApp] = []

    def make(
        *paths: Path, preferences: Preferences | None = None, **opening: str
    ) -> ConservatorApp:
        app = ConservatorApp(
            Opening(**{"policy": str(quick_yaml), "vlm": "none", **opening}),
            HalfCells(),
            settings=load_settings(),
            preferences=preferences or Preferences(),
            paths=paths,
        )
        made.append(app)
        return app

    yield make
    for app in made:
        app.batch.close()
        for bridge in app.bridges:
            bridge.close()
        for bridge in app.bridges:
            bridge.join(PATIENCE_S)


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While it is cleared the agent waits after whatever it says next: keys cannot come too late."""
    open_ = threading.Event()
    open_.set()
    hear = Bridge._heard

    def heard(self: Bridge, event: Event) -> None:
        hear(self, event)
        assert open_.wait(PATIENCE_S)

    monkeypatch.setattr(Bridge, "_heard", heard)
    yield open_
    open_.set()
