"""`show`, `compare`, `gate` and `export` on run folders, through click."""

import json
import math
from pathlib import Path

import click
import pytest

from conservator.agent.cli.evaluate_results import compare, export, gate, show
from conservator.evals.log import RunFolder
from conservator.evals.sample import AnswerRecord
from conservator.evals.summary import summarise
from conservator.evals.task import Task
from conservator.restorers.errors import OutputError, UnknownNameError, UsageError

TASK = Task.model_validate(
    {
        "id": "cli",
        "version": 1,
        "title": "numbers only",
        "rows": [{"name": "a"}],
        "systems": ["untouched", "agent"],
        "scorers": ["full-reference"],
    }
)


@pytest.fixture
def make(tmp_path):
    def run(name: str, *, lost: float = 0.0, finished: bool = True) -> Path:
        config = {"task": TASK.model_dump(mode="json"), "images": str(tmp_path), "seed": 0}
        folder = RunFolder.create(tmp_path / name, config)
        records = [
            AnswerRecord(
                sample_id=f"a/{i}",
                system=system,
                row="a",
                scores={"psnr": 20.0 + i % 3 + gain, "ssim": 0.5},
            )
            for i in range(6)
            for system, gain in (("untouched", 0.0), ("agent", 2.0 - lost * math.sqrt(i)))
        ]
        folder.append(records)
        if finished:
            folder.finish(summarise(records, TASK, config))
        return folder.path

    return run


def call(
    command: click.Command, capfd: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str, str]:
    capfd.readouterr()
    code = command.main([str(word) for word in words], standalone_mode=False)
    out, err = capfd.readouterr()
    return int(code or 0), out, err


def test_show(make, capfd) -> None:
    run = make("one", lost=1.0)
    code, out, err = call(show, capfd, run)
    assert (code, err) == (0, "")
    assert "## cli@1: numbers only" in out
    assert "### psnr ↑" in out
    _, out, _ = call(show, capfd, run, "--metric", "ssim", "--worst", "2")
    assert "### psnr" not in out
    assert "### ssim" in out
    _, out, _ = call(show, capfd, run, "--worst", "2", "--json")
    data = json.loads(out)
    assert [loss["sample_id"] for loss in data["worst"]] == ["a/5", "a/4"]
    assert data["worst"][0]["gain"] == pytest.approx(2 - math.sqrt(5))
    assert data["systems"]["agent"]["overall"]["n"] == 6
    with pytest.raises(UsageError, match="no metric 'niqe'; it has: psnr, ssim"):
        call(show, capfd, run, "--metric", "niqe")
    with pytest.raises(UsageError, match="not a run folder"):
        call(show, capfd, run.parent)


def test_show_says_that_a_run_goes_on(make, capfd) -> None:
    code, out, err = call(show, capfd, make("one", finished=False))
    assert code == 0
    assert "cli@1" in out
    assert "eval resume" in err


def test_compare(make, capfd, tmp_path) -> None:
    one, two = make("one"), make("two", lost=1.0)
    code, out, _ = call(compare, capfd, f"{one}:agent", f"{two}:agent")
    assert code == 0
    assert "Largest losses of psnr" in out
    page = tmp_path / "compare.html"
    _, out, err = call(compare, capfd, one, two, "--worst", "3", "--json", "--html", page)
    data = json.loads(out)
    assert len(data["worst"]) == 3
    assert "<!doctype html>" in page.read_text(encoding="utf-8")
    assert "compare.html" in err
    with pytest.raises(OutputError, match="exists"):
        call(compare, capfd, one, two, "--html", page)
    call(compare, capfd, one, two, "--html", page, "--overwrite")


def test_gate_exits_with_1_and_a_line_a_breach(make, capfd) -> None:
    one, two = make("one"), make("two", lost=2.0)
    code, out, err = call(gate, capfd, one, one / "summary.json")
    assert (code, out) == (0, "")
    assert "passed" in err
    code, out, err = call(gate, capfd, two, one / "summary.json")
    assert code == 1
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "agent, a, psnr",
        "agent, overall, psnr",
    ]
    assert "2 breaches" in err
    code, out, _ = call(gate, capfd, two, one, "--json")
    assert code == 1
    assert json.loads(out)["passed"] is False
    assert call(gate, capfd, two, one, "--system", "untouched")[0] == 0
    assert call(gate, capfd, two, one, "--tolerance", "9")[0] == 0
    assert call(gate, capfd, two, one, "--metric", "ssim")[0] == 0
    with pytest.raises(UsageError, match="resume"):
        call(gate, capfd, make("three", finished=False), one)


def test_export(make, capfd, tmp_path) -> None:
    run = make("one")
    code, out, _ = call(export, capfd, run)
    assert (code, out) == (0, f"{run / 'report.html'}\n")
    for name in ("x.csv", "x.parquet", "x.md"):
        _, out, _ = call(export, capfd, run, "-o", tmp_path / name)
        assert Path(out.strip()).stat().st_size > 100
    with pytest.raises(OutputError, match="--overwrite"):
        call(export, capfd, run)
    assert call(export, capfd, run, "--overwrite")[0] == 0
    with pytest.raises(UnknownNameError, match=r"\.pdf"):
        call(export, capfd, run, "-o", tmp_path / "x.pdf")
