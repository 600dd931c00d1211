"""Writing a report: of a result, of a run folder, of a session, of a bare `report.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from conservator.agent.dialogue.state import STATE_FILE, SessionState, holds_session, read_state
from conservator.agent.report.pictures import Album, Samples, earlier_pictures
from conservator.agent.report.record import (
    REPORT_FILE,
    RunRecord,
    damaged,
    read_record,
    record_from,
)
from conservator.agent.report.run_page import RunMaterial, run_page
from conservator.agent.report.session_page import SessionMaterial, session_page
from conservator.agent.sessions import PAGE_FILE, RunFolder, RunRequest
from conservator.policies.attempt import ORIGINAL
from conservator.restorers.errors import (
    ConservatorError,
    InputError,
    MissingFileError,
    OutputError,
    UsageError,
)
from conservator.tools.image_io import write_atomically

if TYPE_CHECKING:
    from conservator.agent.dialogue.session import Session
    from conservator.agent.pictures import ImageLike
    from conservator.agent.result import RestorationResult

__all__ = ["Written", "keep_page", "make_report", "result_page", "write_report"]

_Kind = Literal["run", "dialogue"]


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        path: the page.
        gone: names of nodes whose pictures are not there any more.
        data: what the page tells, as JSON data.
    """

    path: Path
    kind: _Kind
    gone: tuple[str, ...]
    data: Mapping[str, Any]


@dataclass(frozen=True)
class _Made:
    kind: _Kind
    html: str
    album: Album
    data: Mapping[str, Any]


def write_report(
    run: RestorationResult | Session | str | Path,
    path: str | Path | None = None,
    *,
    image: ImageLike | None = None,
    overwrite: bool = False,
) -> Path:
    """Write what a run or a dialogue did as one HTML file, which needs no network.

    Args:
        run: a result, a session, a run folder, a session's folder, or a `report.json`.
        path: the file; by default `report.html` in the folder, which is replaced.
        image: the input, as in `restore`, for a result that kept no folder.
        overwrite: replace an existing file at `path`.

    Returns:
        The file.

    Raises:
        MissingFileError: no such run.
        UsageError: its files are damaged; or it kept no folder, and there is no path.
        OutputError: the file exists, or cannot be written; nothing half-written is left.
    """
    target = None if path is None else Path(path)
    if isinstance(run, (str, Path)):
        return make_report(Path(run), target, overwrite=overwrite).path
    if run.run_dir is not None:
        return make_report(run.run_dir, target, overwrite=overwrite).path
    if target is None:
        raise UsageError("the run kept no folder for its report; give a path")
    return _put(result_page(run, image), target, overwrite=overwrite)


def make_report(source: Path, path: Path | None = None, *, overwrite: bool = False) -> Written:
    """Write the report of a folder, or of a `report.json`; see `write_report`."""
    place = source.absolute()
    if place.name == REPORT_FILE and (place.parent / "request.json").is_file():
        place = place.parent
    own = place.is_dir()
    target = path or (place if own else place.parent) / PAGE_FILE
    replaced = overwrite or (own and path is None)
    if target.exists() and not replaced:
        raise OutputError(f"{target}: exists; pass overwrite or another name")
    made = _of_folder(place) if own else _of_file(place)
    _put(made.html, target, overwrite=replaced)
    return Written(target, made.kind, tuple(made.album.gone), made.data)


def result_page(result: RestorationResult, image: ImageLike | None = None) -> str:
    """The page of a result, from its folder where it kept one.

    Args:
        result: of a run.
        image: the input, where no folder was kept.
    """
    if result.run_dir is not None:
        return _of_folder(result.run_dir).html
    pictures: dict[str, Samples] = {result.best: result.array}
    if image is not None:
        from conservator.agent.pictures import picture_from

        pictures[ORIGINAL] = picture_from(image).pixels
    record = RunRecord.model_validate(result.as_dict())
    return run_page(RunMaterial(record=record, pictures=pictures))[0]


def keep_page(
    folder: RunFolder, request: RunRequest, report: Mapping[str, Any], original: Samples
) -> None:
    """Put the page of a run that ends into its folder, while all candidates are there.

    Args:
        folder: of the run.
        request: what was asked for.
        report: the data of its `report.json`.
        original: the input, (H, W, 3).

    Raises:
        OutputError: the disk is full or read-only.
    """
    record = RunRecord.model_validate(report)
    html, _ = run_page(_material(folder, request, record, original))
    folder.write_bytes(PAGE_FILE, _encoded(html))


def _of_folder(place: Path) -> _Made:
    if holds_session(place):
        return _of_session(read_state(place), RunFolder(place), place / STATE_FILE)
    if not (place / "request.json").is_file():
        raise MissingFileError(f"{str(place)!r} holds no run; give a run folder or a session's")
    folder = RunFolder(place)
    request, record = folder.read_request(), read_record(folder)
    return _of_run(record, _material(folder, request, record, _original(request, folder)))


def _of_file(path: Path) -> _Made:
    """A `report.json` on its own, as `sessions export` and `restore --json` leave it."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        hint = f"give a run folder, a session's folder or a {REPORT_FILE}"
        raise MissingFileError(f"no run at {str(path)!r}; {hint}") from error
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise damaged(path, "no JSON") from error
    if isinstance(data, dict) and "tree" in data:
        try:
            return _of_session(SessionState.model_validate(data), None, path)
        except ValueError as error:
            raise damaged(path, "no session") from error
    record = record_from(data, path)
    home = _home(record)
    if home is None:
        return _of_run(record, RunMaterial(record=record))
    request = home.read_request()
    return _of_run(record, _material(home, request, record, _original(request, home)))


def _home(record: RunRecord) -> RunFolder | None:
    """The folder that a report was written into, where that is there and of the same run."""
    if record.run_dir is None:
        return None
    try:
        folder = RunFolder.open(record.run_dir)
        return folder if folder.read_request().input_id == record.recipe.input_id else None
    except ConservatorError:
        return None


def _of_run(record: RunRecord, material: RunMaterial) -> _Made:
    html, album = run_page(material)
    return _Made("run", html, album, record.model_dump(mode="json"))


def _of_session(state: SessionState, folder: RunFolder | None, source: Path) -> _Made:
    known = {ORIGINAL}
    for turn in state.tree.turns:
        if turn.parent not in known:
            raise damaged(source, f"turn {turn.id} was asked at {turn.parent!r}")
        known.add(turn.id)
    if not known.issuperset((state.tree.here, *state.tree.branches.values())):
        raise damaged(source, "it is at a turn that is not there")
    pictures: dict[str, Samples] = {}
    runs: dict[str, RunRecord] = {}
    if folder is not None:
        if (original := _original(state.request, folder)) is not None:
            pictures[ORIGINAL] = original
        for turn in state.tree.turns:
            if turn.artifact and (samples := folder.open_artifact(turn.artifact)) is not None:
                pictures[turn.id] = samples
            if turn.run and (run := _run_of_turn(folder.path / turn.run)) is not None:
                runs[turn.id] = run
    earlier = {} if folder is None else earlier_pictures(folder.path / PAGE_FILE)
    html, album = session_page(
        SessionMaterial(
            state=state,
            folder=None if folder is None else folder.path,
            pictures=pictures,
            runs=runs,
            earlier=earlier,
        )
    )
    return _Made("dialogue", html, album, state.model_dump(mode="json", exclude={"made"}))


def _run_of_turn(place: Path) -> RunRecord | None:
    """The automatic run of a turn; None where its folder is gone or damaged."""
    try:
        return read_record(RunFolder.open(place))
    except ConservatorError:
        return None


def _material(
    folder: RunFolder, request: RunRequest, record: RunRecord, original: Samples | None
) -> RunMaterial:
    pictures = {} if original is None else {ORIGINAL: original}
    for attempt in record.attempts:
        if attempt.artifact and (samples := folder.open_artifact(attempt.artifact)) is not None:
            pictures[attempt.id] = samples
    return RunMaterial(
        record=record,
        request=request,
        folder=folder.path,
        pictures=pictures,
        earlier=earlier_pictures(folder.path / PAGE_FILE),
    )


def _original(request: RunRequest, folder: RunFolder) -> Samples | None:
    """The input, where it lay or beside the folder, if it is what it was; None otherwise."""
    from conservator.agent.pictures import input_again
    from conservator.agent.settings import load_settings

    places = [request.input]
    if request.input is not None:
        places.append(folder.path.parent / request.input.name)
    for place in places:
        try:
            asked = request.model_copy(update={"input": place})
            return input_again(asked, folder, load_settings()).pixels
        except InputError:
            continue
    return None


def _put(html: str, path: Path, *, overwrite: bool) -> Path:
    target = path.absolute()
    if not target.parent.is_dir():
        raise OutputError(f"{target}: {target.parent} is not a folder; create it first")
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; give a file name")
    write_atomically(target, _encoded(html), overwrite=overwrite)
    return target


def _encoded(html: str) -> bytes:
    # Names of files need not be text; what cannot be written becomes a question mark.
    return html.encode(errors="replace")
