"""How well gains are told: figures on hand-made rows, and one real picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from conservator.evals.gains import Told, main, summary, told


def rows(*pairs: tuple[float, float], picture: str = "p") -> list[Told]:
    return [Told(picture, str(i), true, said, 1.0) for i, (true, said) in enumerate(pairs)]


def test_figures() -> None:
    found = summary([*rows((3.0, 2.0), (6.0, 5.0), (-1.0, 0.5)), *rows((-20.0, -9.0), picture="q")])
    assert found["treatments"] == 4
    assert found["pictures"] == 2
    assert found["spearman"] == pytest.approx(1.0)
    assert found["mean_error_db"] == pytest.approx((1 + 1 + 1.5 + 3) / 4, abs=1e-3)
    assert found["right_signs"] == 0.75
    # The second picture is left alone, as nothing is expected of its one treatment.
    assert found["gain_first_planned"] == pytest.approx((3 - 20) / 2)
    assert found["gain_chosen"] == found["gain_best"] == pytest.approx(3.0)


def test_rivals_are_really_made_and_compared() -> None:
    clean = data.coffee()[:192, :192].astype(np.float32) / 255
    found = list(told(clean, "coffee", "noise:sigma=30", seed=1, rivals=2))
    assert len(found) == 4  # two rivals, whole and blended
    assert {row.picture for row in found} == {"coffee noise:sigma=30"}
    assert all(row.true > 2 and row.said > 1 for row in found)


def test_the_command_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(data.astronaut()[:96, :96]).save(tmp_path / "a.png")
    out = tmp_path / "gains.json"
    arguments = ["--images", str(tmp_path), "--out", str(out), "--limit", "1", "--side", "64"]
    assert main(arguments) == 0
    written = json.loads(out.read_text())
    assert written["treatments"] > 4
    assert "date" in written["measured"]
    assert json.loads(capsys.readouterr().out)["treatments"] == written["treatments"]
