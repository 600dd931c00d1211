"""What a user set for the terminal UI: `tui.toml` beside `settings.toml`, and the theme that was chosen last.

::

    theme = "conservator-light"
    images = "sixel"            # auto, sixel, kitty, halfcell, none

    [keys]                      # names as the help shows them
    "picture.flip" = "b"
    "session.restore" = "ctrl+r,f9"
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast, get_args

from conservator.agent.errors import UsageError
from conservator.agent.settings import Settings, settings_file, state_folder
from conservator.agent.tui.graphics.drawing import Images

__all__ = ["Preferences", "load_preferences", "remember_theme"]

_FILE: Final = "tui.toml"
_THEME: Final = "tui-theme.json"


@dataclass(frozen=True)
class Preferences:
    """How the UI looks and listens.

    Attributes:
        theme: its name, None for the default.
        images: how pictures are drawn.
        keys: name of a binding -> keys, separated by commas.
    """

    theme: str | None = None
    images: Images = "auto"
    keys: Mapping[str, str] = field(default_factory=dict)


def load_preferences(settings: Settings) -> Preferences:
    """The user's file; the theme that was chosen last in the UI goes before the file's.

    Raises:
        UsageError: the file does not read, or says something unknown.
    """
    path = settings_file().with_name(_FILE)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        given = {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(path)!r} does not read: {error}") from error
    _check(given, path)
    return Preferences(
        theme=_remembered(settings) or given.get("theme"),
        images=cast("Images", given.get("images", "auto")),
        keys=given.get("keys", {}),
    )


def remember_theme(settings: Settings, theme: str) -> None:
    """Use this theme the next time; where that cannot be written the choice lasts as long as the program."""
    path = state_folder(settings) / _THEME
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({"theme": theme}), encoding="utf-8")
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _remembered(settings: Settings) -> str | None:
    try:
        theme = json.loads((state_folder(settings) / _THEME).read_bytes())["theme"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return theme if isinstance(theme, str) else None


def _check(given: Mapping[str, Any], path: Path) -> None:
    for name, value in given.items():
        if name == "keys":
            if not isinstance(value, Mapping) or not all(
                isinstance(v, str) for v in value.values()
            ):
                raise UsageError(f'{str(path)!r}: keys are text, as in "picture.flip" = "b"')
        elif name == "images":
            if value not in get_args(Images):
                known = ", ".join(get_args(Images))
                raise UsageError(f"{str(path)!r}: images = {value!r}; known: {known}")
        elif name == "theme":
            if not isinstance(value, str):
                raise UsageError(f"{str(path)!r}: theme = {value!r} is no name")
        else:
            raise UsageError(f"{str(path)!r}: unknown setting {name!r}; known: theme, images, keys")
