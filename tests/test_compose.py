"""The compose file: what `conservator vlm serve` would run, and an agent that finds it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from conservator.agent.settings import Settings
from conservator.agent.vlm.opening import checked_spec
from conservator.agent.vlm.serve import DEFAULT_MODEL, ServeOptions, command_of

ROOT = Path(__file__).parents[1]


def plain(text: str) -> str:
    """With the defaults of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    data = yaml.safe_load(plain((ROOT / "compose.yaml").read_text()))
    assert set(data) == {"name", "services", "volumes"}
    return dict(data["services"])


def test_the_server_runs_with_our_flags(services: dict[str, Any], tmp_path: Path) -> None:
    program = tmp_path / "vllm"
    program.touch(mode=0o755)
    options = ServeOptions(model=DEFAULT_MODEL, vllm=str(program), host="0.0.0.0", download=True)
    model, *ours = command_of(options)[2:]
    words = {
        word: "" if index + 1 == len(ours) or ours[index + 1].startswith("--") else ours[index + 1]
        for index, word in enumerate(ours)
        if word.startswith("--")
    }
    served, *flags = services["vlm"]["command"]
    theirs = dict((word + "=").split("=")[:2] for word in flags)
    assert served == model == DEFAULT_MODEL == words.pop("--served-model-name")
    assert theirs.pop("--tensor-parallel-size") == "1"
    assert Path(theirs.pop("--chat-template")).name == Path(words.pop("--chat-template")).name
    assert theirs == words


def test_the_agent_asks_that_server(services: dict[str, Any]) -> None:
    agent, server = services["conservator"], services["vlm"]
    given = {
        name.removeprefix("CONSERVATOR_").lower(): value
        for name, value in agent["environment"].items()
        if name.startswith("CONSERVATOR_")
    }
    assert set(given) <= set(Settings.model_fields)
    assert checked_spec(given["vlm"]) == "served"
    assert given["vlm_url"] == "http://vlm:8000"
    assert "--port=8000" in server["command"]
    assert agent["depends_on"] == {"vlm": {"condition": "service_healthy"}}


def test_what_is_mounted_is_here(services: dict[str, Any]) -> None:
    named = yaml.safe_load((ROOT / "compose.yaml").read_text())["volumes"]
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in named or (ROOT / source).exists()
