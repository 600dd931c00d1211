"""Cases made from real photos, really treated, and the file they make."""

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from conservator.evals import experience
from conservator.evals.experience import gather, main, ready, situation_of, tried, written
from conservator.policies.cases import CaseFile
from conservator.restorers.degradations.vocabulary import Kind

CLEAN = data.coffee()[100:196, 200:296].astype(np.float32) / 255


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, photo in (("a", data.coffee()), ("b", data.astronaut())):
        assert cv2.imwrite(str(folder / f"{name}.png"), photo[60:190, 60:200, ::-1])
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experience, "PART", 2)
    monkeypatch.setattr(experience, "SIDES", (96,))


def test_what_the_planner_names_is_tried_with_what_would_follow_and_some_others() -> None:
    noise = np.random.default_rng(0).normal(0, 30 / 255, CLEAN.shape)
    degraded = (CLEAN + noise).clip(0, 1).astype(np.float32)
    situation = situation_of(degraded, ready())
    rows = list(tried(CLEAN, degraded, situation, rng=random.Random(0), others=1, judged=True))
    planned = [row for row in rows if row.place is not None]
    assert {row.place for row in planned} == set(range(5))
    assert sum(row.place is None and row.whole for row in rows) == 1
    assert len({row.steps for row in rows}) == len(rows)
    best = max(planned, key=lambda row: row.gain)
    assert best.gain > 4
    assert any(Kind.NOISE in step.kinds for step in best.steps)
    assert all(row.said is not None and row.seconds > 0 for row in rows)


def test_a_stopped_run_goes_on_and_the_same_parts_give_the_same_file(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = tmp_path / "parts"
    gather([photos], parts, 2, judged=2)
    first = parts / "cases-000.jsonl"
    before = first.read_bytes()
    assert len(before.splitlines()) == 2
    arguments = ["--images", str(photos), "--parts", str(parts), "--pictures", "4", "--judged", "2"]
    assert main([*arguments, "--out", str(tmp_path / "one.sqlite")]) == 0
    assert first.read_bytes() == before
    texts = [path.read_text() for path in sorted(parts.iterdir())]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    assert len(lines) == 4
    told = [{one["said"] is not None for one in line["tried"]} for line in lines]
    assert told[0] | told[1] <= {False}
    assert told[2] | told[3] <= {True}
    cases = CaseFile(tmp_path / "one.sqlite").cases()
    assert len(cases) == sum(len(line["tried"]) for line in lines) > 0
    assert str(len(cases)) in capsys.readouterr().out
    assert written(parts, tmp_path / "two.sqlite", "degraded training photos") == len(cases)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.sqlite", "two.sqlite"))
    assert one == two
