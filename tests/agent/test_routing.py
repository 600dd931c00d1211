"""Routers are pure functions; the graph has the nodes and the edges of the design."""

import pytest

from conservator.agent.graph import compile_graph
from conservator.agent.routing import (
    after_act,
    after_approve,
    after_heed,
    after_judge,
    after_plan,
)
from conservator.agent.state import RunState, added, first_state, upserted
from conservator.policies.attempt import Attempt, ToolCall
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.model import RestorationPrompt

CALL = ToolCall(restorer="r", prompt=RestorationPrompt(degradations={Kind.NOISE: 25}))


def made(status: str = "made", name: str = "a1") -> Attempt:
    return Attempt.model_validate({"id": name, "call": CALL, "status": status})


def state(**changes: object) -> RunState:
    return RunState(**{**first_state(), **changes})  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("changes", "goal"),
    [
        ({}, "finish"),
        ({"queue": (CALL,)}, "act"),
        ({"queue": (CALL,), "limit": "tools"}, "finish"),
        ({"queue": (CALL,), "dry_run": True}, "finish"),
    ],
)
def test_after_plan(changes: dict, goal: str) -> None:
    assert after_plan(state(**changes)) == goal


@pytest.mark.parametrize(
    ("changes", "goal"),
    [
        ({"attempts": (made(),)}, "score"),
        ({"attempts": (made("failed"),)}, "plan"),
        ({"attempts": (made("failed"),), "queue": (CALL,)}, "act"),
        ({"attempts": (made("judged"),), "limit": "seconds"}, "finish"),
        ({"limit": "seconds"}, "finish"),
    ],
)
def test_after_act(changes: dict, goal: str) -> None:
    assert after_act(state(**changes)) == goal


@pytest.mark.parametrize(
    ("changes", "goal"),
    [({}, "plan"), ({"queue": (CALL,)}, "act"), ({"queue": (CALL,), "limit": "tools"}, "finish")],
)
def test_after_judge(changes: dict, goal: str) -> None:
    assert after_judge(state(**changes)) == goal


@pytest.mark.parametrize(
    ("changes", "goal"),
    [
        ({}, "plan"),
        ({"queue": (CALL,)}, "act"),
        ({"exhausted": True}, "finish"),
        ({"queue": (CALL,), "limit": "tools"}, "finish"),
    ],
)
def test_after_heed(changes: dict, goal: str) -> None:
    assert after_heed(state(**changes)) == goal


@pytest.mark.parametrize(
    ("changes", "goal"),
    [
        ({}, "plan"),
        ({"queue": (CALL,)}, "approve"),
        ({"queue": (CALL,), "approved": True}, "act"),
    ],
)
def test_after_approve(changes: dict, goal: str) -> None:
    assert after_approve(state(**changes)) == goal


def test_reducers() -> None:
    attempts = upserted((made(name="a1"), made(name="a2")), (made("judged", "a1"),))
    assert [(a.id, a.status) for a in attempts] == [("a1", "judged"), ("a2", "made")]
    assert added({"x": 1.0}, {"x": 2.0, "y": 1.0}) == {"x": 3.0, "y": 1.0}


def edges(**ways: bool) -> set[tuple[str, str]]:
    """The edges that a run may take."""
    drawn = {(edge.source, edge.target) for edge in compile_graph(**ways).get_graph().edges}
    reached, before = {"__start__"}, set[str]()
    while reached != before:
        before = set(reached)
        reached |= {target for source, target in drawn if source in before}
    return {(source, target) for source, target in drawn if source in reached}


def test_graph_is_the_designed_one() -> None:
    assert edges() == {
        ("__start__", "inspect"),
        ("inspect", "plan"),
        ("plan", "act"),
        ("plan", "finish"),
        ("act", "score"),
        ("act", "act"),
        ("act", "plan"),
        ("act", "finish"),
        ("score", "judge"),
        ("judge", "act"),
        ("judge", "plan"),
        ("judge", "finish"),
        ("finish", "__end__"),
    }


def test_a_run_that_asks_asks_before_each_call() -> None:
    asking = edges(asks=True)
    assert {source for source, target in asking if target == "act"} == {"approve"}
    assert {target for source, target in asking if source == "approve"} == {
        "act",
        "approve",
        "plan",
    }


def test_a_run_that_is_steered_listens_before_each_plan_and_call() -> None:
    steered = edges(heeds=True)
    for goal in ("plan", "act"):
        assert {source for source, target in steered if target == goal} == {"heed"}
    both = edges(heeds=True, asks=True)
    assert {source for source, target in both if target == "act"} == {"approve"}
    assert {source for source, target in both if target == "approve"} == {"heed", "approve"}
