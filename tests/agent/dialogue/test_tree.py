"""The tree of a dialogue: undo, redo, branches."""

import pytest

from conservator.agent.dialogue.treatment import Untouched
from conservator.agent.dialogue.tree import Tree, Turn
from conservator.restorers.errors import UnknownNameError, UsageError


def grown(tree: Tree) -> Tree:
    return tree.grown(
        Turn(id=tree.next_id, parent=tree.here, instruction="refine", treatment=Untouched())
    )


def test_back_and_forth() -> None:
    tree = grown(grown(Tree()))
    assert tree.here == "t2"
    back = tree.undo().undo()
    assert back.here == "original"
    assert back.redo().here == "t1"
    assert back.redo().redo().here == "t2"
    with pytest.raises(UsageError, match="nothing to undo"):
        back.undo()
    with pytest.raises(UsageError, match="nothing to redo"):
        tree.redo()


def test_a_new_turn_begins_a_new_way() -> None:
    tree = grown(grown(grown(Tree())).undo())
    assert [(turn.id, turn.parent) for turn in tree.turns] == [
        ("t1", "original"),
        ("t2", "t1"),
        ("t3", "t1"),
    ]
    assert [turn.id for turn in tree.path()] == ["t1", "t3"]
    assert [turn.id for turn in tree.children("t1")] == ["t2", "t3"]
    with pytest.raises(UsageError):
        tree.redo()


def test_branches_move_with_their_turns() -> None:
    tree = grown(Tree()).branch("soft")
    tree = grown(tree)
    assert tree.branches == {"main": "t1", "soft": "t2"}
    tree = grown(tree.go("main"))
    assert (tree.here, tree.on, tree.branches) == ("t3", "main", {"main": "t3", "soft": "t2"})
    loose = grown(tree.go("t1"))
    assert (loose.here, loose.on) == ("t4", "")
    assert loose.branches == tree.branches
    assert tree.go("soft").here == "t2"


def test_names() -> None:
    tree = grown(Tree()).branch("soft")
    assert tree.node("here") == tree.node("soft") == tree.node("T1") == "t1"
    assert tree.node("input") == "original"
    for wrong in ("soft", "t7", "original", "here", "two words", "", "../up"):
        with pytest.raises(UsageError):
            tree.branch(wrong)
    with pytest.raises(UnknownNameError, match="t1"):
        tree.go("nowhere")


def test_it_reads_back() -> None:
    tree = grown(grown(Tree()).branch("soft")).undo()
    assert Tree.model_validate_json(tree.model_dump_json()) == tree
