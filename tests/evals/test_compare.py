"""Comparisons of real run folders."""

import json
import os
from pathlib import Path

import pytest

from conservator.evals.compare import Side, compare
from conservator.evals.log import RunFolder, slug
from conservator.evals.sample import AnswerRecord
from conservator.restorers.errors import UsageError

NOISE = slug("noise 25")


def psnr(run: RunFolder, system: str) -> dict[str, float]:
    return {r.sample_id: r.scores["psnr"] for r in run.records() if r.system == system and r.scores}


def test_two_runs_by_sample(make_run, photos) -> None:
    one, two = make_run("one"), make_run("two", blurred={"noise 25/a": 6.0, "jpeg 10/b": 3.0})
    found = compare(Side(one), Side(two))
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        (name, name) for name in ("untouched", "agent", "oracle")
    ]
    before, after = psnr(one, "agent"), psnr(two, "agent")
    difference = sum(after[s] - before[s] for s in before) / 6
    agent = found.pairs[1].metrics["psnr"]
    assert agent.n == 6
    assert agent.difference == pytest.approx(difference)
    assert difference < 0
    assert (agent.better, agent.worse, agent.equal) == (
        0,
        pytest.approx(2 / 6),
        pytest.approx(4 / 6),
    )
    assert found.pairs[1].rows["noise 25"]["psnr"].n == 3
    assert found.pairs[0].metrics["psnr"].equal == 1
    assert not found.notes

    assert [loss.sample_id for loss in found.worst] == ["noise 25/a", "jpeg 10/b"]
    worst = found.worst[0]
    assert worst.loss == pytest.approx(before["noise 25/a"] - after["noise 25/a"])
    assert worst.degraded == (two.path / f"images/{NOISE}/a/degraded.png").resolve()
    assert worst.answers == (
        (one.path / f"images/{NOISE}/a/agent.png").resolve(),
        (two.path / f"images/{NOISE}/a/agent.png").resolve(),
    )
    assert worst.reference == photos / "a.png"
    assert all(path.is_file() for path in (worst.degraded, *worst.answers, worst.reference) if path)


def test_two_systems_of_one_run(make_run) -> None:
    run = make_run("one")
    found = compare(Side(run, "oracle"), Side(run, "untouched"), metric="ssim", worst=2)
    assert [(p.first, p.second) for p in found.pairs] == [("oracle", "untouched")]
    assert found.pairs[0].metrics["ssim"].worse == 1
    assert len(found.worst) == 2
    assert found.worst[0].loss >= found.worst[1].loss > 0
    assert found.worst[0].answers[1] == found.worst[0].degraded
    text = found.text()
    assert "oracle → untouched" in text
    assert "Wilcoxon p" in text
    data = json.loads(json.dumps(found.as_data()))
    assert data["pairs"][0]["metrics"]["psnr"]["n"] == 6
    assert Path(data["worst"][0]["answers"][0]).is_file()


def test_sides_are_parsed_by_the_longest_folder(make_run, tmp_path) -> None:
    run = make_run("a:b")
    side = Side.parse(f"{run.path}:agent")
    assert (side.run.path, side.system) == (run.path, "agent")
    assert Side.parse(str(run.path)).system is None
    colon = make_run("two", systems=("untouched", "command:cp {in} {out}"))
    assert Side.parse(f"{colon.path}:command:cp {{in}} {{out}}").system == "command:cp {in} {out}"
    with pytest.raises(UsageError, match="no system 'agnt'; it has: agent, oracle, untouched"):
        Side.parse(f"{run.path}:agnt")
    with pytest.raises(UsageError, match="is no run folder"):
        Side.parse(str(tmp_path / "nowhere"))


def test_what_cannot_be_compared(make_run) -> None:
    one = make_run("one")
    other = make_run("other", systems=("oracle",))
    for side in (Side(one), Side(one, "agent")):
        with pytest.raises(UsageError, match="are the same"):
            compare(side, side)
    with pytest.raises(UsageError, match="no system 'agent'"):
        compare(Side(one, "agent"), Side(other))
    with pytest.raises(UsageError, match=r"no metric 'lpips'.*psnr, ssim"):
        compare(Side(one), Side(other), metric="lpips")
    assert [p.first for p in compare(Side(one), Side(other)).pairs] == ["oracle"]


def test_what_is_not_alike_is_noted(make_run) -> None:
    one, two = make_run("one"), make_run("two", failed={"noise 25/a"}, finished=False)
    config = two.config
    two.write_json("config.json", {**config, "task": {**config["task"], "version": 3}})
    changed = [
        AnswerRecord.model_validate(
            {**r.model_dump(), "draws": {**r.draws.model_dump(), "seed": 99}}
        )
        for r in two.records()
        if r.key == ("jpeg 10/b", "agent")
    ]
    two.append(changed)
    notes = " ".join(compare(Side(one, "agent"), Side(two, "agent")).notes)
    assert "tiny@2, the second of tiny@3" in notes
    assert "not finished" in notes
    assert "1 pairs show the same picture with other degradations" in notes
    assert "1 samples answered on one side only, 5 on both" in notes


def test_pictures_that_are_gone_are_none(make_run, photos) -> None:
    one, two = make_run("one"), make_run("two", blurred={"noise 25/a": 6.0})
    (two.path / f"images/{NOISE}/a/agent.png").unlink()
    for path in photos.iterdir():
        path.unlink()
    loss = compare(Side(one), Side(two)).worst[0]
    assert loss.answers[0] is not None
    assert loss.answers[1] is loss.reference is None


def test_a_record_cannot_point_out_of_its_run(make_run, tmp_path) -> None:
    one, two = make_run("one"), make_run("two", blurred={"noise 25/a": 6.0})
    for image in ("../secret.png", os.fspath(tmp_path / "secret.png")):
        (tmp_path / "secret.png").write_bytes(b"secret")
        record = next(r for r in two.records() if r.key == ("noise 25/a", "agent"))
        two.append([record.model_copy(update={"image": image})])
        assert compare(Side(one), Side(two)).worst[0].answers[1] is None
