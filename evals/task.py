"""A task: which pictures, made worse how, which systems, which scorers. Suites are tasks in YAML files of `suites/`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from conservator.restorers.degradations.recipe import Recipe
from conservator.restorers.errors import PromptError, UnknownNameError, UsageError

__all__ = ["SUITES", "Row", "Task", "load_suite", "suite_names"]

SUITES = Path(__file__).with_name("suites")

Needs = Literal["clean", "pairs", "real"]


class Row(BaseModel):
    """One line of the task's table: all its samples are averaged together.

    Attributes:
        name: of the line, unique in the task.
        recipe: degrades the clean picture; "" takes the picture as it lies in the folder.
        group: lines of one group are averaged again, each line with equal weight; "" is a line by itself.
        folder: below the images' folder, for tasks over several standard sets ("BSD68"); "" is the folder itself.
        enlarge: bring a picture that the recipe made smaller back to its size, so that its loss can be seen in the file.
        needs: what that folder holds, where it differs from the task's.
        truth: kind -> parameter that a prompt of the truth names, for pairs and real photos whose draws nobody knows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    recipe: str = ""
    group: str = ""
    enlarge: bool = False
    folder: str = ""
    needs: Needs | None = None
    truth: Mapping[str, float] = {}

    @model_validator(mode="after")
    def _recipe_parses(self) -> Row:
        if self.recipe:
            Recipe.parse(self.recipe)
        return self


class Task(BaseModel):
    """A task, `id@version`.

    Attributes:
        id: its name on the command line.
        version: rises whenever numbers of an older version are no longer comparable.
        title: one line.
        needs: `clean` pictures (with or without recipes), `pairs` of degraded and clean, or `real` photos without truth.
        rows: lines of the table.
        systems: candidates by default; the syntax is that of `conservator.evals.systems`.
        scorers: families of `conservator.evals.scorers`: `full-reference`, `no-reference`, `perception`, `self`.
        primary: the metric that compare and gate look at first.
        fixed_draws: degrade each picture the same way whatever the run's seed, for tables that are measured again and again.
        seconds_per_answer: limit of one system on one sample.
        published: line -> system -> metric -> figure, as papers print them; for orientation beside ours.
        source: of the published figures and of the recipe.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: int = Field(ge=1)
    title: str
    needs: Needs = "clean"
    rows: tuple[Row, ...] = Field(min_length=1)
    systems: tuple[str, ...] = Field(min_length=1)
    scorers: tuple[str, ...] = Field(min_length=1)
    primary: str = "psnr"
    fixed_draws: bool = False
    seconds_per_answer: float = Field(default=300, gt=0)
    published: Mapping[str, Mapping[str, Mapping[str, float]]] = {}
    source: str = ""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Task:
        names = [row.name for row in self.rows]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"rows named twice: {', '.join(sorted(twice))}")
        return self

    @property
    def key(self) -> str:
        """`id@version`."""
        return f"{self.id}@{self.version}"


def suite_names() -> tuple[str, ...]:
    """The suites that ship."""
    return tuple(sorted(path.stem for path in SUITES.glob("*.yaml")))


def load_suite(name: str | Path) -> Task:
    """A shipped suite by `id` or `id@version`, or a task in a YAML file of one's own.

    Raises:
        UnknownNameError: no such suite.
        UsageError: the file does not describe a task, or ships in another version.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise UsageError(f"no task file {path}; give a YAML file or one of: {_known()}")
        return _read(path)
    wanted, _, version = str(name).partition("@")
    if wanted not in suite_names():
        raise UnknownNameError("suite", str(name), suite_names())
    task = _read(SUITES / f"{wanted}.yaml")
    if version and version != str(task.version):
        raise UsageError(f"suite {wanted} ships as {task.key}, not @{version}; ask for {task.key}")
    return task


def _known() -> str:
    return ", ".join(suite_names())


@cache
def _read(path: Path) -> Task:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Task.model_validate(data)
    except (OSError, yaml.YAMLError, ValidationError, PromptError) as error:
        words = (
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            if isinstance(error, ValidationError)
            else str(error).splitlines()[0]
        )
        raise UsageError(f"{path} is not a task: {words}") from error
