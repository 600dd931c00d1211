"""The table of a model card: measured in parts, merged into one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conservator.evals import restorer_table
from conservator.evals.cases import CASES, Sample, places
from conservator.evals.restorer_table import COLUMNS, main, markdown, measure_sample, renew_card
from conservator.evals.table_record import check_counts, merged, read_record, write_record
from conservator.restorers.errors import UsageError
from conservator.tools.instruments.prompt import prompt_of

NAMES = [case.name for case in CASES]
NOISE, JPEG = "noise sigma 25", "jpeg quality 10"


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    from skimage import data

    kodak = tmp_path / "clean" / "kodak24"
    kodak.mkdir(parents=True)
    for i, left in enumerate((0, 200)):
        Image.fromarray(data.astronaut()[:72, left : left + 72]).save(kodak / f"{i}.png")
    return tmp_path


def row(case: str, images: int, **columns: float) -> dict[str, Any]:
    figures = {name.replace("_", " "): {"psnr": v, "ssim": 0.5} for name, v in columns.items()}
    return {"case": case, "images": images} | figures


def merge(record: dict[str, Any], *rows: dict[str, Any], revision: str) -> dict[str, Any]:
    columns = [c for c in rows[0] if c not in ("case", "images")]
    machine = {"revision": revision, "date": "2026-01-01"}
    return merged(record, rows, columns, machine, cases=NAMES, order=COLUMNS)


def test_columns_measured_later_join_those_that_are_there() -> None:
    first = merge({}, row(JPEG, 2, untouched=27, classical=28), revision="a")
    first = merge(first, row(NOISE, 2, untouched=20, classical=25), revision="a")
    later = merge(first, row(NOISE, 2, llmra=29), row(JPEG, 2, llmra=29), revision="b")
    assert [r["case"] for r in later["rows"]] == [NOISE, JPEG]
    assert list(later["rows"][0]) == ["case", "images", "untouched", "classical", "llmra"]
    assert later["rows"][0]["untouched"]["psnr"] == 20
    assert {c: note["revision"] for c, note in later["columns"].items()} == {
        "untouched": "a",
        "classical": "a",
        "llmra": "b",
    }
    assert later["machine"]["revision"] == "b"


def test_columns_measured_again_are_replaced() -> None:
    first = merge({}, row(NOISE, 2, untouched=20, llmra=27), revision="a")
    later = merge(first, row(NOISE, 2, llmra=29), revision="b")
    assert later["rows"] == [row(NOISE, 2, untouched=20, llmra=29)]


def test_cases_of_an_older_revision_are_named_until_they_are_measured_again() -> None:
    first = merge({}, row(NOISE, 2, llmra=27), row(JPEG, 2, llmra=28), revision="a")
    half = merge(first, row(NOISE, 2, llmra=29), revision="b")
    assert half["columns"]["llmra"] == {
        "revision": "b",
        "date": "2026-01-01",
        "older": {JPEG: "a"},
    }
    other = merge(half, row(NOISE, 2, llmra=30), revision="c")
    assert other["columns"]["llmra"]["older"] == {JPEG: "a"}
    whole = merge(half, row(JPEG, 2, llmra=30), revision="b")
    assert "older" not in whole["columns"]["llmra"]


def test_rows_of_other_image_counts_are_refused() -> None:
    first = merge({}, row(NOISE, 24, untouched=20), revision="a")
    with pytest.raises(
        UsageError, match=r"'noise sigma 25' was measured on 24 images \(untouched\)"
    ):
        merge(first, row(NOISE, 4, llmra=29), revision="b")
    with pytest.raises(UsageError, match="now on 4"):
        check_counts(first, {NOISE: 4}, ["llmra"])
    # Nothing is kept of the old row, so nothing would be compared across counts.
    assert merge(first, row(NOISE, 4, untouched=21), revision="b")["rows"][0]["images"] == 4


def test_files_of_before_keep_their_one_revision() -> None:
    old = {
        "machine": {"revision": "9ec664c", "date": "2025-12-31"},
        "rows": [row(NOISE, 2, untouched=20)],
    }
    later = merge(old, row(NOISE, 2, llmra=29), revision="b")
    assert later["columns"]["untouched"] == {"revision": "9ec664c", "date": "2025-12-31"}


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    assert read_record(None) == read_record(path) == {}
    write_record(path, merge({}, row(NOISE, 2, untouched=20), revision="a"))
    assert read_record(path)["rows"] == [row(NOISE, 2, untouched=20)]
    for text in ("{", "[]", '{"rows": [{"case": "x"}]}'):
        path.write_text(text)
        with pytest.raises(UsageError, match="holds no table"):
            read_record(path)


def test_table_marks_the_best_and_what_was_not_measured() -> None:
    table = markdown([row(NOISE, 2, untouched=20, llmra=29), row(JPEG, 2, untouched=27)])
    assert "| noise sigma 25 | 2 | 20.00 / 0.500 | **29.00** / 0.500 |" in table
    assert "| jpeg quality 10 | 2 | **27.00** / 0.500 | not measured |" in table


def test_one_inspection_serves_both_columns(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[NAMES.index(NOISE)]
    place = places(case, dev)[0]
    seen = []

    def counted(image: Any) -> Any:
        seen.append(image)
        return prompt_of(image)

    monkeypatch.setattr(restorer_table, "prompt_of", counted)
    figures = measure_sample(case, place.sample(), ("inspected", "inspected + CEM"))
    assert len(seen) == 1
    assert all(found.psnr > 22 for found in figures.values())


def test_photo_in_which_nothing_is_found_stays_as_it_is() -> None:
    from skimage import data

    clean = data.coffee()[:160, :160].astype(np.float32) / 255
    case = CASES[NAMES.index(NOISE)]
    assert not prompt_of(clean).degradations
    figures = measure_sample(case, Sample("coffee", clean, clean), ("inspected",))
    assert figures["inspected"].psnr == 100


def test_command_merges_and_renews_the_card(
    dev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, card = tmp_path / "table.json", tmp_path / "CARD.md"
    card.write_text("before\n<!-- table: begin -->\nold\n<!-- table: end -->\nafter\n")
    common = ["--dev", str(dev), "--out", str(out), "--case", NOISE]
    assert main([*common, "--column", "untouched", "--column", "classical"]) == 0
    first = json.loads(out.read_text())
    assert main([*common, "--column", "llmra", "--card", str(card)]) == 0
    later = json.loads(out.read_text())
    assert list(later["rows"][0]) == ["case", "images", "untouched", "classical", "llmra"]
    assert later["rows"][0]["classical"] == first["rows"][0]["classical"]
    assert later["rows"][0]["images"] == 2
    assert len(later["columns"]["llmra"]["weights"]) == 12
    assert "weights" not in later["columns"]["classical"]
    assert "| untouched | classical | llmra |" in card.read_text()
    assert card.read_text().endswith("after\n")
    before = out.read_bytes()
    with pytest.raises(UsageError, match="measured on 2 images"):
        main([*common, "--column", "blind", "--limit", "1"])
    assert out.read_bytes() == before
    capsys.readouterr()


def test_card_without_a_place_for_the_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "CARD.md"
    path.write_text("nothing here")
    with pytest.raises(UsageError, match="no place for the table"):
        renew_card(path, "| |")


@pytest.mark.slow  # two processes import torch
def test_processes_measure_the_same(dev: Path, tmp_path: Path) -> None:
    rows = []
    for jobs in ("1", "2"):
        out = tmp_path / f"{jobs}.json"
        words = ["--dev", str(dev), "--out", str(out), "--case", NOISE, "--column", "classical"]
        assert main([*words, "--jobs", jobs]) == 0
        rows.append(json.loads(out.read_text())["rows"])
    assert rows[0] == rows[1]
