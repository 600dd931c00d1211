"""Which sessions were opened last, wherever their folders are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from conservator.agent.settings import Settings, state_folder

if TYPE_CHECKING:
    from conservator.agent.archive import Kept

__all__ = ["Recents"]

_FILE: Final = "tui-sessions.json"
_MOST: Final = 50


class Recents:
    """The list in the user's state folder; one that cannot be written costs nothing but itself."""

    def __init__(self, settings: Settings) -> None:
        """Keep the list where this user's processes keep what others of them find."""
        self._path = state_folder(settings) / _FILE

    def folders(self) -> list[Path]:
        """Folders of sessions, the last one first; some may be gone."""
        try:
            names = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return []
        return (
            [Path(name) for name in names if isinstance(name, str)]
            if isinstance(names, list)
            else []
        )

    def opened(self, folder: Path) -> None:
        """A session was opened."""
        self._write([folder, *(known for known in self.folders() if known != folder)])

    def moved(self, old: Path, new: Path | None) -> None:
        """A session has another name, or is gone."""
        changed = [new if known == old else known for known in self.folders()]
        self._write([folder for folder in changed if folder is not None])

    def sessions(self) -> list[Kept]:
        """The dialogues that are there, newest first: those that were opened, and those of the current folder."""
        from conservator.agent.archive import default_folders, listed

        places = [*self.folders(), *default_folders()]
        there = [place for place in places if place.is_dir()]
        return [kept for kept in listed(there) if kept.kind == "dialogue"]

    def _write(self, folders: Iterable[Path]) -> None:
        names = [str(folder) for folder in dict.fromkeys(folders)][:_MOST]
        part = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(names, indent=1), encoding="utf-8")
            part.replace(self._path)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
