"""The benchmark of seconds and memory."""

import json
from pathlib import Path

import pytest

from conservator.evals.speed import growth, main, measure_agent
from conservator.restorers import catalog


def test_growth_is_the_exponent_of_cost() -> None:
    tile = catalog.card("classical-dehaze").tile
    rows = [
        {"restorer": "classical-dehaze", "tile": tile, "megapixels": m, "seconds": 0.5 * m**1.5}
        for m in (1.0, 4.0, 16.0)
    ]
    assert growth(rows) == {"classical-dehaze": pytest.approx(1.5, abs=0.01)}
    assert growth(rows[:1]) == {}


def test_a_restorer_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    code = main(
        [
            "--out",
            str(out),
            "--restorer",
            "llmra",
            "--size",
            "96x128",
            "--threads",
            "1",
            "--tile",
            "64",
        ]
    )
    record = json.loads(out.read_text())
    whole, tiled = record["rows"]
    assert code == 0
    assert (whole["threads"], tiled["tile"]) == (1, 64)
    assert whole["tile"] != 64
    assert whole["seconds"] > 0
    assert whole["peak_mb"] >= whole["loaded_mb"] > 100
    assert {"versions", "hardware", "revision"} <= set(record["provenance"])


def test_the_agent_is_measured_by_part_and_node(tmp_path: Path) -> None:
    from PIL import Image
    from skimage import data

    Image.fromarray(data.coffee()[:96, :128]).save(tmp_path / "a.png")
    row = measure_agent(tmp_path / "a.png")
    seconds = row["seconds"]
    assert sum(v for k, v in seconds.items() if k != "total") == pytest.approx(
        seconds["total"], abs=0.01
    )
    assert "node.inspect" in row["steps"]
