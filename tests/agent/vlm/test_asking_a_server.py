"""`vlm=` and `--vlm`: the run asks the server it is told of, and says so when nobody is there."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conservator import BackendMissingError, inspect, restore, resume
from conservator.agent.cli.main import main
from conservator.policies.preset import Preset
from openai_server import Reply, completion, openai_server, says

SEEN = json.dumps(
    {
        "scene": "a woman",
        "degradations": [{"kind": "noise", "level": "high", "value": 26, "confidence": 0.9}],
    }
)
BETTER = json.dumps({"better": "after", "remaining": [], "harm": [], "reason": "cleaner"})


def calls(name: str, **arguments: Any) -> Reply:
    function = {"name": name, "arguments": json.dumps(arguments)}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": function}],
    }
    return lambda request: (200, completion(message, "tool_calls", (100, 20)))


@pytest.fixture
def one(quick: Preset) -> Preset:
    return quick.model_copy(update={"max_attempts": 1})


def test_a_run_asks_the_address_it_is_given(noisy: np.ndarray, one: Preset) -> None:
    replies = (says(SEEN), calls("classical-nlm", noise=30.0), says(BETTER))
    with openai_server(*replies) as server:
        result = restore(noisy, policy=one, vlm=server.url)
    assert result.decided_by == "vlm"
    assert result.before.scene == "a woman"
    assert result.spent.vlm_calls == 3
    assert result.spent.vlm_tokens == 15 + 120 + 15
    assert result.vlm is not None and result.vlm.model == "seer"
    condition, plan, _ = server.requests
    assert condition["response_format"]["type"] == "json_schema"
    assert "classical-nlm" in {tool["function"]["name"] for tool in plan["tools"]}
    pictures = [b for b in condition["messages"][1]["content"] if b["type"] == "image_url"]
    assert all(b["image_url"]["url"].startswith("data:image/png;base64,") for b in pictures)


def test_a_setting_says_whom_to_ask(noisy: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    with openai_server(says(SEEN)) as server:
        monkeypatch.setenv("CONSERVATOR_VLM", "served")
        monkeypatch.setenv("CONSERVATOR_VLM_URL", server.url)
        assert inspect(noisy).scene == "a woman"
        assert inspect(noisy, vlm=None).scene == ""
    assert len(server.requests) == 1


def test_nobody_there_stops_a_run_before_it_begins(noisy_png: Path) -> None:
    with openai_server() as server:
        pass
    with pytest.raises(BackendMissingError, match=server.url):
        restore(noisy_png, vlm=server.url)
    assert [path.name for path in noisy_png.parent.iterdir()] == [noisy_png.name]


def test_a_resumed_run_asks_whom_it_asked_before(
    noisy_png: Path, one: Preset, tmp_path: Path
) -> None:
    replies = (says(SEEN), calls("classical-nlm", noise=30.0), says(BETTER))
    run = tmp_path / "run"
    with openai_server(*replies) as server:
        first = restore(noisy_png, policy=one, vlm=server.url, run_dir=run, max_tools=0)
        assert first.limit == "tools"
        result = resume(run, max_tools=5)
        assert result.decided_by == "vlm"
    request = json.loads((run / "request.json").read_text())
    assert request["vlm"] == server.url


def test_the_command_line_asks_too(
    noisy_png: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with openai_server(says(SEEN)) as server:
        assert main(["inspect", str(noisy_png), "--vlm", server.url, "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["scene"] == "a woman"
    assert main(["inspect", str(noisy_png), "--vlm", server.url]) == 3
    told = capfd.readouterr()
    assert not told.out
    assert server.url in told.err and "--vlm none" in told.err
    assert main(["restore", str(noisy_png), "--vlm", "gpt"]) == 2
    assert "unknown vision-language model 'gpt'" in capfd.readouterr().err


def test_the_doctor_tells_who_would_answer(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with openai_server() as server:
        monkeypatch.setenv("CONSERVATOR_VLM", "auto")
        monkeypatch.setenv("CONSERVATOR_VLM_URL", server.url)
        main(["doctor", "--json"])
        found = json.loads(capfd.readouterr().out)
    assert found["vlm"]["chosen"] == "served"
    assert found["vlm"]["models"] == ["seer"]
    main(["doctor", "--json"])
    found = json.loads(capfd.readouterr().out)
    assert any(server.url in problem for problem in found["problems"])


def test_status_and_stop_without_a_server(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["vlm", "status"]) == 3
    assert "no server runs" in capfd.readouterr().out
    assert main(["vlm", "stop"]) == 0
    assert "no server runs" in capfd.readouterr().err


def test_serving_without_vllm_is_exit_code_3(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["vlm", "serve", str(tmp_path), "--vllm", "no-such-vllm"]) == 3
    told = capfd.readouterr()
    assert not told.out
    assert len(told.err.strip().splitlines()) == 1
    assert "no-such-vllm" in told.err and "--vllm" in told.err
