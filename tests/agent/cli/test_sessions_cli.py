"""`conservator sessions`: what runs and dialogues keep."""

import io
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from conservator import open_session, replay


@pytest.fixture
def kept(run, noisy_png: Path, quick_yaml: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photo, a limited run and a dialogue on it; the current folder."""
    folder = noisy_png.parent
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CONSERVATOR_RUNS_DIR", str(folder.parent / "elsewhere"))
    assert run("restore", noisy_png, "--policy", quick_yaml, "--max-tools", "0").code == 4
    with open_session(noisy_png, policy=quick_yaml, vlm=None) as session:
        session.say("remove the noise")
        session.say("a bit less")
    return folder


RUN, TALK = "noisy.restored.run", "noisy.session"


def test_lists_what_is_there(run, kept: Path, tmp_path_factory) -> None:
    done = run("sessions", "list")
    assert done.code == 0
    assert {line.split()[0] for line in done.out.splitlines()} == {"id", RUN, TALK}
    assert "limit" in done.out and "at t2, 2 turns" in done.out
    data = json.loads(run("sessions", "list", "--json").out)
    assert {(one["id"], one["kind"]) for one in data} == {(RUN, "run"), (TALK, "dialogue")}
    assert all(one["bytes"] > 1000 and one["input"] == str(kept / "noisy.png") for one in data)
    above = run("sessions", "list", kept.parent)
    assert not above.out and "-r" in above.err
    assert TALK in run("sessions", "list", "-r", kept.parent).out
    assert run("sessions", "list", kept / TALK).out.count(TALK) == 1
    assert run("sessions", "list", kept / "nowhere").code == 2
    empty = tmp_path_factory.mktemp("empty")
    assert run("sessions", "list", empty).code == 0


def test_shows_by_id_and_by_folder(run, kept: Path) -> None:
    done = run("sessions", "show", RUN)
    assert done.code == 0 and "limit" in done.out and "reason" in done.out
    assert run("sessions", "show", kept / RUN).out == done.out
    talk = run("sessions", "show", TALK)
    assert '"a bit less"' in talk.out and "chat --run-dir" in talk.out
    data = json.loads(run("sessions", "show", RUN, "--json").out)
    assert data["report"]["outcome"] == "limit" and data["request"]["seed"] == 0
    tree = json.loads(run("sessions", "show", TALK, "--json").out)["dialogue"]["tree"]
    assert tree["here"] == "t2"
    assert run("sessions", "show", "nobody").code == 2


def test_resume_finishes_and_writes(run, kept: Path) -> None:
    output = kept / "noisy.restored.png"
    untouched = output.read_bytes()
    done = run("sessions", "resume", RUN, "--max-tools", "3")
    assert done.code == 0, done.err
    assert Path(done.out.strip()) == output
    restored = output.read_bytes()
    assert restored != untouched
    # A result that was removed since is written once more, without another run.
    output.unlink()
    assert Path(run("sessions", "resume", kept / RUN).out.strip()) == output
    assert output.read_bytes() == restored
    talk = run("sessions", "resume", TALK)
    assert talk.code == 0 and "saved t2" in talk.err
    assert Path(talk.out.strip()) == kept / "noisy.restored-2.png"


def test_export_gives_picture_recipe_and_report(run, kept: Path, tmp_path: Path) -> None:
    assert run("sessions", "resume", RUN, "--max-tools", "3").code == 0
    for name, into in ((RUN, tmp_path / "a"), (TALK, tmp_path / "b")):
        done = run("sessions", "export", name, "-o", into)
        assert done.code == 0, done.err
        picture, recipe, report, page = map(Path, done.out.splitlines())
        assert json.loads(report.read_text())
        assert page.read_text().count("data-name=") >= 2
        again = replay(recipe, kept / "noisy.png", output=tmp_path / f"{name}.png")
        assert not isinstance(again, tuple) and again.steps == 1
        with Image.open(picture) as one, Image.open(tmp_path / f"{name}.png") as other:
            assert one.tobytes() == other.tobytes()
        repeated = run("sessions", "export", name, "-o", into)
        assert repeated.code == 1 and "exists" in repeated.err
        assert run("sessions", "export", name, "-o", into, "--overwrite").code == 0
    (kept / RUN / "report.json").unlink()
    unfinished = run("sessions", "export", RUN, "-o", tmp_path / "c")
    assert unfinished.code == 2 and "sessions resume" in unfinished.err


def test_delete_asks_and_spares_what_is_not_ours(
    run, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answering(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    answering("n\n")
    refused = run("sessions", "delete", TALK)
    assert refused.code == 0 and "kept" in refused.err and (kept / TALK).is_dir()
    answering("")
    assert run("sessions", "delete", TALK).code == 130
    notes = kept / TALK / "notes.txt"
    notes.write_text("mine")
    strange = run("sessions", "delete", "--yes", TALK)
    assert strange.code == 2 and "notes.txt" in strange.err and notes.is_file()
    notes.unlink()
    hidden = kept / TALK / "artifacts" / "link.npy"
    hidden.symlink_to(kept / "noisy.png")
    assert run("sessions", "delete", "--yes", TALK).code == 2
    hidden.unlink()
    answering("y\n")
    assert run("sessions", "delete", TALK).code == 0
    assert not (kept / TALK).exists()
    assert run("sessions", "delete", "--yes", kept / RUN).code == 0
    assert {path.name for path in kept.iterdir()} == {"noisy.png", "noisy.restored.png"}


def test_folders_that_are_no_runs_are_never_deleted(run, kept: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for content in (None, "{", '{"input": "a.png"}'):
        if content is not None:
            (photos / "request.json").write_text(content)
        assert run("sessions", "delete", "--yes", photos).code == 2
        assert photos.is_dir()
    link = tmp_path / "link"
    link.symlink_to(kept / RUN)
    assert run("sessions", "delete", "--yes", link).code == 2
    assert (kept / RUN / "request.json").is_file()
