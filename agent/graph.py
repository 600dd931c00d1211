"""The graph: inspect -> plan -> act -> score -> judge -> (act | plan | finish)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from conservator.agent.context import RunContext
from conservator.agent.nodes.act import act
from conservator.agent.nodes.finish import finish
from conservator.agent.nodes.inspect import inspect
from conservator.agent.nodes.judge import judge
from conservator.agent.nodes.plan import plan
from conservator.agent.nodes.score import score
from conservator.agent.routing import after_act, after_judge, after_plan
from conservator.agent.state import RunState

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph

__all__ = ["Node", "Update", "compile_graph"]

Update = Mapping[str, Any]
Node = Callable[[RunState, RunContext], Update]


def compile_graph(
    checkpointer: BaseCheckpointSaver[Any] | None = None,
) -> CompiledStateGraph[RunState, RunContext, RunState, RunState]:
    """The graph with these checkpoints."""
    return _built().compile(checkpointer=checkpointer)


@cache
def _built() -> StateGraph[RunState, RunContext, RunState, RunState]:
    """Nodes and edges, which are the same for every run."""
    graph = StateGraph(RunState, context_schema=RunContext)
    for node in (inspect, plan, act, score, judge, finish):
        graph.add_node(node.__name__, _timed(node))
    graph.add_edge(START, "inspect")
    graph.add_edge("inspect", "plan")
    graph.add_conditional_edges("plan", after_plan, ["act", "finish"])
    graph.add_conditional_edges("act", after_act, ["score", "act", "plan", "finish"])
    graph.add_edge("score", "judge")
    graph.add_conditional_edges("judge", after_judge, ["act", "plan", "finish"])
    graph.add_edge("finish", END)
    return graph


class _GraphNode(Protocol):
    def __call__(self, state: RunState, *, runtime: Runtime[RunContext]) -> dict[str, Any]: ...


def _timed(node: Node) -> _GraphNode:
    """A node with its seconds in the state, and a look at the caller's wish to stop before it begins."""

    def run(state: RunState, *, runtime: Runtime[RunContext]) -> dict[str, Any]:
        context = runtime.context
        context.raise_if_cancelled()
        context.drain()
        with context.timed(f"node.{node.__name__}"):
            update = dict(node(state, context))
        update["timing"] = context.drain()
        spent = update.get("spent", state["spent"])
        update["spent"] = spent.model_copy(update={"seconds": context.clock.elapsed()})
        return update

    return run
