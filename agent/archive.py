"""The folders that runs and dialogues leave behind: find them, tell of them, hand out what is in them, delete them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from conservator.agent.dialogue.comparing import SHEETS
from conservator.agent.dialogue.keeping import SAVED_FILE
from conservator.agent.dialogue.state import STATE_FILE, holds_session, read_state
from conservator.agent.dialogue.workshop import RUNS
from conservator.agent.recipe import Recipe
from conservator.agent.sessions import PAGE_FILE, RunFolder, RunRequest
from conservator.agent.settings import load_settings
from conservator.restorers.errors import (
    ConservatorError,
    MissingFileError,
    OutputError,
    UsageError,
)

if TYPE_CHECKING:
    from conservator.tools.image_io import Picture

__all__ = ["Kept", "default_folders", "delete", "export", "find", "kept_at", "listed", "rename"]

_RUN_FILES: Final = frozenset(
    {
        "request.json",
        "checkpoints.sqlite",
        "checkpoints.sqlite-journal",
        "checkpoints.sqlite-shm",
        "checkpoints.sqlite-wal",
        "input.npz",
        "report.json",
        "recipe.json",
        "sheet.png",
        PAGE_FILE,
        "delivered.json",
    }
)
_SESSION_FILES: Final = frozenset({STATE_FILE, SAVED_FILE, PAGE_FILE, "input.npz"})


@dataclass(frozen=True)
class Kept:
    """A run or a dialogue on disk.

    Attributes:
        path: its folder; the folder's name is its id.
        kind: `run` or `dialogue`.
        state: how the run ended, or `unfinished`; of a dialogue where it is.
        input: the photo; None for pixels without a file.
        output: where the result goes, None when none was asked for.
        modified: when it was written last, local time.
        size: bytes on disk.
    """

    path: Path
    kind: Literal["run", "dialogue"]
    state: str
    input: Path | None
    output: Path | None
    policy: str
    modified: datetime
    size: int

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.name

    def as_dict(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "folder": str(self.path),
            "input": None if self.input is None else str(self.input),
            "output": None if self.output is None else str(self.output),
            "policy": self.policy,
            "modified": self.modified.isoformat(timespec="seconds"),
            "bytes": self.size,
        }


def default_folders() -> tuple[Path, ...]:
    """Where runs are looked for: the current folder, and the one of the settings."""
    runs_dir = load_settings().runs_dir
    folders = (Path.cwd(), *(() if runs_dir is None else (runs_dir.absolute(),)))
    return tuple(dict.fromkeys(folders))


def listed(folders: Iterable[Path], *, recursive: bool = False) -> tuple[Kept, ...]:
    """The runs and dialogues in these folders, newest first.

    Args:
        folders: each may be one itself, or hold some.
        recursive: look in their sub-folders at any depth; the runs of a dialogue belong to it.
    """
    found: dict[Path, Kept] = {}
    for folder in folders:
        for place in _places(folder.absolute(), recursive=recursive):
            try:
                found[place] = kept_at(place)
            except ConservatorError:
                # Broken, or somebody else's request.json.
                continue
    return tuple(sorted(found.values(), key=lambda kept: kept.modified, reverse=True))


def _places(folder: Path, *, recursive: bool) -> Iterator[Path]:
    if _is_kept(folder):
        yield folder
        return
    for parent, names, _ in os.walk(folder):
        below = sorted(names)
        names.clear()
        for name in below:
            place = Path(parent, name)
            if _is_kept(place):
                yield place
            elif recursive and not name.startswith("."):
                names.append(name)


def _is_kept(folder: Path) -> bool:
    return (folder / "request.json").is_file() or holds_session(folder)


def find(name: str) -> Kept:
    """A run or dialogue by its folder, or by the name of a folder in `default_folders`.

    Raises:
        MissingFileError: there is none.
        UsageError: two have the same name, or its file is damaged.
    """
    path = Path(name).expanduser()
    if _is_kept(path):
        return kept_at(path.absolute())
    if path.name == name:
        places = [folder / name for folder in default_folders() if _is_kept(folder / name)]
        if len(places) > 1:
            raise UsageError(f"two runs are named {name!r}: {places[0]}, {places[1]}; give a path")
        if places:
            return kept_at(places[0])
    looked = ", ".join(str(folder) for folder in default_folders())
    raise MissingFileError(
        f"no run {name!r}; give its folder, or an id that `conservator sessions list` shows ({looked})"
    )


def kept_at(folder: Path) -> Kept:
    """The run or dialogue of a folder.

    Raises:
        MissingFileError: there is none.
        UsageError: its file is damaged.
    """
    if holds_session(folder):
        state = read_state(folder)
        turns = len(state.tree.turns)
        words = f"at {state.tree.here}, {turns} turn{'' if turns == 1 else 's'}"
        return _kept(folder, "dialogue", words, state.request, folder / STATE_FILE)
    run = RunFolder.open(folder)
    request, report = run.read_request(), run.read_json("report.json")
    if not isinstance(report, dict):
        return _kept(folder, "run", "unfinished", request, folder / "request.json")
    ended = str(report.get("outcome", "unfinished"))
    return _kept(folder, "run", ended, request, folder / "report.json")


def _kept(
    folder: Path, kind: Literal["run", "dialogue"], state: str, request: RunRequest, newest: Path
) -> Kept:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    # A picture that two folders share takes room once.
    sizes = {(stat.st_dev, stat.st_ino): stat.st_size for stat in map(os.lstat, files)}
    return Kept(
        path=folder,
        kind=kind,
        state=state.replace("_", " "),
        input=request.input,
        output=request.output,
        policy=request.preset.name,
        modified=datetime.fromtimestamp(newest.stat().st_mtime).astimezone(),
        size=sum(sizes.values()),
    )


def export(kept: Kept, into: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write the picture, the recipe and the report, as data and as a page, of a run or of where a dialogue is.

    Args:
        kept: what to export.
        into: a folder; it is made where it is not there.
        overwrite: replace files of the same names.

    Returns:
        The four files.

    Raises:
        UsageError: the run is unfinished.
        InputError: the input changed since.
        OutputError: a file exists, or cannot be written.
    """
    from conservator.agent.report.writing import make_report
    from conservator.tools.image_io import default_output, save, write_atomically

    picture, recipe, report = (_dialogue if kept.kind == "dialogue" else _run)(kept)
    name = kept.input or Path("picture.png")
    suffix = default_output(Path(name.name)).suffix if kept.output is None else kept.output.suffix
    files = tuple(
        into / file
        for file in (f"{name.stem}.restored{suffix}", "recipe.json", "report.json", PAGE_FILE)
    )
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make folder {str(into)!r}: {error.strerror}") from error
    for file in files:
        if file.exists() and not overwrite:
            raise OutputError(f"{file}: exists; pass overwrite or another folder")
    save(picture, files[0], overwrite=overwrite, source=kept.input)
    write_atomically(files[1], recipe.model_dump_json(indent=1).encode(), overwrite=overwrite)
    text = json.dumps(report, indent=1, ensure_ascii=False)
    write_atomically(files[2], text.encode(), overwrite=overwrite)
    make_report(kept.path, files[3], overwrite=overwrite)
    return files


def _run(kept: Kept) -> tuple[Picture, Recipe, dict[str, Any]]:
    """The result of a run, from what its folder holds; nothing is run."""
    from conservator.agent.pictures import input_again
    from conservator.policies.attempt import ORIGINAL

    folder = RunFolder.open(kept.path)
    report = folder.read_json("report.json")
    if report is None:
        raise UsageError(
            f"{kept.id} is unfinished; finish it first: conservator sessions resume {kept.path}"
        )
    picture = input_again(folder.read_request(), folder, load_settings())
    best = report["best"]
    if best != ORIGINAL:
        artifact = next(one["artifact"] for one in report["attempts"] if one["id"] == best)
        picture = picture.with_pixels(folder.load_artifact(artifact))
    return picture, Recipe.model_validate(report["recipe"]), report


def _dialogue(kept: Kept) -> tuple[Picture, Recipe, dict[str, Any]]:
    from conservator.agent.dialogue.opening import open_session

    session = open_session(run_dir=kept.path, vlm=None)
    return session.picture, session.recipe(), session.as_dict()


def rename(kept: Kept, name: str) -> Kept:
    """Give the folder of a run or dialogue another name, in the same place.

    Args:
        kept: what to rename.
        name: the new name; a dialogue's keeps its `.session`, a run's its `.run`.

    Raises:
        UsageError: the name is a path, or is taken.
        OutputError: the folder cannot be renamed.
    """
    if Path(name).name != name or name in ("", ".", "..") or "\0" in name:
        raise UsageError(f"{name!r} is no name for a folder; give a word")
    suffix = kept.path.suffix if kept.path.suffix in (".session", ".run") else ""
    target = kept.path.with_name(name if name.endswith(suffix) else f"{name}{suffix}")
    if target.exists():
        raise UsageError(f"{target} exists; choose another name")
    try:
        kept.path.rename(target)
    except OSError as error:
        raise OutputError(f"cannot rename {kept.path}: {error.strerror}") from error
    return kept_at(target)


def delete(kept: Kept) -> None:
    """Remove a folder of ours; the input and the pictures that were written elsewhere stay.

    Raises:
        UsageError: it is a link, or holds something that no run puts there.
        OutputError: it cannot be removed.
    """
    if kept.path.is_symlink():
        raise UsageError(f"{kept.path} is a link; delete what it points to, and the link by hand")
    if strange := next(_strange(kept.path, kept.kind), None):
        raise UsageError(
            f"{kept.path} holds {strange.relative_to(kept.path)}, which is not ours; move it away first"
        )
    try:
        shutil.rmtree(kept.path)
    except OSError as error:
        raise OutputError(f"cannot delete {kept.path}: {error.strerror}") from error


def _strange(folder: Path, kind: Literal["run", "dialogue"]) -> Iterator[Path]:
    """What lies in a run folder and is not ours."""
    files = _SESSION_FILES if kind == "dialogue" else _RUN_FILES
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            yield path
        elif path.is_file():
            if path.name not in files and path.suffix != ".part":
                yield path
        elif path.name == "artifacts":
            yield from _others(path, (".npy", ".part"))
        elif kind == "dialogue" and path.name == SHEETS:
            yield from _others(path, (".png", ".part"))
        elif kind == "dialogue" and path.name == RUNS:
            for run in sorted(path.iterdir()):
                # What a killed turn left behind may lack its request.
                yield from _strange(run, "run") if run.is_dir() else iter((run,))
        else:
            yield path


def _others(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file() or path.suffix not in suffixes:
            yield path
