"""The page of a dialogue: its turns, what was understood, branches, and what was undone."""

import json
from pathlib import Path

import numpy as np
import pytest

from conservator import open_session, write_report
from conservator.agent.errors import UsageError
from conservator.agent.report.writing import make_report
from conservator.policies.preset import Preset
from html_page import accessible, fetches_nothing_named, pixels_of, self_contained


@pytest.fixture(scope="module")
def talk(noisy: np.ndarray, quick: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dialogue: the automatic run, two wishes, one of them undone, a branch."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("talk")
    Image.fromarray(noisy).save(folder / "noisy.png")
    with open_session(folder / "noisy.png", policy=quick, vlm=None) as session:
        for line in (
            "restore",
            "a bit less on the left half",
            "undo",
            "branch <b>bold",
            "branch bold",
        ):
            try:
                session.say(line)
            except UsageError:
                assert line == "branch <b>bold"
        session.say('less noise "reduction" please')
        session.say("keep the grain")
        session.say("undo")
        assert len(session.tree.turns) == 4
        return session.run_dir


def test_the_turns_are_told(talk: Path) -> None:
    path = write_report(talk)
    assert path == talk / "report.html"
    text = path.read_text(encoding="utf-8")
    fetches_nothing_named(text)
    page = self_contained(text)
    accessible(page)
    tree = json.loads((talk / "session.json").read_bytes())["tree"]
    for turn in tree["turns"]:
        assert turn["words"] in page.text
        for line in turn["said"]:
            assert " ".join(line.replace("->", "→").split()) in page.text
        for step in turn["steps"]:
            assert step.get("rendered_prompt", "") in page.text
    for words in (
        "A dialogue of 4 turns; it is at t3, on branch bold",
        'What led here: restore, then “less noise "reduction" please”.',
        "Undone, and back with redo: t4.",
        "t4 “keep the grain” undone",
        "t2 “a bit less on the left half” left",
        "in the left half",
        "understood, by rule",
        "The automatic run of t1: Restored",
        "bold is at t3; main is at t1.",
        "conservator chat --run-dir noisy.session",
        "conservator replay noisy.export/recipe.json PHOTO...",
    ):
        assert words in page.text, words
    anchors = {a.get("id") for a in page.all("li")}
    assert {"node-t1", "node-t2", "node-t3", "node-t4", "node-t1-original", "node-t1-a1"} <= anchors


def test_each_turn_is_shown(talk: Path, noisy: np.ndarray, tmp_path: Path) -> None:
    page = self_contained(write_report(talk, tmp_path / "page.html").read_text())
    shown = {
        str(i["data-name"]): pixels_of(str(i["src"])) for i in page.all("img") if "data-name" in i
    }
    assert set(shown) == {"input", "t1", "t2", "t3, here", "t4"}
    with open_session(run_dir=talk, vlm=None) as session:
        for name, pixels in shown.items():
            node = "original" if name == "input" else name.partition(",")[0]
            kept = np.rint(session.picture_of(node).pixels * 255)
            assert np.abs(pixels - kept).mean() < 4, name
    assert np.abs(shown["t1"].astype(int) - noisy).mean() > 8


def test_a_session_and_its_folder_give_the_same_page(talk: Path, tmp_path: Path) -> None:
    with open_session(run_dir=talk, vlm=None) as session:
        one = write_report(session, tmp_path / "one.html")
    two = write_report(talk, tmp_path / "two.html")
    assert one.read_bytes() == two.read_bytes()


def test_an_exported_dialogue_has_no_pictures(talk: Path, tmp_path: Path) -> None:
    with open_session(run_dir=talk, vlm=None) as session:
        data = {**session.as_dict(), "request": {**session.as_dict()["request"], "input": None}}
    (tmp_path / "report.json").write_text(json.dumps(data))
    made = make_report(tmp_path / "report.json")
    assert made.kind == "dialogue" and len(made.gone) == 5
    assert "keep the grain" in made.path.read_text()


def test_damaged_dialogues(talk: Path, tmp_path: Path) -> None:
    state = json.loads((talk / "session.json").read_bytes())
    state["tree"]["turns"][0]["parent"] = "t1"
    (tmp_path / "session.json").write_text(json.dumps(state))
    with pytest.raises(UsageError, match="turn t1 was asked at 't1'"):
        write_report(tmp_path)
    (tmp_path / "session.json").write_text("{}")
    with pytest.raises(UsageError, match="does not read"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
