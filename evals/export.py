"""A run for other programs and other people: CSV, Parquet, Markdown, one HTML file.

    export(RunFolder.open(path), "html", path / "report.html")

CSV and Parquet hold a line an answer; Markdown and HTML the tables, HTML also plots and pictures. `renew_table` keeps one
table of a document, such as a model card, up to date.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from conservator.evals.log import RunFolder
from conservator.evals.sample import AnswerRecord
from conservator.evals.summary import summarise
from conservator.evals.tables import markdown, rows_table
from conservator.evals.task import Task
from conservator.restorers.errors import BackendMissingError, UnknownNameError, UsageError

__all__ = [
    "FORMATS",
    "export",
    "format_of",
    "known_metrics",
    "renew_table",
    "summary_of",
    "task_of",
]

FORMATS = {"csv": ".csv", "parquet": ".parquet", "markdown": ".md", "html": ".html"}
"""Format -> suffix."""

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
"""What a document has around the table that `renew_table` writes."""

_FACTS = ("sample_id", "system", "row", "group", "status", "reason")
_COSTS = ("seconds", "cpu_seconds", "peak_mb", "tools", "vlm_calls", "tokens")
_TEXTS = (*_FACTS, "outcome", "image", "digest", "findings", "details")


def export(run: RunFolder, form: str, output: Path, *, overwrite: bool = False) -> Path:
    """Write a run in another form, all at once.

    Args:
        run: may be unfinished; then what is there is exported.
        form: one of `FORMATS`.
        output: file to write.
        overwrite: replace it.

    Raises:
        UnknownNameError: no such format.
        UsageError: the run has no answers.
        BackendMissingError: the package that writes the format is not installed.
        OutputError: the file cannot be written.
    """
    from conservator.tools.image_io import write_atomically

    if form not in FORMATS:
        raise UnknownNameError("format", form, tuple(FORMATS))
    records = sorted(run.records(), key=lambda r: (r.row, r.key))
    if not records:
        raise UsageError(f"{run.path} has no answers yet")
    write_atomically(output, _data(run, records, form), overwrite=overwrite)
    return output


def format_of(output: Path) -> str:
    """The format that a file's suffix asks for.

    Raises:
        UnknownNameError: none.
    """
    for form, suffix in (*FORMATS.items(), ("markdown", ".markdown"), ("html", ".htm")):
        if output.suffix.lower() == suffix:
            return form
    raise UnknownNameError("format", output.suffix, tuple(FORMATS.values()))


def renew_table(run: RunFolder, document: Path, metrics: Sequence[str] = ()) -> None:
    """Put a run's table, rows x systems, between the marks of a document.

    Args:
        run: may be unfinished; then what is there is written.
        document: of text, with `BEGIN` and `END`.
        metrics: of the cells; the primary one by default.

    Raises:
        UsageError: the run has no answers or no such metric, or the document no marks.
        OutputError: the document cannot be written.
    """
    from conservator.tools.image_io import write_atomically

    summary = summary_of(run)
    chosen = known_metrics(summary, metrics) or [summary["primary"]]
    try:
        text = document.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{document} cannot be read: {why}") from error
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"{document} has no place for the table: add {BEGIN} and {END}")
    table = rows_table(summary, chosen).markdown()
    whole = f"{head}{BEGIN}\n{table}\n{END}{tail}"
    write_atomically(document, whole.encode(errors="replace"), overwrite=True)


def known_metrics(summary: Mapping[str, Any], asked: Sequence[str]) -> list[str]:
    """The metrics that were asked for, each once.

    Raises:
        UsageError: one that the run does not have.
    """
    there = summary["metrics"]
    unknown = [name for name in asked if name not in there]
    if unknown:
        raise UsageError(
            f"the run has no metric {unknown[0]!r}; it has: {', '.join(there) or 'none'}"
        )
    return list(dict.fromkeys(asked))


def task_of(run: RunFolder) -> Task:
    """The task as it was when the run started.

    Raises:
        UsageError: its configuration holds none.
    """
    try:
        return Task.model_validate(run.config["task"])
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"{run.path / 'config.json'} holds no task; is it a run folder?"
        ) from error


def summary_of(run: RunFolder) -> dict[str, Any]:
    """The summary of a finished run, or of what an unfinished one has so far.

    Raises:
        UsageError: it has no answers.
    """
    if run.config.get("status") == "done" and (run.path / "summary.json").is_file():
        return run.summary
    records = run.records()
    if not records:
        raise UsageError(f"{run.path} has no answers yet")
    return summarise(records, task_of(run), run.config)


def _data(run: RunFolder, records: Sequence[AnswerRecord], form: str) -> bytes:
    if form == "csv":
        return _csv(records)
    if form == "parquet":
        return _parquet(records)
    summary, task = summary_of(run), task_of(run)
    if form == "markdown":
        return markdown(summary, task, list(summary["metrics"])).encode(errors="replace")
    from conservator.evals.report.page import report_page

    return report_page(run, records, summary, task).encode(errors="replace")


def _rows(records: Sequence[AnswerRecord]) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows; scores in `score_NAME`, so that no metric hides another column."""
    metrics = sorted({metric for record in records for metric in record.scores})
    rows = [
        {
            **{name: getattr(r, name) for name in _FACTS},
            "outcome": str(r.details.get("outcome", "")),
            **{f"score_{metric}": r.scores.get(metric) for metric in metrics},
            **{name: getattr(r.cost, name) for name in _COSTS},
            "image": r.image,
            "digest": r.digest,
            "findings": json.dumps({k: dict(v) for k, v in r.findings.items()}),
            "details": json.dumps(dict(r.details), default=str),
        }
        for r in records
    ]
    return list(rows[0]), rows


def _csv(records: Sequence[AnswerRecord]) -> bytes:
    columns, rows = _rows(records)
    text = StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="replace")


def _parquet(records: Sequence[AnswerRecord]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise BackendMissingError(
            "Parquet needs pyarrow; pip install pyarrow, or export to csv"
        ) from error
    columns, rows = _rows(records)
    whole = ("tools", "vlm_calls", "tokens")
    types = {
        **{name: pyarrow.float64() for name in columns},
        **{name: pyarrow.int64() for name in whole},
        **{name: pyarrow.string() for name in _TEXTS},
    }
    schema = pyarrow.schema([(name, types[name]) for name in columns])
    file = BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), file)
    return file.getvalue()
