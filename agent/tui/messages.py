"""What screens ask of the application."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

__all__ = ["Left", "OpenAsked", "QueueAsked", "SessionKept"]


@dataclass
class OpenAsked(Message):
    """A photo, or the folder of a session, is to be opened."""

    path: Path


@dataclass
class QueueAsked(Message):
    """A folder is to be worked off in the background."""

    folder: Path


@dataclass
class SessionKept(Message):
    """A session lies in this folder."""

    folder: Path


class Left(Message):
    """The user is done with a screen; what it showed goes on, or is kept."""
