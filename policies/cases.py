"""Cases: what was tried on which condition, and how it ended; kept in one SQLite file that only `learn` makes grow.

A case is what case-based reasoning calls one: the condition of a photo as the inspection found it, the steps that were taken from there, and
the gain in dB of PSNR. Where a clean reference was there the gain is true; elsewhere it is the gain network's estimate, kept with
its expected error.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conservator.policies.attempt import ToolCall
from conservator.restorers.degradations.vocabulary import Finding, Kind, kind_named
from conservator.restorers.errors import ConservatorError, MissingFileError, OutputError, UsageError

__all__ = ["Case", "CaseFile", "Condition", "Learned", "Lesson", "Seen", "Step"]

_STEP: Final = re.compile(r"(?P<name>[\w.+-]+)\((?P<asked>[^()]*)\)(?: x(?P<blend>[\d.]+))?")
_SEEN: Final = re.compile(r"(?P<kind>\w+) (?P<severity>[\d.]+) (?P<confidence>[\d.]+)")
_FORMAT: Final = 1
LEAST: Final = 0.05
"""Severity that counts as something."""
_LOW: Final = 0.125
"""Severity from which a kind is at a level."""


@dataclass(frozen=True)
class Step:
    """One treatment.

    Attributes:
        restorer: that was called.
        strengths: kind and strength, in the kind's own unit, in the vocabulary's order.
        others: it was left to look for the rest itself.
        blend: share of the treated picture in the result, (0, 1].
    """

    restorer: str
    strengths: tuple[tuple[Kind, float], ...]
    others: bool = False
    blend: float = 1.0

    @classmethod
    def of(cls, call: ToolCall) -> Step:
        """The treatment of a call."""
        asked = call.prompt.degradations
        strengths = tuple((kind, asked[kind]) for kind in Kind if kind in asked)
        return cls(call.restorer, strengths, call.prompt.blind, call.blend)

    @classmethod
    def parse(cls, text: str) -> Step:
        """Read what `str` writes.

        Raises:
            UsageError: it is something else.
        """
        found = _STEP.fullmatch(text)
        if found is None:
            raise UsageError(f"{text!r} is not a step; write restorer(kind=strength, ...)")
        asked = [item for item in found["asked"].split(",") if item]
        strengths = []
        for item in asked:
            name, equals, value = item.partition("=")
            if equals:
                strengths.append((kind_named(name), _number(value, text)))
        others = "others" in asked
        return cls(found["name"], tuple(strengths), others, _number(found["blend"] or "1", text))

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What it treats."""
        return tuple(kind for kind, _ in self.strengths)

    @property
    def words(self) -> str:
        """What is done, without strengths: `llmra(noise, jpeg)`, `mofe-ir(noise, others)`."""
        named = [kind.value for kind in self.kinds]
        return f"{self.restorer}({', '.join([*named, 'others'] if self.others else named)})"

    def __str__(self) -> str:
        """`llmra(noise=25,jpeg=20)`, `mofe-ir(noise=25,others)`, `llmra(noise=25) x0.6`."""
        asked = [f"{kind.value}={value:.4g}" for kind, value in self.strengths]
        share = "" if self.blend == 1 else f" x{self.blend:.3g}"
        return f"{self.restorer}({','.join([*asked, *(['others'] if self.others else [])])}){share}"


@dataclass(frozen=True)
class Seen:
    """What an inspection saw of one kind: severity and confidence, each in [0, 1]."""

    kind: Kind
    severity: float
    confidence: float


@dataclass(frozen=True)
class Condition:
    """What an inspection found.

    Attributes:
        seen: kinds of a severity of `LEAST` or more, in the vocabulary's order.
        side: the picture's shorter side, px; 0 where nobody knows.
    """

    seen: tuple[Seen, ...]
    side: int = 0

    @classmethod
    def of(cls, findings: Iterable[Finding], side: int = 0) -> Condition:
        """The condition that findings describe."""
        by_kind = {finding.kind: finding for finding in findings if finding.severity >= LEAST}
        seen = (
            Seen(kind, round(by_kind[kind].severity, 2), round(by_kind[kind].confidence, 2))
            for kind in Kind
            if kind in by_kind
        )
        return cls(tuple(seen), side)

    @property
    def sure(self) -> tuple[Kind, ...]:
        """The kinds that were found at a level and with more confidence than not."""
        return tuple(s.kind for s in self.seen if s.severity >= _LOW and s.confidence >= 0.5)

    @classmethod
    def parse(cls, text: str, side: int = 0) -> Condition:
        """Read what `str` writes.

        Raises:
            UsageError: it is something else.
        """
        seen = []
        for item in filter(None, text.split(",")):
            found = _SEEN.fullmatch(item.strip())
            if found is None:
                raise UsageError(f"{item!r} is not a finding; write kind severity confidence")
            numbers = (_number(found[name], text) for name in ("severity", "confidence"))
            seen.append(Seen(kind_named(found["kind"]), *numbers))
        return cls(tuple(seen), side)

    def __str__(self) -> str:
        """`noise 0.62 0.93,jpeg 0.3 0.5`."""
        return ",".join(f"{s.kind.value} {s.severity:g} {s.confidence:g}" for s in self.seen)


@dataclass(frozen=True)
class Case:
    """What was tried on a condition, and how it ended.

    Attributes:
        condition: of the photo before the first step; cases of one photo share the object.
        steps: taken one after the other.
        gain: of the result over the photo, dB of PSNR.
        error: expected error of `gain`, dB; 0 where a clean reference told it.
        accepted: whether the joint rule let the result through; None where nobody judged.
        seconds: that the steps took.
    """

    condition: Condition
    steps: tuple[Step, ...]
    gain: float
    error: float = 0.0
    accepted: bool | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Lesson:
    """What is learned at once.

    Attributes:
        digest: of what it was learned from; the same thing is learned once.
        name: for people.
    """

    digest: str
    name: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Learned:
    """What became of lessons.

    Attributes:
        lessons: that were new.
        known: that had been learned before.
        cases: in the new ones.
    """

    lessons: int = 0
    known: int = 0
    cases: int = 0

    def __add__(self, other: Learned) -> Learned:
        """Both together."""
        return Learned(
            self.lessons + other.lessons, self.known + other.known, self.cases + other.cases
        )


class CaseFile:
    """An SQLite file of cases; it is there as soon as something was learned."""

    def __init__(self, path: Path) -> None:
        """Name a file, which need not be there yet."""
        self.path = path

    def learn(self, lessons: Iterable[Lesson]) -> Learned:
        """Add what is new in these lessons, all of it or nothing.

        Raises:
            UsageError: the file is no experience file.
            OutputError: it cannot be written.
        """
        total = Learned()
        with self._open(write=True) as database, database:
            for lesson in lessons:
                added = database.execute(
                    "INSERT OR IGNORE INTO lessons (digest, name) VALUES (?, ?)",
                    (lesson.digest, lesson.name),
                )
                if not added.rowcount:
                    total += Learned(known=1)
                    continue
                _write(database, added.lastrowid, lesson.cases)
                total += Learned(lessons=1, cases=len(lesson.cases))
        return total

    def cases(self) -> tuple[Case, ...]:
        """All of them, in the order of learning.

        Raises:
            MissingFileError: there is no such file.
            UsageError: it is no experience file.
        """
        with self._open(write=False) as database:
            conditions = {
                number: Condition.parse(seen, side)
                for number, seen, side in database.execute(
                    "SELECT number, seen, side FROM conditions"
                )
            }
            rows = database.execute(
                "SELECT condition, steps, gain, error, accepted, seconds FROM cases ORDER BY rowid"
            )
            # The same few thousand texts come again and again.
            parsed: dict[str, tuple[Step, ...]] = {}
            found = []
            for number, text, gain, error, accepted, seconds in rows:
                if text not in parsed:
                    parsed[text] = tuple(Step.parse(step) for step in text.split(" + "))
                judged = None if accepted is None else bool(accepted)
                found.append(Case(conditions[number], parsed[text], gain, error, judged, seconds))
            return tuple(found)

    def lessons(self) -> tuple[Lesson, ...]:
        """What was learned, in order, without the cases.

        Raises:
            MissingFileError: there is no such file.
            UsageError: it is no experience file.
        """
        query = "SELECT digest, name FROM lessons ORDER BY number"
        with self._open(write=False) as database:
            return tuple(Lesson(digest, name, ()) for digest, name in database.execute(query))

    @contextmanager
    def _open(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        """A connection to a file that is checked, and made where it may be written."""
        if not write and not self.path.is_file():
            raise MissingFileError(
                f"no experience file {str(self.path)!r}; `conservator policy learn` makes one"
            )
        address = f"{self.path.absolute().as_uri()}?mode={'rwc' if write else 'ro'}"
        try:
            database = sqlite3.connect(address, uri=True)
        except sqlite3.Error as error:
            raise OutputError(f"cannot open {str(self.path)!r}: {error}") from error
        try:
            self._prepare(database, write=write)
            yield database
        except (sqlite3.DatabaseError, KeyError) as error:
            if write and isinstance(error, sqlite3.OperationalError):
                raise OutputError(f"cannot write {str(self.path)!r}: {error}") from error
            raise self._foreign(error) from error
        finally:
            database.close()

    def _prepare(self, database: sqlite3.Connection, *, write: bool) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version == 0 and tables == 0 and write:
            database.executescript(_SCHEMA)
        elif version != _FORMAT:
            raise self._foreign(f"it is of format {version}, not {_FORMAT}")

    def _foreign(self, why: object) -> ConservatorError:
        return UsageError(f"{str(self.path)!r} is no experience file: {why}")


_SCHEMA: Final = f"""
BEGIN;
PRAGMA user_version = {_FORMAT};
CREATE TABLE lessons (number INTEGER PRIMARY KEY, digest TEXT UNIQUE NOT NULL, name TEXT NOT NULL);
CREATE TABLE conditions (number INTEGER PRIMARY KEY, lesson INTEGER NOT NULL REFERENCES lessons,
  seen TEXT NOT NULL, side INTEGER NOT NULL);
CREATE TABLE cases (condition INTEGER NOT NULL REFERENCES conditions, steps TEXT NOT NULL, gain REAL NOT NULL,
  error REAL NOT NULL, accepted INTEGER, seconds REAL NOT NULL);
COMMIT;
"""


def _write(database: sqlite3.Connection, lesson: int | None, cases: Iterable[Case]) -> None:
    # By the object, not by what it says: two photos may be in the same condition.
    numbers: dict[int, int | None] = {}
    for case in cases:
        condition = case.condition
        if id(condition) not in numbers:
            numbers[id(condition)] = database.execute(
                "INSERT INTO conditions (lesson, seen, side) VALUES (?, ?, ?)",
                (lesson, str(condition), condition.side),
            ).lastrowid
        database.execute(
            "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?)",
            (
                numbers[id(condition)],
                " + ".join(map(str, case.steps)),
                round(case.gain, 2),
                round(case.error, 2),
                None if case.accepted is None else int(case.accepted),
                round(case.seconds, 2),
            ),
        )


def _number(text: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{text!r} in {whole!r} is not a number") from None
