"""Sizes of terminals, as classes that the screens' styles go by."""

from __future__ import annotations

from typing import Final

__all__ = ["ACROSS", "DOWN"]

ACROSS: Final = [(0, "-thin"), (64, "-narrow"), (112, "-wide")]
"""Columns from which on a class holds."""
DOWN: Final = [(0, "-flat"), (16, "-low"), (36, "-tall")]
"""The same for lines."""
