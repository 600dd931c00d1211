"""A dialogue as one HTML page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from conservator.agent.dialogue.state import SessionState
from conservator.agent.dialogue.treatment import Untouched
from conservator.agent.dialogue.tree import Tree, Turn
from conservator.agent.dialogue.wording import listed, step_words, wish_words
from conservator.agent.recipe import Recipe, RecipeStep
from conservator.agent.report.comparison import compared, missing
from conservator.agent.report.nodes import Fact, Node, attempt_nodes, gain_words, who
from conservator.agent.report.page import template
from conservator.agent.report.pictures import Album, Samples, Shown
from conservator.agent.report.record import RunRecord
from conservator.agent.report.run_page import (
    STYLE,
    file_name,
    named_steps,
)
from conservator.agent.report.table import Table
from conservator.agent.report.tables import (
    arrows,
    asked_table,
    checks_table,
    condition_table,
    guards_table,
    scores_table,
)
from conservator.agent.report.words import found_words, outcome_words
from conservator.policies.attempt import ORIGINAL
from conservator.restorers.degradations.vocabulary import ConditionReport

__all__ = ["SessionMaterial", "session_page"]

_FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class SessionMaterial:
    """What the page of a dialogue is made from.

    Attributes:
        state: the turns and where the dialogue is.
        folder: its folder; None where only the report is left.
        pictures: node -> pixels, as far as they are there.
        runs: turn -> its automatic run.
        earlier: content hash -> data URI of a preview in an earlier page.
    """

    state: SessionState
    folder: Path | None = None
    pictures: Mapping[str, Samples] = field(default_factory=dict, repr=False)
    runs: Mapping[str, RunRecord] = field(default_factory=dict, repr=False)
    earlier: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class TurnView:
    """A turn as the page tells it.

    Attributes:
        node: its place in the tree, with verdict and picture.
        words: the user's, "" for the automatic run.
        answer: what the dialogue said.
        run: how the automatic run ended, "" without one.
        attempts: of the automatic run.
        asked: questions to a vision-language model, None without any.
    """

    node: Node
    words: str
    answer: tuple[str, ...]
    run: str = ""
    attempts: tuple[Node, ...] = ()
    asked: Table | None = None


def session_page(material: SessionMaterial) -> tuple[str, Album]:
    """The page, and the pictures that are in it and that are not.

    Raises:
        BackendMissingError: jinja2 is not installed.
    """
    state, folder = material.state, material.folder
    tree, request = state.tree, state.request
    album = _filled(material)
    names = {node: _label(tree, node) for node in (ORIGINAL, *(t.id for t in tree.turns))}
    thumbnails = {
        node: small for node, name in names.items() if (small := album.thumbnail(name)) is not None
    }
    turns = [_turn(turn, material, thumbnails) for turn in tree.turns]
    recipe = _recipe(state)
    page = template(_FOLDER, "session.html.j2", STYLE)
    html = page.render(
        file=file_name(request),
        folder="" if folder is None else folder.name,
        title=_where(tree),
        story=list(_story(state)),
        facts=_facts(state),
        branches=sorted(tree.branches.items()),
        compared=compared(album, names, material.pictures, tree.here, file=file_name(request)),
        missing=list(missing(album)),
        tree=[_root(tree, thumbnails), *(view.node for view in _in_order(tree, turns))],
        turns=turns,
        tables=_tables(state),
        scene="" if state.report is None else state.report.scene,
        steps=named_steps(recipe),
        replay=_replay(folder),
        recipe=recipe.model_dump_json(indent=1),
        asked_for=[
            ("input, sha256", request.input_id),
            ("conservator", recipe.conservator),
            ("policy", request.preset.name),
            ("seed", str(request.seed)),
            ("device", request.device),
        ],
        policy=json.dumps(request.preset.model_dump(mode="json"), indent=1, ensure_ascii=False),
        resume="" if folder is None else f"conservator chat --run-dir {shlex.quote(folder.name)}",
    )
    return html, album


def _label(tree: Tree, node: str) -> str:
    if node == ORIGINAL:
        return "input"
    return f"{node}, here" if node == tree.here else node


def _filled(material: SessionMaterial) -> Album:
    state, pictures = material.state, material.pictures
    album = Album(earlier=material.earlier)
    original = pictures.get(ORIGINAL)
    album.add(_label(state.tree, ORIGINAL), state.request.input_id, original)
    for turn in state.tree.turns:
        # A turn that took everything back shows the input.
        key = turn.artifact or state.request.input_id
        samples = pictures.get(turn.id) if turn.artifact else original
        album.add(_label(state.tree, turn.id), key, samples)
    return album


def _where(tree: Tree) -> str:
    count = len(tree.turns)
    turns = "no turn yet" if not count else f"{count} turn{'' if count == 1 else 's'}"
    on = f", on branch {tree.on}" if tree.on else ""
    place = "the photo as it came in" if tree.here == ORIGINAL else tree.here
    return f"A dialogue of {turns}; it is at {place}{on}"


def _story(state: SessionState) -> Iterator[str]:
    tree = state.tree
    if state.report is not None:
        yield f"Found on the input: {found_words(state.report)}."
    path = tree.path()
    said = [f"“{turn.words}”" if turn.words else turn.instruction for turn in path]
    if said:
        yield f"What led here: {', then '.join(said)}."
    if tree.undone:
        yield f"Undone, and back with redo: {listed(list(reversed(tree.undone)))}."
    here = tree.turn(tree.here)
    if here is not None and here.measurement is not None and here.measurement.gain is not None:
        yield f"Expected gain over the input: {gain_words(here.measurement.gain)}."


def _facts(state: SessionState) -> list[tuple[str, str, str]]:
    tree = state.tree
    seconds = sum(turn.seconds for turn in tree.turns)
    asked = [one for turn in tree.turns for one in turn.asked]
    facts = [
        ("policy", state.request.preset.name, ""),
        ("turns", str(len(tree.turns)), f"{len(tree.branches)} branches"),
        ("time in turns", f"{seconds:.1f} s", ""),
    ]
    if asked:
        calls, tokens = sum(one.calls for one in asked), sum(one.tokens for one in asked)
        facts.append(("model calls", str(calls), f"{tokens} tokens"))
    return facts


def _root(tree: Tree, thumbnails: Mapping[str, Shown]) -> Node:
    return Node(
        anchor=f"node-{ORIGINAL}",
        id=ORIGINAL,
        depth=0,
        title="the untouched input",
        state="here" if tree.here == ORIGINAL else "",
        tone="good" if tree.here == ORIGINAL else "",
        kept=True,
        thumbnail=thumbnails.get(ORIGINAL),
    )


def _turn(turn: Turn, material: SessionMaterial, thumbnails: Mapping[str, Shown]) -> TurnView:
    tree = material.state.tree
    path = {one.id for one in tree.path()}
    node = Node(
        anchor=f"node-{turn.id}",
        id=turn.id,
        depth=len(tree.path(turn.id)),
        title="the automatic run" if turn.instruction == "restore" else f"“{turn.words}”",
        state=_state(turn.id, tree),
        tone="good" if turn.id in path else "",
        kept=turn.id in path,
        thumbnail=thumbnails.get(turn.id),
        facts=tuple(_turn_facts(turn, tree)),
        checks=None if turn.verdict is None else checks_table(turn.verdict),
    )
    run = material.runs.get(turn.id)
    return TurnView(
        node=node,
        words=turn.words,
        answer=tuple(arrows(line) for line in turn.said),
        run="" if run is None else outcome_words(run),
        attempts=()
        if run is None
        else attempt_nodes(
            run.attempts, run.best, {}, before=run.before.findings, prefix=f"{turn.id}-"
        ),
        asked=asked_table(turn.asked) if turn.asked else None,
    )


def _state(node: str, tree: Tree) -> str:
    """Where a turn lies as seen from where the dialogue is."""
    ends = [name for name, end in tree.branches.items() if end == node]
    if node == tree.here:
        state = "here"
    elif any(turn.id == node for turn in tree.path()):
        state = "on the way here"
    elif node in tree.undone:
        state = "undone"
    elif any(turn.id == node for end in tree.branches.values() for turn in tree.path(end)):
        state = "on another branch"
    else:
        state = "left"
    return f"{state}, end of {listed(ends)}" if ends else state


def _turn_facts(turn: Turn, tree: Tree) -> Iterator[Fact]:
    parent = tree.turn(turn.parent)
    yield "asked at", "the untouched input" if parent is None else turn.parent
    if turn.wishes:
        before = Untouched() if parent is None else parent.treatment
        lines = [line for wish in turn.wishes for line in wish_words(wish, before, turn.treatment)]
        reader = who("vlm") if turn.decided_by == "vlm" else "rule"
        yield f"understood, by {reader}", "\n".join(map(arrows, lines))
    for number, step in enumerate(turn.steps, 1):
        prompt = step.rendered_prompt if isinstance(step, RecipeStep) else ""
        yield f"step {number}", step_words(step) + (f"\nprompt: {prompt}" if prompt else "")
    measurement = turn.measurement
    if measurement is not None and measurement.gain is not None:
        yield "expected gain", gain_words(measurement.gain)
    if verdict := turn.verdict:
        held = "agrees" if verdict.accepted else "would have refused it"
        yield "the joint rule", f"{held}: {arrows(verdict.reason)}"
    yield "took", f"{turn.seconds:.1f} s"


def _in_order(tree: Tree, turns: list[TurnView]) -> Iterator[TurnView]:
    """Each turn before those that were asked at it; without recursion, a dialogue may be long."""
    views = {view.node.id: view for view in turns}
    waiting = [turn.id for turn in reversed(tree.children(ORIGINAL))]
    while waiting:
        node = waiting.pop()
        yield views[node]
        waiting += [turn.id for turn in reversed(tree.children(node))]


def _tables(state: SessionState) -> list[Table]:
    """The input against where the dialogue is."""
    here = state.tree.turn(state.tree.here)
    measurement = None if here is None else here.measurement
    found = state.report
    if found is None:
        found = ConditionReport(findings=() if state.baseline is None else state.baseline.findings)
    after = None if measurement is None else ConditionReport(findings=measurement.findings)
    tables = [condition_table(found, after)]
    if state.baseline is not None:
        scores = None if measurement is None else measurement.scores
        tables.append(scores_table(state.baseline.scores, scores))
    if measurement is not None and measurement.guards is not None:
        verdict = None if here is None else here.verdict
        tables.append(guards_table(measurement.guards, () if verdict is None else verdict.checks))
    return [table for table in tables if table.lines or table.note]


def _recipe(state: SessionState) -> Recipe:
    from conservator import __version__

    here = state.tree.turn(state.tree.here)
    return Recipe(
        conservator=__version__,
        input_id=state.request.input_id,
        policy=state.request.preset.name,
        steps=() if here is None else here.steps,
    )


def _replay(folder: Path | None) -> str:
    if folder is None:
        return "conservator replay recipe.json PHOTO..."
    name, export = shlex.quote(folder.name), shlex.quote(f"{folder.stem}.export")
    return f"conservator sessions export {name}\nconservator replay {export}/recipe.json PHOTO..."
