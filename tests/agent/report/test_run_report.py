"""The page of a run: complete, true, self-contained, and safe against what it tells."""

import json
import resource
from pathlib import Path

import numpy as np
import pytest

from conservator import RestorationResult, restore, write_report
from conservator.agent.errors import MissingFileError, OutputError, UsageError
from conservator.agent.report.pictures import earlier_pictures
from conservator.agent.report.writing import make_report
from conservator.agent.sessions import RunFolder
from html_page import Page, accessible, fetches_nothing_named, pixels_of, self_contained

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)> & \u202e"

NAME = "\"'><img src=x onerror=alert(3)> &amp; `${x}`.png"


def read(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    fetches_nothing_named(text)
    page = self_contained(text)
    accessible(page)
    return page


def previews(page: Page) -> dict[str, np.ndarray]:
    return {
        str(i["data-name"]): pixels_of(str(i["src"])) for i in page.all("img") if "data-name" in i
    }


def test_a_run_writes_its_page(whole: RestorationResult, noisy: np.ndarray) -> None:
    page = read(whole.run_dir / "report.html")
    assert page.text.count("noisy.png") and "Restored: what was found is treated" in page.text
    best = next(a for a in whole.attempts if a.id == whole.best)
    shown = previews(page)
    assert set(shown) == {"input"} | {
        f"{a.id}, {'the result' if a.id == whole.best else 'refused'}" for a in whole.attempts
    }
    # JPEG costs a few levels; another picture would cost tens.
    assert np.abs(shown["input"].astype(int) - noisy).mean() < 4
    result = np.rint(whole.array * 255)
    assert np.abs(shown[f"{best.id}, the result"].astype(int) - result).mean() < 4
    assert np.abs(noisy - result).mean() > 8
    stage = next(a for a in page.all("div") if a.get("class") == "stage")
    assert (stage["data-left"], stage["data-right"]) == ("input", f"{best.id}, the result")


def test_the_page_holds_every_attempt_with_its_numbers(run_dir: Path) -> None:
    report = json.loads((run_dir / "report.json").read_bytes())
    page = read(write_report(run_dir))
    for attempt in report["attempts"]:
        assert attempt["call"]["restorer"] in page.text
        assert " ".join(attempt["rendered_prompt"].split()) in page.text
        assert attempt["call"]["rationale"].replace("->", "→") in page.text
        for check in attempt["verdict"]["checks"]:
            assert check["says"].replace("->", "→") in page.text
            assert f"{check['limit']:.4g}" in page.text
    anchors = [a["id"] for a in page.all("li") if str(a.get("id", "")).startswith("node-")]
    assert anchors == ["node-original", *(f"node-{a['id']}" for a in report["attempts"])]
    kept = [a["id"] for a in page.all("li") if "kept" in str(a.get("class"))]
    assert kept == ["node-original", f"node-{report['best']}"]


def test_the_page_tells_condition_scores_time_recipe_and_provenance(run_dir: Path) -> None:
    request = json.loads((run_dir / "request.json").read_bytes())
    page = read(write_report(run_dir))
    for words in (
        "standard deviation, of 255",
        "Looked for and not found: ",
        "residual",
        "in all",
        "conservator replay noisy.restored.run PHOTO...",
        request["input_id"],
        "noise<=low met",
        "planned by",
    ):
        assert words in page.text, words
    # Who is given the page learns nothing about the disk of who made it.
    assert str(run_dir.parent) not in page.text
    assert str(Path(request["input"]).parent) not in page.text


def test_details_are_the_very_pixels(run_dir: Path, noisy: np.ndarray) -> None:
    page = read(write_report(run_dir))
    details = [i for i in page.all("img") if str(i.get("src")).startswith("data:image/png")]
    before, after = details[:2]
    assert "input" in str(before["alt"]) and "the result" in str(after["alt"])
    # A photo smaller than a detail is shown whole.
    assert np.array_equal(pixels_of(str(before["src"])), noisy)
    report = json.loads((run_dir / "report.json").read_bytes())
    best = next(a for a in report["attempts"] if a["id"] == report["best"])
    kept = RunFolder(run_dir).open_artifact(best["artifact"])
    assert np.array_equal(pixels_of(str(after["src"])), kept)


def test_what_others_wrote_stays_text(edited) -> None:
    def report(data) -> None:
        data["reason"] = data["notes"][:] = HOSTILE
        data["notes"] = [HOSTILE]
        data["before"]["scene"] = HOSTILE
        attempt = data["attempts"][0]
        attempt["rendered_prompt"] = attempt["call"]["rationale"] = HOSTILE
        attempt["call"]["trial"] = attempt["call"]["restorer"] = HOSTILE
        attempt["opinion"] = {"better": "after", "harm": [HOSTILE], "reason": HOSTILE}
        attempt["details"] = {"weights_sha256": HOSTILE, "device": HOSTILE}
        data["recipe"]["steps"][0]["rendered_prompt"] = HOSTILE
        data["vlm"] = {
            "model": HOSTILE,
            "prompts_sha256": HOSTILE,
            "asked": [
                {
                    "question": HOSTILE,
                    "status": "answered",
                    "answer": {HOSTILE: HOSTILE},
                    "notes": [HOSTILE],
                }
            ],
        }

    def request(data) -> None:
        data["input"] = f"/nowhere/{NAME}"

    edited("report.json", report)
    page = self_contained(write_report(edited("request.json", request)).read_text("utf-8"))
    accessible(page)
    assert len(page.all("script")) == 1
    assert not [i for i in page.all("img") if i.get("src") == "x"]
    words = " ".join(HOSTILE.split())
    assert page.text.count(words) >= 12
    assert " ".join(NAME.split()) in page.text


def test_a_model_a_failed_tool_and_a_limit_are_told(edited) -> None:
    def change(data) -> None:
        data |= {"outcome": "limit", "limit": "tools", "reason": "the limit of 2 tools was reached"}
        failed = json.loads(json.dumps(data["attempts"][0]))
        failed |= {"id": "a9", "status": "failed", "error": "swinir: out of memory", "artifact": ""}
        failed |= {"verdict": None, "measurement": None, "rendered_prompt": ""}
        data["attempts"].append(failed)
        data["attempts"][0]["verdict"]["checks"][0] |= {"passed": False, "overruled": True}
        data["attempts"][0]["opinion"] = {"better": "same", "reason": "as flat", "vetoed": True}
        data["vlm"] = {
            "model": "tiny-vlm",
            "prompts_sha256": "0123abcd",
            "asked": [
                {"question": "plan", "status": "late", "notes": ["no answer within 60 s"]},
                {"question": "verdict", "about": "a1", "status": "answered", "tokens": 321},
            ],
        }

    folder = edited("report.json", change)
    page = read(write_report(folder))
    for words in (
        "Ended at a limit: the limit of 2 tools was reached",
        "conservator sessions resume noisy.restored.run",
        "a9 classical-nlm",
        "swinir: out of memory",
        "overruled",
        "no different from the input; as flat; a veto",
        "tiny-vlm; its questions have sha256 0123abcd",
        "no answer within 60 s",
        "321",
    ):
        assert words in page.text, words
    assert make_report(folder).gone == ()


def test_targets_say_what_blocks(edited) -> None:
    def report(data) -> None:
        data["outcome"] = "not_met"
        data["reason"] = "fidelity>=0.999: fidelity is 0.98"
        data["blocking"] = [data["reason"]]

    edited("report.json", report)
    page = read(
        write_report(
            edited("request.json", lambda d: d.update(targets="noise<=low,fidelity>=0.999"))
        )
    )
    assert "noise<=low met" in page.text
    assert "fidelity>=0.999 not met fidelity is 0.98" in page.text

    def contract(data) -> None:
        data["contract"] = [
            {"about": "target", "text": "noise<=low", "met": True, "says": "noise is absent (0.1)"},
            {"about": "protect", "text": "protect the sky", "met": False, "says": "4 px changed"},
        ]

    page = read(write_report(edited("report.json", contract)))
    assert "noise<=low met noise is absent (0.1)" in page.text
    assert "protect the sky not held 4 px changed" in page.text
    assert "fidelity is 0.98" in page.text
    assert "fidelity>=0.999 not met" not in page.text


def test_pictures_that_are_gone_are_named(whole: RestorationResult, run_dir: Path) -> None:
    for artifact in (run_dir / "artifacts").iterdir():
        artifact.unlink()
    made = make_report(run_dir)
    assert set(made.gone) == {
        name for name in previews(read(whole.run_dir / "report.html")) if name != "input"
    }
    page = read(made.path)
    assert (
        f"The pictures of these nodes are gone: {', '.join(a.id for a in whole.attempts)}."
        in page.text
    )
    assert "no picture" in page.text
    # Only the input is left, so there is nothing to drag.
    assert not page.all("input")
    assert np.array_equal(
        pixels_of(str(next(i["src"] for i in page.all("img") if "data-key" in i))),
        previews(read(whole.run_dir / "report.html"))["input"],
    )


def test_an_earlier_page_lends_its_pictures(whole: RestorationResult, run_dir: Path) -> None:
    first = write_report(whole.run_dir, run_dir / "report.html")
    shown = previews(read(first))
    for artifact in (run_dir / "artifacts").iterdir():
        artifact.unlink()
    made = make_report(run_dir)
    assert made.gone == ()
    page = read(made.path)
    again = previews(page)
    assert set(again) == set(shown)
    assert all(np.array_equal(again[name], shown[name]) for name in shown)
    assert "shown as an earlier report had them: a1" in page.text
    # A page that somebody broke lends nothing.
    made.path.write_text(
        made.path.read_text().replace("data:image/jpeg;base64,/9j/", "data:image/jpeg;base64,AAAA")
    )
    assert earlier_pictures(made.path)
    assert make_report(run_dir).gone


def test_an_input_that_changed_is_not_shown(edited, tmp_path: Path, clean: np.ndarray) -> None:
    from PIL import Image

    other = tmp_path / "noisy.png"
    Image.fromarray(clean).save(other)
    folder = edited("request.json", lambda data: data.update(input=str(other)))
    made = make_report(folder)
    assert "input" in made.gone
    assert "input" not in previews(self_contained(made.path.read_text()))


def test_an_input_that_moved_along_is_found(
    whole: RestorationResult, edited, tmp_path: Path
) -> None:
    source = json.loads((whole.run_dir / "request.json").read_bytes())["input"]
    (tmp_path / "noisy.png").write_bytes(Path(source).read_bytes())
    folder = edited("request.json", lambda data: data.update(input="/nowhere/noisy.png"))
    assert make_report(folder).gone == ()


def test_a_run_that_was_interrupted(run_dir: Path) -> None:
    for name in ("report.json", "recipe.json"):
        (run_dir / name).unlink()
    page = read(write_report(run_dir))
    assert "Unfinished: the run was interrupted, or is under way" in page.text
    assert "conservator sessions resume noisy.restored.run" in page.text
    assert "node-a1" in {a.get("id") for a in page.all("li")}
    (run_dir / "checkpoints.sqlite").unlink()
    assert "Nobody has looked at the photo yet." in read(write_report(run_dir)).text


def test_a_report_without_its_folder(whole: RestorationResult, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "report.json"
    alone.parent.mkdir()
    data = whole.as_dict()
    alone.write_text(json.dumps(data))
    # The folder that it names is still there, and lends its pictures.
    assert make_report(alone).gone == ()
    with pytest.raises(OutputError, match="exists"):
        make_report(alone)
    alone.write_text(json.dumps({**data, "run_dir": "/nowhere"}))
    made = make_report(alone, overwrite=True)
    assert made.path == alone.with_name("report.html")
    assert len(made.gone) == 1 + len(whole.attempts)
    page = Page(made.path.read_text())
    assert "llmra" in page.text or "classical-nlm" in page.text
    assert not page.all("img")


def test_a_result_without_a_folder(noisy: np.ndarray, quick, tmp_path: Path) -> None:
    result = restore(noisy, policy=quick, vlm=None)
    assert result.run_dir is None
    with pytest.raises(UsageError, match="give a path"):
        write_report(result)
    path = write_report(result, tmp_path / "bare.html")
    assert set(previews_or_single(path)) == {"the result"}
    both = write_report(result, path, image=noisy, overwrite=True)
    shown = previews(read(both))
    assert np.abs(shown["input"].astype(int) - noisy).mean() < 4
    assert result.html().count("<h1>") == 1


def previews_or_single(path: Path) -> list[str]:
    page = read(path)
    return [str(i["alt"]).rpartition(", ")[2] for i in page.all("img") if "data-key" in i]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[]", "the data"),
        ('{"outcome": "met"}', "reason"),
    ],
)
def test_damaged_reports(run_dir: Path, text: str, words: str) -> None:
    (run_dir / "report.json").write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        write_report(run_dir)
    assert "conservator sessions resume" in str(caught.value)
    assert not (run_dir / "report.html").exists()


def test_a_tree_that_is_none(edited) -> None:
    folder = edited("report.json", lambda d: d["attempts"][0]["call"].update(source="a1"))
    with pytest.raises(UsageError, match="attempt a1 starts from 'a1'"):
        write_report(folder)
    folder = edited("report.json", lambda d: d.update(best="a7"))
    with pytest.raises(UsageError, match=r"a1|a7"):
        write_report(folder)


def test_damaged_checkpoints(run_dir: Path) -> None:
    (run_dir / "report.json").unlink()
    (run_dir / "checkpoints.sqlite").write_bytes(
        b"not a database, and long enough to be read as one" * 9
    )
    with pytest.raises(UsageError, match=r"checkpoints\.sqlite"):
        write_report(run_dir)


def test_what_is_no_run(tmp_path: Path, noisy_png: Path) -> None:
    with pytest.raises(MissingFileError, match="holds no run"):
        write_report(tmp_path)
    with pytest.raises(MissingFileError, match="no run at"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no JSON"):
        write_report(noisy_png)


def test_a_write_that_fails_leaves_nothing(run_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    before = sorted(run_dir.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            write_report(run_dir, folder / "page.html")
        with pytest.raises(OutputError, match="cannot be written"):
            write_report(run_dir)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(folder.iterdir())
    assert sorted(run_dir.iterdir()) == before
    with pytest.raises(OutputError, match="not a folder"):
        write_report(run_dir, tmp_path / "missing" / "page.html")
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_report(run_dir, mine)
    assert mine.read_text() == "mine"
    assert write_report(run_dir, mine, overwrite=True) == mine
    assert mine.read_text() != "mine"
