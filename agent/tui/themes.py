"""Colours of the UI. The ground is grey without a cast, so that it does not tint what a photo looks like."""

from __future__ import annotations

from typing import Any, Final

from textual.theme import Theme

__all__ = ["DARK", "LIGHT"]

_COLOURS: Final = {
    "primary": ("#d7a64a", "#8a5f0a"),
    "secondary": ("#9a9a9a", "#6a6a6a"),
    "accent": ("#e8be5a", "#8a5f0a"),
    "warning": ("#e0a458", "#9a5b00"),
    "error": ("#d9705f", "#a8382a"),
    "success": ("#86b875", "#3b7a2a"),
    "foreground": ("#d6d6d6", "#242424"),
    "background": ("#1b1b1b", "#e9e9e9"),
    "surface": ("#232323", "#dedede"),
    "panel": ("#2c2c2c", "#d2d2d2"),
}
"""Textual's name of a colour -> it on the dark and on the light ground."""
_VARIABLES: Final = {
    "footer-key-foreground": ("#d7a64a", "#8a5f0a"),
    "button-color-foreground": ("#1b1b1b", "#f2f2f2"),
    "button-focus-text-style": ("bold underline", "bold underline"),
    "block-cursor-background": ("#5a4a26", "#e4cd96"),
    "block-cursor-foreground": ("#f4e3bd", "#242424"),
}
"""The same of what Textual would derive from these."""
_ON_DARK_ONLY: Final = {
    "block-cursor-blurred-background": "#3a342a",
    "input-selection-background": "#d7a64a 35%",
}


def _theme(name: str, *, dark: bool) -> Theme:
    ground = 0 if dark else 1
    colours: dict[str, Any] = {role: pair[ground] for role, pair in _COLOURS.items()}
    variables = {role: pair[ground] for role, pair in _VARIABLES.items()}
    more = _ON_DARK_ONLY if dark else {}
    return Theme(name=name, dark=dark, variables=variables | more, **colours)


DARK = _theme("conservator", dark=True)
LIGHT = _theme("conservator-light", dark=False)
