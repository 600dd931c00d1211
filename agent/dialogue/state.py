"""What a session keeps on disk: one file, written all at once after each turn, beside the pictures it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from conservator.agent.dialogue.tree import Tree
from conservator.agent.sessions import RunFolder, RunRequest
from conservator.policies.acceptance import Measurement
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.restorers.errors import MissingFileError, UsageError

__all__ = ["STATE_FILE", "Made", "SessionState", "holds_session", "read_state", "write_state"]

STATE_FILE: Final = "session.json"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Made(_Data):
    """A step's picture, so that it is made once.

    Attributes:
        artifact: content hash of the picture in the session's folder.
        rendered_prompt: what the restorer saw.
        weights_sha256: of its weights, None without.
        configuration: the one that the restorer chose among its own, "" where it had no choice.
    """

    artifact: str
    rendered_prompt: str = ""
    weights_sha256: str | None = None
    configuration: str = ""
    seconds: float = 0.0


class SessionState(_Data):
    """A session.

    Attributes:
        format: version of this file.
        revision: grows with each writing, so that a second process that goes on with the same session is noticed.
        request: the input, policy, seed and output, as runs keep them.
        report: what was found on the input; None before anybody looked.
        baseline: the input, measured as pictures of turns are.
        made: hash of a step and all before it -> its picture.
    """

    format: int = 1
    revision: int = 0
    request: RunRequest
    tree: Tree = Tree()
    report: ConditionReport | None = None
    baseline: Measurement | None = None
    made: Mapping[str, Made] = {}


def holds_session(folder: Path) -> bool:
    """Whether a session lies in this folder."""
    return (folder / STATE_FILE).is_file()


def read_state(folder: Path) -> SessionState:
    """The session of a folder.

    Raises:
        MissingFileError: there is none.
        UsageError: its file is damaged, or of a version this program does not know.
    """
    path = folder / STATE_FILE
    try:
        return SessionState.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{str(folder)!r} holds no session; give a folder with a {STATE_FILE}"
        ) from error
    except (OSError, ValidationError) as error:
        raise UsageError(f"{str(path)!r} does not read; start a new session") from error


def write_state(folder: RunFolder, state: SessionState) -> SessionState:
    """Write the session; returns it with its new revision.

    Raises:
        UsageError: somebody else went on with the session meanwhile.
        OutputError: the disk is full or read-only.
    """
    if state.revision > 0 and read_state(folder.path).revision != state.revision:
        raise UsageError(
            f"another process went on with the session in {str(folder.path)!r}; open it again"
        )
    new = state.model_copy(update={"revision": state.revision + 1})
    folder.write_text(STATE_FILE, new.model_dump_json(indent=1))
    return new
