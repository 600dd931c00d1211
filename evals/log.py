"""The run folder: the product of a run.

::

    RUN/config.json      what was asked: task, systems, options, versions, revision, weights, hardware; `status`
    RUN/samples.jsonl    one `AnswerRecord` a line, in the order of finishing
    RUN/summary.json     tables, see `conservator.evals.summary`
    RUN/images/          ROW/FILE/degraded.png and one picture a system, when kept
    RUN/log.txt          what the workers said

A run is `started` until every answer that is owed is there. A line that broke off in a crash is not a line: it is owed again.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from conservator.evals.sample import AnswerRecord
from conservator.restorers.errors import OutputError, UsageError

__all__ = ["RunFolder", "slug"]


def slug(text: str) -> str:
    """A file name of a row, sample or system: its letters, digits, `.`, `_`, `=`, `+` and `-`.

    Where anything else was in it a checksum is added, so that two names never share a file.
    """
    plain = re.sub(r"[^A-Za-z0-9._=+-]+", "-", text).strip("-.")
    return plain if plain == text else f"{plain}~{zlib.crc32(text.encode()):08x}"


class RunFolder:
    """Reads and writes one run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> RunFolder:
        """A new folder, `status` started.

        Raises:
            UsageError: the folder holds something already.
            OutputError: it cannot be written.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            is_run = (path / "config.json").exists()
            ways = (
                f"conservator eval resume {path}, another --out, or --overwrite"
                if is_run
                else ("another --out" if path.is_dir() else "a folder that does not exist yet")
            )
            raise UsageError(f"{path} is not empty; choose: {ways}")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot create {path}: {error.strerror or error}") from error
        run = cls(path)
        run.write_json("config.json", {**config, "status": "started"})
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing folder.

        Raises:
            UsageError: there is no run in it.
        """
        run = cls(path)
        if not (path / "config.json").is_file():
            raise UsageError(f"{path} is not a run folder: it has no config.json")
        return run

    @property
    def config(self) -> dict[str, Any]:
        """What was asked, with `status` `started` or `done`."""
        return self.read_json("config.json")

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary and set `status` to done."""
        self.write_json("summary.json", summary)
        self.write_json("config.json", {**self.config, "status": "done"})

    @property
    def summary(self) -> dict[str, Any]:
        """Its tables; UsageError while the run is not done."""
        if not (self.path / "summary.json").is_file():
            raise UsageError(
                f"{self.path} has no summary yet: conservator eval resume {self.path} finishes the run"
            )
        return self.read_json("summary.json")

    def records(self) -> tuple[AnswerRecord, ...]:
        """Every whole line, the last of those with one key, in the order of finishing; a torn line is left out."""
        found: dict[tuple[str, str], AnswerRecord] = {}
        for line in self._lines():
            try:
                record = AnswerRecord.model_validate_json(line)
            except ValidationError:
                continue
            found.pop(record.key, None)
            found[record.key] = record
        return tuple(found.values())

    def append(self, records: Iterable[AnswerRecord]) -> None:
        """Add lines and force them to the disk; begins a new line where the last one broke off.

        Raises:
            OutputError: the disk is full or the folder is gone.
        """
        path = self.path / "samples.jsonl"
        text = "".join(record.model_dump_json() + "\n" for record in records)
        try:
            with path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":
                        text = "\n" + text
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Write a JSON file atomically.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.path / name
        part = path.with_name(path.name + ".part")
        try:
            part.write_text(json.dumps(data, indent=1, default=str) + "\n", encoding="utf-8")
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the folder.

        Raises:
            UsageError: it is missing or damaged.
        """
        path = self.path / name
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
        return data

    def _lines(self) -> Iterator[str]:
        path = self.path / "samples.jsonl"
        if path.exists():
            for line in path.read_bytes().split(b"\n"):
                if line.strip():
                    yield line.decode("utf-8", "replace")
