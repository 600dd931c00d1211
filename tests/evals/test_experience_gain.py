"""With experience and without: figures on hand-made rows, and one real picture."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from conservator.evals import experience_gain
from conservator.evals.experience_gain import main, measured, summary
from conservator.policies.preset import load_preset


def run(gain: float, trials: int) -> dict:
    return {"gain": gain, "tools": 1, "trials": trials}


def test_figures() -> None:
    rows = [
        {"without": run(3.0, 4), "with": run(3.5, 1)},
        {"without": run(-1.0, 4), "with": run(-1.0, 2)},
        {"without": run(0.0, 0), "with": run(0.0, 0)},
    ]
    found = summary(rows)
    assert found["pictures"] == 3
    assert found["without"]["gain"]["mean"] == pytest.approx(0.667)
    assert found["without"]["gain_per_call"] == pytest.approx(2 / 11, abs=1e-3)
    assert found["with"]["gain_per_call"] == pytest.approx(2.5 / 6, abs=1e-3)
    assert found["with"]["made_worse"] == pytest.approx(0.333)
    assert found["gain_with_minus_without"]["difference"] == pytest.approx(0.167)
    assert found["calls_with_minus_without"]["difference"] == pytest.approx(-5 / 3, abs=1e-3)


def test_a_picture_is_restored_twice_with_the_same_budget() -> None:
    clean = data.coffee()[100:260, 200:360].astype(np.float32) / 255
    policy = load_preset("balanced").model_copy(update={"candidates": 2, "votes": {}})
    row = measured(clean, "noise:sigma=30", seed=1, policy=policy, experience="auto")
    for one in row.values():
        assert one["gain"] > 4
        assert one["tools"] >= 1
        assert one["trials"] in (0, 2)
        assert one["steps"]


def test_the_command_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experience_gain.mio16, "VARIANTS", ("A5",))
    photos = tmp_path / "photos"
    photos.mkdir()
    assert cv2.imwrite(str(photos / "a.png"), data.astronaut()[:64, :64, ::-1])
    rows, out = tmp_path / "rows.jsonl", tmp_path / "gain.json"
    rows.write_text(json.dumps({"without": run(3.0, 4), "with": run(3.5, 1)}) + "\n")
    arguments = ["--images", str(photos), "--rows", str(rows), "--out", str(out), "--side", "64"]
    assert main([*arguments, "--limit", "2"]) == 0
    assert len(rows.read_text().splitlines()) == 2
    found = json.loads(out.read_text())
    assert found["pictures"] == 2
    assert str(tmp_path) not in out.read_text()
    assert "date" in found["measured"]
    assert json.loads(capsys.readouterr().out)["pictures"] == 2
