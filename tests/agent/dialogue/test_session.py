"""A conversation about a small real photo, with real restorers."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from conservator import Session, open_session, replay
from conservator.agent import events
from conservator.agent.dialogue.state import read_state
from conservator.agent.dialogue.treatment import (
    Mix,
    Treat,
    Untouched,
    recipe_steps,
    showing,
    strengths,
)
from conservator.agent.dialogue.tree import Turn
from conservator.agent.errors import (
    CancelledError,
    InputError,
    OutputError,
    PromptError,
    UnknownNameError,
    UsageError,
)
from conservator.agent.sessions import RunFolder
from conservator.policies.preset import Preset
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.regions import Region
from scripted_chat import ScriptedChat, says


@pytest.fixture
def session(dim_png: Path, plain: Preset, tmp_path: Path) -> Session:
    return open_session(dim_png, policy=plain, run_dir=tmp_path / "talk", vlm=None)


def brightness(session: Session, node: str = "here") -> float:
    return float(session.picture_of(node).pixels.mean())


def noise(session: Session) -> float:
    turn = session.here
    assert turn is not None and turn.measurement is not None
    finding = turn.measurement.finding(Kind.NOISE)
    assert finding is not None
    return finding.value


def done(session: Session, words: str) -> Turn:
    turn = session.say(words).turn
    assert turn is not None
    return turn


def test_eight_turns_as_a_person_expects(
    session: Session, dim_png: Path, dim: np.ndarray, tmp_path: Path
) -> None:
    """The scripted dialogue of the issue."""
    start = brightness(session)
    first = done(session, "restore")
    assert first.run and first.verdict is not None and first.verdict.accepted
    assert Kind.NOISE in strengths(first.treatment)
    clean = noise(session)
    restored = brightness(session)

    done(session, "too dark")
    brighter = brightness(session)
    assert brighter > restored + 0.02 and brighter > start

    done(session, "too bright now")
    between = brightness(session)
    # Neither of the two pictures that were refused.
    assert restored + 0.005 < between < brighter - 0.005

    session.say("undo")
    assert session.tree.here == "t2"
    assert brightness(session) == pytest.approx(brighter)

    kept = done(session, "keep the grain")
    assert Kind.NOISE not in strengths(kept.treatment)
    assert noise(session) > clean + 5
    # Nobody asked for other light: the tone curve is the one that was chosen before.
    assert brightness(session) == pytest.approx(brighter, abs=0.02)

    before = session.array.copy()
    left = done(session, "less on the left half")
    assert isinstance(left.treatment, Mix)
    change = np.abs(session.array - before).mean(axis=2)
    assert change[:, :50].mean() > 0.02
    assert change[:, 70:].max() < 1e-6
    assert session.array[:, :50].mean() < before[:, :50].mean()

    why = "\n".join(session.say("why").said)
    for words in ("less on the left half", "found on the input", "prompt:", "joint rule"):
        assert words in why

    compared = session.say("compare original t5")
    assert compared.path is not None
    with Image.open(compared.path) as page:
        assert page.width > 400
    assert any("brightness" in line for line in compared.said)

    end = session.say("I am satisfied")
    assert end.ended and end.satisfied
    saved = session.save()
    assert saved == dim_png.with_name("dim.restored.png")
    np.testing.assert_array_equal(np.asarray(Image.open(dim_png)), dim)
    result = np.asarray(Image.open(saved))
    np.testing.assert_array_equal(result, np.rint(session.array * 255))

    # The treatment replays to the same bytes.
    again = replay(session.recipe(), dim_png, output=tmp_path / "again.png")
    assert not isinstance(again, tuple)
    assert (tmp_path / "again.png").read_bytes() == saved.read_bytes()


def test_what_the_user_asks_for_is_done_and_judged_honestly(session: Session) -> None:
    reply = session.refine("remove the haze, beta 1.8")
    assert reply.turn is not None and reply.turn.verdict is not None
    assert not reply.turn.verdict.accepted
    assert "done as asked" in "\n".join(reply.said)
    assert "would have refused it" in "\n".join(reply.said)
    assert strengths(reply.turn.treatment) == {Kind.HAZE: 1.8}


def test_light_goes_the_way_the_user_says(session: Session) -> None:
    """However far: the restorer's choice of a curve, which depends on the stops, is kept."""
    first = done(session, "brighten by 0.4 stops").treatment
    assert isinstance(first, Treat) and first.configuration in ("gamma", "shift", "exposure")
    before = brightness(session)
    for _ in range(6):
        turn = done(session, "brighter")
        assert brightness(session) > before
        before = brightness(session)
        assert isinstance(turn.treatment, Treat)
        assert turn.treatment.configuration == first.configuration
    for _ in range(3):
        done(session, "less light")
        assert brightness(session) < before
        before = brightness(session)


def test_what_is_not_understood_is_said(session: Session) -> None:
    reply = session.say("what is the weather like tomorrow")
    assert not reply.understood and reply.turn is None
    assert "I do not understand" in reply.said[0]
    place = session.say("less smoothing on the trees")
    assert place.turn is None and "'trees'" in place.said[0]
    assert "left" in place.said[0]
    with open_session(data.coffee()[::4, ::4], vlm=None) as other:
        for sky in ("brighter in the sky", "brighter except the sky"):
            with pytest.raises(PromptError, match="cannot find a sky"):
                other.say(sky)
    with pytest.raises(PromptError, match="too long"):
        session.say("dark " * 200)
    darker = session.say("too bright")
    assert darker.turn is None and "do not darken" in darker.said[0]
    assert session.say("perfect").turn is None
    assert "nothing is treated here yet" in session.say("too strong").said[0]
    assert "question" in session.say("is the noise gone?").said[0]
    assert not session.tree.turns
    partly = session.say("brighter, but what is the weather like")
    assert partly.turn is not None and "weather" in "\n".join(partly.said)


def test_what_the_photo_shows_is_told_to_who_reads_it(session: Session, plain: Preset) -> None:
    reply = session.say("it is a zebra")
    assert reply.turn is not None and reply.turn.wishes[0].shows == "a zebra"
    assert "it shows a zebra; no restorer that is used here reads that" in reply.said[0]
    # What is wrong with it is nothing that it shows.
    for words in ("it is a bit too dark", "it is a noisy photo"):
        turn = done(session, words)
        assert turn.wishes[0].kinds and not turn.wishes[0].shows, words
    session.say("it is a horse, brighter")
    assert session.here is not None
    assert [wish.shows for wish in session.here.wishes] == ["a horse", ""]
    session.say("undo")
    # The one restorer that reads scenes needs weights; what it would be told shows without them.
    cards = catalog.cards()
    step = Treat(
        source=Untouched(),
        restorer="spire",
        configuration="compact",
        prompt=RestorationPrompt(degradations={Kind.NOISE: 20}),
    )
    mixed = Mix(under=step, over=Untouched(), region=Region(name="left", box=(0, 0, 0.5, 1)))
    told = showing(mixed, "a zebra", cards)
    assert isinstance(told, Mix) and isinstance(told.under, Treat)
    assert told.under.prompt.semantic == "a zebra"
    assert recipe_steps(told) != recipe_steps(mixed)
    other = step.model_copy(update={"restorer": "llmra"})
    assert showing(other, "a zebra", cards) == other


def test_what_the_user_settled_stays_in_an_automatic_run(session: Session) -> None:
    session.say("keep the grain")
    assert session.here is not None and not session.here.artifact
    turn = done(session, "restore")
    assert Kind.NOISE not in strengths(turn.treatment)
    assert "left as you set it: noise" in turn.said
    session.say("remove the noise")
    assert session.here is not None and Kind.NOISE in strengths(session.here.treatment)


def test_the_mood_is_kept_as_in_a_run(session: Session) -> None:
    reply = session.say("keep the mood")
    assert reply.turn is not None and reply.turn.wishes[0].changes == {Kind.LOW_LIGHT: "off"}
    assert Kind.LOW_LIGHT not in strengths(done(session, "restore").treatment)


def test_a_run_goes_on_from_the_node(session: Session) -> None:
    first = done(session, "brighter")
    turn = done(session, "restore")
    assert turn.parent == "t1"
    assert set(strengths(turn.treatment)) > set(strengths(first.treatment))
    assert turn.verdict is not None
    assert strengths(turn.treatment)[Kind.LOW_LIGHT] == strengths(first.treatment)[Kind.LOW_LIGHT]


def test_a_part_can_be_left_as_it_came_in(session: Session, dim: np.ndarray) -> None:
    session.say("brighter")
    session.say("keep the left half")
    np.testing.assert_array_equal(np.rint(session.array[:, :50] * 255), dim[:, :50])
    session.say("brighter")
    np.testing.assert_array_equal(np.rint(session.array[:, :50] * 255), dim[:, :50])
    session.say("restore")
    np.testing.assert_array_equal(np.rint(session.array[:, :50] * 255), dim[:, :50])
    assert np.abs(np.rint(session.array[:, 70:] * 255) - dim[:, 70:]).mean() > 5


def test_a_box_and_a_face(session: Session) -> None:
    before = session.array.copy()
    session.say("brighter in the box 0,0,30,30")
    change = np.abs(session.array - before).mean(axis=2)
    assert change[:25, :25].mean() > 0.02 > change[40:, 40:].max()


def test_branches_and_comparisons(session: Session) -> None:
    session.say("brighter")
    session.say("branch soft")
    session.say("a bit less")
    assert brightness(session, "main") > brightness(session, "soft")
    comparison = session.compare("main", "soft")
    assert (comparison.first, comparison.second) == ("t1", "t2")
    assert comparison.brightness[0] > comparison.brightness[1]
    assert comparison.guards.residual > 1
    session.say("go main")
    assert session.tree.here == "t1"
    with pytest.raises(UnknownNameError, match="t2"):
        session.say("go t9")
    with pytest.raises(UsageError, match="already"):
        session.say("branch soft")
    assert any("[main]" in line for line in session.say("tree").said)


def test_it_goes_on_where_it_was(session: Session, dim_png: Path, plain: Preset) -> None:
    session.say("brighter")
    session.say("undo")
    again = open_session(run_dir=session.run_dir, vlm=None)
    assert again.tree == session.tree
    again.say("redo")
    np.testing.assert_array_equal(again.array, session.picture_of("t1").pixels)
    with pytest.raises(UsageError, match="another process"):
        session.say("brighter")
    with pytest.raises(UsageError, match="policy"):
        open_session(run_dir=session.run_dir, policy="fast", vlm=None)
    assert open_session(dim_png, run_dir=session.run_dir, policy=plain, vlm=None).tree.turns
    Image.new("RGB", (50, 50)).save(dim_png)
    with pytest.raises(UsageError, match="another photo"):
        open_session(dim_png, run_dir=session.run_dir, vlm=None)
    with pytest.raises(InputError, match="changed"):
        open_session(run_dir=session.run_dir, vlm=None)


def test_pixels_need_no_file(dim: np.ndarray, plain: Preset, tmp_path: Path) -> None:
    with open_session(dim, policy=plain, vlm=None) as session:
        folder = session.run_dir
        session.say("brighter")
        assert session.image.size == (120, 96)
        with pytest.raises(UsageError, match="give save a path"):
            session.save()
        assert session.save(tmp_path / "out.png").is_file()
        again = open_session(run_dir=folder, vlm=None)
        np.testing.assert_array_equal(again.array, session.array)
    assert not folder.exists()


def test_files_of_others_are_spared(session: Session, dim_png: Path, tmp_path: Path) -> None:
    session.say("brighter")
    other = tmp_path / "mine.png"
    other.write_bytes(b"somebody's")
    for target in (other, dim_png):
        with pytest.raises(OutputError):
            session.save(target)
    assert other.read_bytes() == b"somebody's"
    own = session.save(tmp_path / "out.png")
    session.say("a bit less")
    before = own.read_bytes()
    assert session.save(own).read_bytes() != before
    own.write_bytes(b"changed since")
    with pytest.raises(OutputError):
        session.save(own)
    assert session.save(own, overwrite=True).is_file()


def test_an_unused_session_leaves_nothing(dim_png: Path, plain: Preset) -> None:
    with open_session(dim_png, policy=plain, vlm=None) as session:
        folder = session.run_dir
        assert folder == dim_png.with_name("dim.session")
        assert folder.is_dir()
    assert not folder.exists()


def test_a_cancelled_turn_leaves_the_session_as_it_was(session: Session) -> None:
    session.say("brighter")
    before = read_state(session.run_dir)
    asked = threading.Event()
    asked.set()
    for words in ("restore", "remove the noise"):
        with pytest.raises(CancelledError, match="as it was"):
            session.say(words, cancel=asked)
    assert read_state(session.run_dir).tree == before.tree
    assert not list((session.run_dir / "runs").iterdir())
    assert session.say("remove the noise").turn is not None


def test_events_tell_of_each_turn(dim_png: Path, plain: Preset, tmp_path: Path) -> None:
    heard: list[events.Event] = []
    session = open_session(
        dim_png, policy=plain, run_dir=tmp_path / "talk", vlm=None, on_event=heard.append
    )
    session.say("brighter")
    names = [event.name for event in heard]
    assert names[0] == "TurnStarted" and names[-1] == "TurnFinished"
    assert "ToolStarted" in names and "ToolFinished" in names
    assert isinstance(heard[-1], events.TurnFinished) and heard[-1].turn == session.here
    heard.clear()
    session.say("restore")
    assert {"TurnStarted", "RunStarted", "Inspected", "Judged", "TurnFinished"} <= {
        event.name for event in heard
    }


def test_the_model_reads_what_the_rules_do_not(
    dim_png: Path, plain: Preset, tmp_path: Path
) -> None:
    chat = ScriptedChat(
        says(changes=[{"kind": "noise", "change": "add"}]),
        says(changes=[{"kind": "snow", "change": "add"}]),
    )
    session = open_session(dim_png, policy=plain, run_dir=tmp_path / "talk", vlm=chat)
    turn = done(session, "brighter")
    assert turn.decided_by == "policy" and not chat.asked
    turn = done(session, "it feels like sandpaper")
    assert turn.decided_by == "vlm" and Kind.NOISE in strengths(turn.treatment)
    assert [asked.question for asked in turn.asked] == ["refine"]
    assert "vision-language model reads" in "\n".join(turn.said)
    assert "vision-language model" in "\n".join(session.why())
    # What was neither found nor named is not believed, and without an answer there is nothing to believe.
    for words in ("it feels like a holiday", "let there be music"):
        reply = session.say(words)
        assert not reply.understood and reply.turn is None
    assert len(chat.asked) == 3


def test_the_file_is_whole_json(session: Session) -> None:
    session.say("less noise on the left half")
    kept = json.loads((session.run_dir / "session.json").read_text())
    assert kept["tree"]["here"] == "t1"
    assert kept["tree"]["turns"][0]["treatment"]["what"] == "mix"
    assert json.loads(json.dumps(session.as_dict()))["tree"] == kept["tree"]
    assert not list(session.run_dir.rglob("*.part"))
    wanted = {step.artifact for step in read_state(session.run_dir).made.values()}
    assert {path.stem for path in (session.run_dir / "artifacts").iterdir()} == wanted


def test_a_picture_that_is_gone_is_made_again(session: Session) -> None:
    session.say("brighter")
    first = session.array.copy()
    session.say("remove the noise")
    session.say("undo")
    made = read_state(session.run_dir).made
    folder = RunFolder(session.run_dir)
    for step in made.values():
        assert folder.has_artifact(step.artifact)
    np.testing.assert_array_equal(session.array, first)


KILLED = """
import os, signal, sys
from conservator import open_session
from conservator.agent import events
from conservator.policies.preset import Preset
from pathlib import Path

def die(event):
    least = 2 if sys.argv[4] == "TurnFinished" else 1
    if isinstance(event, getattr(events, sys.argv[4])) and len(session.tree.turns) >= least:
        os.kill(os.getpid(), signal.SIGKILL)

preset = Preset.model_validate_json(Path(sys.argv[1]).read_text())
session = open_session(sys.argv[2], policy=preset, run_dir=sys.argv[3], vlm=None, on_event=die)
session.say("brighter")
session.say(sys.argv[5])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "words"),
    [("ToolFinished", "remove the noise"), ("Scored", "restore"), ("TurnFinished", "a bit less")],
)
def test_a_kill_costs_the_running_turn_at_most(
    event: str, words: str, dim_png: Path, plain: Preset, tmp_path: Path
) -> None:
    (tmp_path / "preset.json").write_text(plain.model_dump_json())
    folder = tmp_path / "talk"
    arguments = [str(tmp_path / "preset.json"), str(dim_png), str(folder), event, words]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    session = open_session(run_dir=folder, vlm=None)
    turns = 2 if event == "TurnFinished" else 1
    assert len(session.tree.turns) == turns
    assert session.say(words).turn is not None
    assert len(session.tree.turns) == turns + 1
