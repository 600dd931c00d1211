"""Colours of the UI. The ground is grey without a cast, so that it does not tint what a photo looks like."""

from __future__ import annotations

from textual.theme import Theme

__all__ = ["DARK", "LIGHT"]

DARK = Theme(
    name="conservator",
    primary="#d7a64a",
    secondary="#9a9a9a",
    accent="#e8be5a",
    warning="#e0a458",
    error="#d9705f",
    success="#86b875",
    foreground="#d6d6d6",
    background="#1b1b1b",
    surface="#232323",
    panel="#2c2c2c",
    dark=True,
    variables={
        "footer-key-foreground": "#d7a64a",
        "button-color-foreground": "#1b1b1b",
        "button-focus-text-style": "bold underline",
        "block-cursor-background": "#5a4a26",
        "block-cursor-foreground": "#f4e3bd",
        "block-cursor-blurred-background": "#3a342a",
        "input-selection-background": "#d7a64a 35%",
    },
)

LIGHT = Theme(
    name="conservator-light",
    primary="#8a5f0a",
    secondary="#6a6a6a",
    accent="#8a5f0a",
    warning="#9a5b00",
    error="#a8382a",
    success="#3b7a2a",
    foreground="#242424",
    background="#e9e9e9",
    surface="#dedede",
    panel="#d2d2d2",
    dark=False,
    variables={
        "footer-key-foreground": "#8a5f0a",
        "button-color-foreground": "#f2f2f2",
        "button-focus-text-style": "bold underline",
        "block-cursor-background": "#e4cd96",
        "block-cursor-foreground": "#242424",
    },
)
