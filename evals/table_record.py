"""The file of a table: a row a case, a column a system, measured at different times and merged.

Columns can be measured apart, the slow ones once and those of a network again with its new weights. All columns of a row
must have seen the same number of images, or they could not be compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from conservator.restorers.errors import UsageError

__all__ = ["check_counts", "merged", "read_record", "write_record"]

Record = dict[str, Any]
_FACTS = ("case", "images")


def read_record(path: Path | None) -> Record:
    """What was measured before; nothing where there is no file.

    Raises:
        UsageError: the file is not such a record.
    """
    if path is None or not path.exists():
        return {}
    try:
        record = json.loads(path.read_bytes())
        rows = {row["case"]: row["images"] for row in record["rows"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} holds no table ({type(error).__name__}: {error}); give another --out"
        ) from error
    if len(rows) != len(record["rows"]):
        raise UsageError(f"{path} holds a case twice; give another --out")
    return dict(record)


def write_record(path: Path, record: Record) -> None:
    """Write the file, all at once: it may hold an hour's work."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def check_counts(record: Record, images: Mapping[str, int], columns: Sequence[str]) -> None:
    """See that new columns fit those that are kept.

    Args:
        record: what was measured before.
        images: case -> number of images that are (to be) measured.
        columns: those that are (to be) measured.

    Raises:
        UsageError: a row that keeps a column was measured on another number of images.
    """
    for row in record.get("rows", ()):
        count = images.get(row["case"], row["images"])
        kept = [c for c in row if c not in _FACTS and c not in columns]
        if kept and count != row["images"]:
            raise UsageError(
                f"{row['case']!r} was measured on {row['images']} images ({', '.join(kept)}), now on {count}; "
                f"give the --limit of before, another --out, or measure all columns"
            )


def merged(
    record: Record,
    rows: Iterable[Record],
    columns: Sequence[str],
    machine: Record,
    *,
    cases: Sequence[str],
    order: Sequence[str],
    weights: Mapping[str, str] | None = None,
) -> Record:
    """A record with newly measured rows in it; other rows and columns stay.

    Args:
        record: what was measured before.
        rows: new ones, with `columns`.
        columns: those that were measured.
        machine: what measured them, with `revision` and `date`.
        cases: all rows in their order; unknown ones come last.
        order: all columns in their order.
        weights: column -> sha256 of the weights it was measured with.

    Returns:
        `machine` of the last measurement; `columns` with each one's revision, date and weights, and under `older` the
        revisions of cases that were last measured before; `rows`.

    Raises:
        UsageError: a row that keeps a column was measured on another number of images.
    """
    new = {row["case"]: row for row in rows}
    check_counts(record, {name: row["images"] for name, row in new.items()}, columns)
    table = {row["case"]: row for row in record.get("rows", ())}
    for name, row in new.items():
        kept = {c: figures for c, figures in table.get(name, {}).items() if c not in columns}
        both = kept | row
        table[name] = {c: both[c] for c in (*_FACTS, *order) if c in both}
    notes = _notes(record)
    for column in columns:
        before = notes.get(column, {})
        older = {
            name: before.get("older", {}).get(name, before["revision"])
            for name, row in table.items()
            if column in row and name not in new
        }
        older = {name: at for name, at in older.items() if at != machine["revision"]}
        notes[column] = {"revision": machine["revision"], "date": machine["date"]}
        if weights and column in weights:
            notes[column]["weights"] = weights[column]
        if older:
            notes[column]["older"] = older
    place = {name: i for i, name in enumerate(cases)}
    return {
        "machine": machine,
        "columns": {column: notes[column] for column in order if column in notes},
        "rows": sorted(table.values(), key=lambda row: place.get(row["case"], len(place))),
    }


def _notes(record: Record) -> dict[str, Record]:
    """Column -> its revision; files of before had one for all columns."""
    if "columns" in record:
        return dict(record["columns"])
    machine = record.get("machine", {})
    note = {"revision": machine.get("revision", "unknown"), "date": machine.get("date", "")}
    return {c: dict(note) for row in record.get("rows", ()) for c in row if c not in _FACTS}
