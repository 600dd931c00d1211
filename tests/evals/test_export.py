"""Exports read back by other programs' means."""

import csv
import json
import sys

import pytest
from pyarrow import parquet

from conservator.evals.export import FORMATS, export, format_of, renew_table, summary_of
from conservator.evals.log import RunFolder
from conservator.restorers.errors import (
    BackendMissingError,
    OutputError,
    UnknownNameError,
    UsageError,
)


def test_csv_holds_every_answer(make_run, tmp_path) -> None:
    run = make_run("one", failed={"noise 25/a"})
    path = export(run, "csv", tmp_path / "run.csv")
    with path.open(newline="") as file:
        rows = {(row["sample_id"], row["system"]): row for row in csv.DictReader(file)}
    records = {record.key: record for record in run.records()}
    assert rows.keys() == records.keys()
    for key, record in records.items():
        if record.scores:
            assert float(rows[key]["score_psnr"]) == record.scores["psnr"]
    failed = rows["noise 25/a", "agent"]
    assert (failed["status"], failed["score_psnr"], failed["outcome"]) == ("failed", "", "")
    assert failed["reason"] == "RestorerError: <b>it broke</b> | here"
    assert rows["noise 25/<i>&", "agent"]["outcome"] == "met"


def test_parquet_has_types(make_run, tmp_path) -> None:
    run = make_run("one", failed={"noise 25/a"})
    table = parquet.read_table(export(run, "parquet", tmp_path / "run.parquet"))
    assert table.num_rows == 18
    assert str(table.schema.field("score_ssim").type) == "double"
    assert str(table.schema.field("tools").type) == "int64"
    rows = {(row["sample_id"], row["system"]): row for row in table.to_pylist()}
    assert rows["noise 25/a", "agent"]["score_psnr"] is None
    assert json.loads(rows["jpeg 10/a", "agent"]["details"]) == {"outcome": "met"}
    expected = {record.key: record.scores.get("psnr") for record in run.records()}
    assert {key: row["score_psnr"] for key, row in rows.items()} == expected


def test_markdown_has_every_metric(make_run, tmp_path) -> None:
    text = export(make_run("one"), "markdown", tmp_path / "run.md").read_text()
    for words in (
        "## tiny@2",
        "### psnr ↑",
        "### ssim ↑",
        "FFDNet (published)",
        "32.25",
        "1710.04026",
    ):
        assert words in text


def test_without_pyarrow_parquet_says_what_to_do(make_run, tmp_path, monkeypatch) -> None:
    run = make_run("one")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BackendMissingError, match="pip install pyarrow"):
        export(run, "parquet", tmp_path / "run.parquet")
    assert export(run, "csv", tmp_path / "run.csv").is_file()


def test_without_jinja_html_says_what_to_do(make_run, tmp_path, monkeypatch) -> None:
    run = make_run("one")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(BackendMissingError, match="pip install jinja2"):
        export(run, "html", tmp_path / "run.html")


def test_files_are_not_replaced_unless_asked(make_run, tmp_path) -> None:
    run = make_run("one")
    path = export(run, "csv", tmp_path / "run.csv")
    with pytest.raises(OutputError, match="exists"):
        export(run, "csv", path)
    export(run, "csv", path, overwrite=True)
    with pytest.raises(UnknownNameError, match="xlsx"):
        export(run, "xlsx", tmp_path / "run.xlsx")


def test_a_documents_table_is_renewed_and_nothing_else(make_run, tmp_path) -> None:
    run = make_run("one", failed={"noise 25/a"})
    card = tmp_path / "CARD.md"
    card.write_text("before\n<!-- table: begin -->\nold\n<!-- table: end -->\nafter\n")
    for _ in range(2):
        renew_table(run, card, ["psnr", "ssim"])
    before, table, after = (
        card.read_text().replace("end -->", "begin -->").split("<!-- table: begin -->")
    )
    assert (before, after) == ("before\n", "\nafter\n")
    head, _, noise, jpeg = (
        [c.strip() for c in line.split("|")[1:-1]] for line in table.strip().split("\n")
    )
    assert head == ["psnr ↑ / ssim ↑", "n", "untouched", "agent", "oracle"]
    rows = run.summary["systems"]
    assert jpeg[:2] == ["jpeg 10", "3"]
    for cell, name in zip(jpeg[2:], head[2:], strict=True):
        found = rows[name]["rows"]["jpeg 10"]["metrics"]
        assert cell.replace("*", "") == f"{found['psnr']['mean']:.2f} / {found['ssim']['mean']:.4f}"
    assert any(cell.startswith("**") for cell in jpeg[2:4])
    assert not jpeg[4].startswith("**"), "a ceiling competes with nobody"
    assert noise[0] == "noise 25"
    assert noise[3].endswith("(2 of 3)")


def test_a_document_without_a_place_for_the_table_stays(make_run, tmp_path) -> None:
    card = tmp_path / "CARD.md"
    card.write_text("nothing here")
    with pytest.raises(UsageError, match="no place for the table"):
        renew_table(make_run("one"), card)
    with pytest.raises(UsageError, match="no metric 'lpips'"):
        renew_table(make_run("two"), card, ["psnr", "lpips"])
    with pytest.raises(UsageError, match="cannot be read"):
        renew_table(make_run("three"), tmp_path / "none.md")
    assert card.read_text() == "nothing here"


def test_formats_by_suffix(tmp_path) -> None:
    for form, suffix in FORMATS.items():
        assert format_of(tmp_path / f"x{suffix.upper()}") == form
    with pytest.raises(UnknownNameError):
        format_of(tmp_path / "x.pdf")


def test_an_unfinished_run_is_summed_up_so_far(make_run, tmp_path) -> None:
    run = make_run("one", finished=False)
    assert summary_of(run)["samples"] == 6
    empty = RunFolder.create(tmp_path / "empty", {"task": run.config["task"]})
    with pytest.raises(UsageError, match="no answers yet"):
        summary_of(empty)
    with pytest.raises(UsageError, match="no answers yet"):
        export(empty, "csv", tmp_path / "empty.csv")
