"""The graph: inspect -> plan -> act -> score -> judge -> (act | plan | finish).

Where a caller steers the run, `heed` stands before each plan and each call; where a person is asked, `approve` stands before each call:
(plan | judge | act) -> heed -> (plan | approve -> act | finish).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from conservator.agent.context import RunContext
from conservator.agent.nodes.act import act
from conservator.agent.nodes.approve import approve
from conservator.agent.nodes.finish import finish
from conservator.agent.nodes.heed import heed
from conservator.agent.nodes.inspect import inspect
from conservator.agent.nodes.judge import judge
from conservator.agent.nodes.plan import plan
from conservator.agent.nodes.score import score
from conservator.agent.routing import (
    after_act,
    after_approve,
    after_heed,
    after_judge,
    after_plan,
)
from conservator.agent.state import RunState

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

__all__ = ["Node", "Update", "compile_graph"]

Update = Mapping[str, Any]
Node = Callable[[RunState, RunContext], Update]


def compile_graph(
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    *,
    heeds: bool = False,
    asks: bool = False,
) -> CompiledStateGraph[RunState, RunContext, RunState, RunState]:
    """The graph with these checkpoints.

    Args:
        checkpointer: keeps the state after each node; a graph that asks needs one.
        heeds: take up what the caller says.
        asks: interrupt before the calls that a person wants to see.
    """
    return _built(heeds, asks).compile(checkpointer=checkpointer)


@cache
def _built(heeds: bool, asks: bool) -> StateGraph[RunState, RunContext, RunState, RunState]:
    """Nodes and edges. All nodes are in every graph, so that a run can be resumed by another one than it began with."""
    graph = StateGraph(RunState, context_schema=RunContext)
    for node in (inspect, plan, act, score, judge, finish, heed, approve):
        graph.add_node(node.__name__, _timed(node))
    make = "approve" if asks else "act"
    to_make, to_plan = ("heed", "heed") if heeds else (make, "plan")
    steps: dict[Hashable, str] = {"act": to_make, "plan": to_plan, "finish": "finish"}
    ends: dict[Hashable, str] = {"act": to_make, "finish": "heed" if heeds else "finish"}
    graph.add_edge(START, "inspect")
    graph.add_edge("inspect", to_plan)
    graph.add_conditional_edges("plan", after_plan, ends)
    graph.add_conditional_edges("act", after_act, {"score": "score", **steps})
    graph.add_edge("score", "judge")
    graph.add_conditional_edges("judge", after_judge, steps)
    graph.add_conditional_edges("heed", after_heed, {**steps, "act": make, "plan": "plan"})
    answered: dict[Hashable, str] = {"act": "act", "approve": "approve", "plan": to_plan}
    graph.add_conditional_edges("approve", after_approve, answered)
    graph.add_edge("finish", END)
    return graph


class _GraphNode(Protocol):
    def __call__(self, state: RunState, *, runtime: Runtime[RunContext]) -> dict[str, Any]: ...


def _timed(node: Node) -> _GraphNode:
    """A node with its seconds in the state, and a look at the caller's wish to stop before it begins."""

    def run(state: RunState, *, runtime: Runtime[RunContext]) -> dict[str, Any]:
        context = runtime.context
        context.raise_if_cancelled()
        if node is heed:
            context.rest()
        context.drain()
        with context.timed(f"node.{node.__name__}"):
            update = dict(node(state, context))
        update["timing"] = context.drain()
        spent = update.get("spent", state["spent"])
        update["spent"] = spent.model_copy(update={"seconds": context.clock.elapsed()})
        return update

    return run
