"""Starting, finding and stopping a server; a small program that speaks the protocol stands where vLLM would."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import openai_server
from conservator import BackendMissingError, MissingFileError, OutputError, UsageError
from conservator.agent.settings import Settings
from conservator.agent.vlm.endpoint import healthy, served_models
from conservator.agent.vlm.opening import open_vlm, resolved_spec
from conservator.agent.vlm.serve import (
    ServeOptions,
    Server,
    command_of,
    environment_of,
    running_server,
    start,
    stop,
)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(state_dir=tmp_path / "state", vlm="auto")
    yield settings
    stop(settings)


@pytest.fixture
def options(tmp_path: Path) -> ServeOptions:
    """A program in vLLM's place, a directory in the model's."""
    program = tmp_path / "vllm"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{openai_server.__file__}" "$@"\n')
    program.chmod(0o755)
    model = tmp_path / "model"
    model.mkdir()
    (model / "chat_template.jinja").write_text("{{ messages }}")
    return ServeOptions(model=str(model), name="seer", vllm=str(program), port=free_port())


def free_port() -> int:
    with openai_server.openai_server() as server:
        return int(server.url.split(":")[2].split("/")[0])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_from_start_to_stop(options: ServeOptions, settings: Settings) -> None:
    told: list[object] = []
    server = start(options, settings, on_started=lambda *words: told.extend(words))
    assert told == [list(server.command), Path(server.log)]
    assert served_models(server.url) == ("seer",)
    assert running_server(settings) == server
    assert resolved_spec("auto", settings) == "served"
    with pytest.raises(UsageError, match="runs already"):
        start(options, settings)
    assert stop(settings) == server
    assert not alive(server.pid)
    assert not healthy(server.url)
    assert running_server(settings) is None
    assert stop(settings) is None


def test_the_agent_finds_it(options: ServeOptions, settings: Settings) -> None:
    server = start(options, settings)
    chat = open_vlm("served", settings)
    assert chat is not None
    assert chat.invoke("Are you there?").text == "yes"
    assert chat.model_name == "seer"
    assert chat.url == server.url
    chat.http_client.close()


def test_only_the_process_it_started_is_stopped(settings: Settings, tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        # A process id is used again after its process ended: same number, another start.
        note = Server("http://127.0.0.1:1/v1", "seer", stranger.pid, "12345", ("vllm",), "log")
        folder = tmp_path / "state" / "vlm"
        folder.mkdir(parents=True)
        (folder / "server.json").write_text(json.dumps(note.__dict__))
        assert running_server(settings) is None
        assert stop(settings) is None
        time.sleep(0.2)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_workers_go_with_it(options: ServeOptions, settings: Settings, tmp_path: Path) -> None:
    pids = tmp_path / "worker"
    program = Path(str(options.vllm))
    program.write_text(
        program.read_text().replace("exec", f"sh -c 'echo $$ > {pids}; exec sleep 300' &\nexec")
    )
    start(options, settings)
    worker = int(pids.read_text())
    assert alive(worker)
    stop(settings)
    time.sleep(0.2)
    assert not alive(worker)


def test_what_ends_at_once_says_why(options: ServeOptions, settings: Settings) -> None:
    doomed = ServeOptions(**{**options.__dict__, "extra": ("--die",)})
    with pytest.raises(BackendMissingError, match=r"no GPU.*--cpu.*embedded"):
        start(doomed, settings)
    assert running_server(settings) is None


def test_what_never_gets_ready_is_stopped(options: ServeOptions, settings: Settings) -> None:
    deaf = ServeOptions(**{**options.__dict__, "extra": ("--deaf",)})
    seen: list[int] = []

    def remember(seconds: float) -> None:
        server = running_server(settings)
        assert server is not None
        seen.append(server.pid)

    with pytest.raises(BackendMissingError, match="not ready within 1 s"):
        start(deaf, settings, timeout_s=1.0, on_wait=remember)
    assert not alive(seen[0])
    assert running_server(settings) is None


def test_a_taken_port_is_refused(options: ServeOptions, settings: Settings) -> None:
    with openai_server.openai_server(port=options.port), pytest.raises(UsageError, match="--port"):
        start(options, settings)


def test_a_state_folder_that_is_none_is_named(options: ServeOptions, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="CONSERVATOR_STATE_DIR"):
        start(options, Settings(state_dir=file))


def test_no_vllm_is_a_missing_backend(options: ServeOptions, settings: Settings) -> None:
    gone = ServeOptions(**{**options.__dict__, "vllm": "no-such-vllm"})
    with pytest.raises(BackendMissingError, match=r"no-such-vllm.*CONSERVATOR_VLLM"):
        start(gone, settings)


def test_the_command_has_the_flags_that_matter(options: ServeOptions) -> None:
    command = command_of(ServeOptions(**{**options.__dict__, "tensor_parallel": 2}))
    given = dict(pairwise(command))
    assert command[1:3] == ["serve", options.model]
    assert given["--tool-call-parser"] == "hermes"
    assert given["--tensor-parallel-size"] == "2"
    assert json.loads(given["--structured-outputs-config"])["backend"] == "xgrammar"
    assert "--enable-prefix-caching" in command
    # A template that does not know tools is replaced; one that does is the model's own.
    assert Path(given["--chat-template"]).name == "chat_template.jinja"
    Path(options.model, "chat_template.jinja").write_text("{{ tools }}")
    assert "--chat-template" not in command_of(options)


def test_a_python_runs_the_server_as_a_module(options: ServeOptions) -> None:
    command = command_of(ServeOptions(**{**options.__dict__, "vllm": sys.executable, "cpu": True}))
    assert command[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    assert dict(pairwise(command))["--dtype"] == "float32"


def test_nothing_is_fetched_unless_asked(options: ServeOptions) -> None:
    absent = ServeOptions(**{**options.__dict__, "model": "nobody/nothing"})
    with pytest.raises(MissingFileError, match="--download"):
        command_of(absent)
    assert environment_of(absent)["HF_HUB_OFFLINE"] == "1"
    asked = ServeOptions(**{**options.__dict__, "model": "nobody/nothing", "download": True})
    assert "nobody/nothing" in command_of(asked)
    assert environment_of(asked)["HF_HUB_OFFLINE"] == "0"
