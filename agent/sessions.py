"""The run folder: what a run leaves behind, and what it needs to go on after a kill.

::

    request.json         what was asked for; enough to start the process again
    checkpoints.sqlite   the state after every node
    artifacts/           candidates, lossless, named by the hash of their content
    input.npz            the input, when it was not a file
    report.json          what was found, done and gained, and how long it took
    recipe.json          the accepted steps; replays without a vision-language model
    sheet.png            before and after, side by side
    report.html          all of it as one page
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from conservator.policies.budget import Budget
from conservator.policies.preset import Preset
from conservator.restorers.errors import (
    ConservatorError,
    InputError,
    MissingFileError,
    OutputError,
    UsageError,
)
from conservator.tools.image_io import Picture, content_hash, from_array
from conservator.tools.look import Pixels

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite import SqliteSaver

__all__ = [
    "PAGE_FILE",
    "THREAD",
    "RunFolder",
    "RunRequest",
    "free_folder",
    "full_range",
    "unit_range",
]

THREAD: Final = "run"
"""A run folder holds one run, so its checkpoints need no other name."""

PAGE_FILE: Final = "report.html"
"""A run or a dialogue as one page, see `conservator.agent.report`."""

_FORMAT: Final = 1
_STRIP_ROWS: Final = 64
_KEPT: Final = (np.uint8, np.uint16, np.float32)


class RunRequest(BaseModel):
    """What a caller asked for, complete: presets are kept by value, so that an edited file changes no running run.

    Attributes:
        format: version of this file.
        input: the picture's path; None when the caller gave pixels, which are in `input.npz`.
        input_id: sha256 of the file, or of the pixels.
        targets: as text.
        protect: places that come back as they came in, as text.
        keep: what is wanted as it is, as text; its kinds are among those that the preset leaves.
        output: where the result goes; None to write none.
        overwrite: replace an existing output, also the input itself.
        named_by_us: nobody wished for the output's name, so that another one may be taken.
        suffix: format in which candidates are scored, the output's.
        vlm: the vision-language model's specification; `none` also for a model that the caller gave.
        approve: when a person is asked before a call.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = _FORMAT
    input: Path | None
    input_id: str
    preset: Preset
    targets: str = ""
    protect: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    budget: Budget
    seed: int = 0
    output: Path | None = None
    overwrite: bool = False
    named_by_us: bool = False
    suffix: str = ".png"
    device: str = "auto"
    dry_run: bool = False
    vlm: str = "none"
    approve: Literal["never", "plan", "each"] = "never"


class RunFolder:
    """One run's folder; creates and reads the files in it."""

    def __init__(self, path: Path, *, temporary: bool = False) -> None:
        """Wrap a folder that exists; a temporary one is removed by `discard`."""
        self.path = path
        self.temporary = temporary
        self._made = False
        self._cached: tuple[str, Pixels] | None = None

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make a new, empty run folder.

        Raises:
            UsageError: the folder holds a run or something else already.
            OutputError: it cannot be made.
        """
        if path.exists() and not path.is_dir():
            raise UsageError(f"run folder {str(path)!r} is a file; give a folder's name")
        if path.is_dir() and any(path.iterdir()):
            way = "resume it" if (path / "request.json").exists() else "empty it"
            raise UsageError(f"run folder {str(path)!r} is not empty; {way} or give another one")
        folder = cls(path)
        folder._made = not path.exists()
        try:
            (path / "artifacts").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot make run folder {str(path)!r}: {reason}") from error
        return folder

    @classmethod
    def create_free(cls, path: Path) -> RunFolder:
        """Make a new run folder at `path`, or at the first of `path-2`, `path-3`, ... that nobody has taken, be it at this moment.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            while True:
                folder = cls(free_folder(path))
                try:
                    folder.path.mkdir()
                except FileExistsError:
                    continue
                folder._made = True
                (folder.path / "artifacts").mkdir()
                return folder
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot make a run folder at {str(path)!r}: {reason}") from error

    @classmethod
    def create_temporary(cls, parent: Path | None) -> RunFolder:
        """Make a run folder that goes away with `discard`.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            if parent is not None:
                parent.mkdir(parents=True, exist_ok=True)
            path = Path(tempfile.mkdtemp(prefix="conservator-", dir=parent))
            (path / "artifacts").mkdir()
        except OSError as error:
            raise OutputError(
                f"cannot make a run folder: {error}; set CONSERVATOR_RUNS_DIR"
            ) from error
        return cls(path, temporary=True)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Wrap the folder of an earlier run.

        Raises:
            MissingFileError: no run is in it.
        """
        if not (path / "request.json").is_file():
            raise MissingFileError(f"{str(path)!r} holds no run; give a folder with a request.json")
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep everybody else off the run while the block works on it; a kill ends that, too.

        Raises:
            UsageError: somebody works on it.
        """
        try:
            import fcntl
        except ImportError:
            # No such locks on Windows.
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                busy = f"the run in {str(self.path)!r} is under way; wait for it, or stop it first"
                raise UsageError(busy) from None
            except OSError:
                # Some network file systems have none either.
                pass
            yield
        finally:
            os.close(handle)

    def discard(self) -> None:
        """Remove a temporary folder; leave any other one."""
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)

    def discard_unused(self) -> None:
        """After a failure: remove what this run put into the folder, unless a candidate is worth going on from."""
        if self.temporary or not any((self.path / "artifacts").iterdir()):
            for path in self.path.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
            if self.temporary or self._made:
                self.path.rmdir()

    def write_request(self, request: RunRequest) -> None:
        """Keep what was asked for."""
        self.write_text("request.json", request.model_dump_json(indent=1))

    def read_request(self) -> RunRequest:
        """What was asked for.

        Raises:
            UsageError: the file is damaged, or of a version this program does not know.
        """
        path = self.path / "request.json"
        try:
            return RunRequest.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise UsageError(f"{str(path)!r} does not read; start a new run") from error

    def write_json(self, name: str, data: object) -> None:
        """Write a JSON file, all at once."""
        self.write_text(name, json.dumps(data, indent=1, ensure_ascii=False))

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, all at once."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file, all at once for readers and kills; it is not forced to the disk, which takes 10 ms a file.

        Raises:
            OutputError: the disk is full or read-only.
        """
        part = self.path / f"{name}.part"
        try:
            part.write_bytes(data)
            part.replace(self.path / name)
        except OSError as error:
            part.unlink(missing_ok=True)
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write {name} in {str(self.path)!r}: {reason}") from error

    def read_json(self, name: str) -> Any:
        """A JSON file of this folder; None when it is not there or broken."""
        try:
            return json.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return None

    def save_artifact(self, samples: npt.NDArray[Any]) -> str:
        """Keep a candidate; returns its id. Equal candidates share one file.

        Args:
            samples: (H, W, 3), uint8, uint16 or float32, full scale or [0, 1].

        Raises:
            OutputError: the disk is full or read-only.
        """
        artifact = content_hash(samples)
        path = self._artifact(artifact)
        part = path.with_suffix(".part")
        try:
            if not path.exists():
                with part.open("wb") as stream:
                    np.save(stream, samples, allow_pickle=False)
                part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            reason = error.strerror or str(error)
            raise OutputError(
                f"cannot keep a candidate in {str(self.path)!r}: {reason}; make room, then resume the run"
            ) from error
        return artifact

    def load_artifact(self, artifact: str) -> Pixels:
        """A candidate, (H, W, 3), float32, [0, 1]; read-only.

        Raises:
            InputError: it is not in the folder any more, or damaged.
        """
        if self._cached is not None and self._cached[0] == artifact:
            return self._cached[1]
        path = self._artifact(artifact)
        try:
            samples = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{str(path)!r} is missing or damaged; start a new run") from error
        pixels = unit_range(samples)
        pixels.flags.writeable = False
        self._cached = (artifact, pixels)
        return pixels

    def open_artifact(self, artifact: str) -> npt.NDArray[Any] | None:
        """A candidate as it is kept, (H, W, 3), uint8, uint16 or float32, read as far as it is used; None when it is gone."""
        try:
            samples = np.load(self._artifact(artifact), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        good = samples.ndim == 3 and samples.shape[2] == 3 and samples.dtype in _KEPT
        return samples if good else None

    def has_artifact(self, artifact: str) -> bool:
        """Whether a candidate is in the folder."""
        return self._artifact(artifact).is_file()

    def adopt(self, other: RunFolder, artifact: str) -> None:
        """Keep a candidate of another folder as well; on one disk it takes no room.

        Raises:
            OutputError: the disk is full or read-only, or the candidate is not there.
        """
        if self.has_artifact(artifact):
            return
        source, target = other._artifact(artifact), self._artifact(artifact)
        try:
            try:
                target.hardlink_to(source)
            except OSError:
                part = target.with_suffix(".part")
                shutil.copyfile(source, part)
                part.replace(target)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot keep a candidate in {str(self.path)!r}: {reason}") from error

    def prune(self, keep: Iterable[str]) -> None:
        """Remove all candidates but these."""
        kept = {self._artifact(artifact).name for artifact in keep}
        for path in (self.path / "artifacts").glob("*.npy"):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def write_input(self, picture: Picture) -> None:
        """Keep an input that is not a file.

        Raises:
            OutputError: the disk is full or read-only.
        """
        arrays = {"pixels": picture.pixels}
        if picture.alpha is not None:
            arrays["alpha"] = picture.alpha
        part = self.path / "input.npz.part"
        try:
            with part.open("wb") as stream:
                np.savez(stream, allow_pickle=False, depth=np.array(picture.depth), **arrays)
            part.replace(self.path / "input.npz")
        except OSError as error:
            part.unlink(missing_ok=True)
            reason = error.strerror or str(error)
            raise OutputError(f"cannot keep the input in {str(self.path)!r}: {reason}") from error

    def read_input(self) -> Picture:
        """The input that `write_input` kept.

        Raises:
            InputError: it is missing or damaged.
        """
        path = self.path / "input.npz"
        try:
            with np.load(path, allow_pickle=False) as data:
                pixels, depth = data["pixels"], str(data["depth"])
                planes = [pixels, data["alpha"][..., None]] if "alpha" in data else [pixels]
            samples = np.concatenate(planes, axis=2)
            return from_array(full_range(samples, depth))
        except (OSError, ValueError, KeyError, ConservatorError) as error:
            raise InputError(f"{str(path)!r} is missing or damaged; start a new run") from error

    @contextmanager
    def checkpointer(self) -> Iterator[SqliteSaver]:
        """The checkpoints of this run; only our own types are read back from them.

        Raises:
            OutputError: they cannot be written, or read; also from within the block.
        """
        from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
        from langgraph.checkpoint.sqlite import SqliteSaver

        from conservator.agent.state import SERIALISED_TYPES

        names = [(kind.__module__, kind.__name__) for kind in SERIALISED_TYPES]
        file = self.path / "checkpoints.sqlite"
        try:
            with closing(sqlite3.connect(file, check_same_thread=False)) as connection:
                # A kill loses nothing either way; a power cut may cost the run, but syncing would cost every run 50 ms.
                connection.execute("PRAGMA synchronous=OFF")
                serde = JsonPlusSerializer(allowed_msgpack_modules=names)
                yield SqliteSaver(connection, serde=serde)
        except sqlite3.Error as error:
            raise OutputError(
                f"cannot keep the state of the run in {str(self.path)!r}: {error}; make room, then resume it"
            ) from error

    def _artifact(self, artifact: str) -> Path:
        return self.path / "artifacts" / f"{artifact}.npy"


def unit_range(samples: npt.NDArray[Any]) -> Pixels:
    """uint8, uint16 or float32 samples as float32 in [0, 1]."""
    full = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(samples.dtype)
    if full is None:
        return samples.astype(np.float32, copy=False)
    return np.asarray(np.divide(samples, np.float32(full), dtype=np.float32), dtype=np.float32)


def full_range(samples: npt.NDArray[Any], depth: str) -> npt.NDArray[Any]:
    """Samples in [0, 1] as `uint8`, `uint16` or `float32`."""
    if depth == "float32":
        return samples.astype(np.float32, copy=False)
    full, kind = (255, np.uint8) if depth == "uint8" else (65535, np.uint16)
    result = np.empty(samples.shape, kind)
    # Strips stay in the cache; whole 24-megapixel temporaries took ten times as long.
    for top in range(0, len(samples), _STRIP_ROWS):
        strip = np.clip(samples[top : top + _STRIP_ROWS], 0, 1) * np.float32(full)
        result[top : top + _STRIP_ROWS] = np.rint(strip, out=strip)
    return result


def free_folder(path: Path) -> Path:
    """`path`, or the first of `path-2`, `path-3`, ... that is free."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name}-{number}")
        number += 1
    return candidate
