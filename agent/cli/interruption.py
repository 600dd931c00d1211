"""Ctrl-C: the first one asks to stop, the second one stops."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupting_at_once", "stopping_on_interrupt"]

_NOTICE = b"\nstopping as soon as the work in hand allows; press Ctrl-C again to stop at once\n"


@contextmanager
def stopping_on_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the next one raises KeyboardInterrupt as usual."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def first(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # Not through sys.stderr: the signal may have come in the middle of a write to it.
        os.write(2, _NOTICE)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupting_at_once() -> Iterator[None]:
    """Within the block the first Ctrl-C raises KeyboardInterrupt: it only waits for the user."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
