"""One question to the terminal before the application starts: does it draw pictures, and how large are its cells?

Later the application reads the keyboard, and answers would be taken for keys.
"""

from __future__ import annotations

import os
import re
import select
import sys
import time
from dataclasses import dataclass
from typing import Final

__all__ = ["Terminal", "probe", "read_answer"]

_WAIT_S: Final = 0.25
"""Longest wait for an answer; the last question is one that every terminal answers."""
# Kitty's graphics with a 1x1 picture that is not kept, the size of a cell, and the primary device attributes.
_QUESTION: Final = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c"
_KITTY: Final = re.compile(rb"\x1b_Gi=31;OK\x1b\\")
_CELL: Final = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
_ATTRIBUTES: Final = re.compile(rb"\x1b\[\?([\d;]*)c")


@dataclass(frozen=True)
class Terminal:
    """What a terminal says of itself.

    Attributes:
        kitty: it understands kitty's graphics protocol.
        sixel: it paints sixels.
        cell: size of a cell in pixels, (width, height); None where it does not say.
    """

    kitty: bool = False
    sixel: bool = False
    cell: tuple[int, int] | None = None


def probe() -> Terminal:
    """Ask the terminal that this process is at; nothing is known of a pipe."""
    source, target = sys.__stdin__, sys.__stdout__
    if source is None or target is None or not (source.isatty() and target.isatty()):
        return Terminal()
    try:
        import termios
        import tty
    except ImportError:
        return Terminal()
    handle = source.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle, termios.TCSANOW)
        target.flush()
        os.write(target.fileno(), _QUESTION)
        return read_answer(_answer(handle))
    except (OSError, termios.error):
        return Terminal()
    finally:
        termios.tcsetattr(handle, termios.TCSANOW, before)


def read_answer(answer: bytes) -> Terminal:
    """What the terminal's bytes mean."""
    attributes = _ATTRIBUTES.search(answer)
    cell = _CELL.search(answer)
    height, width = (int(cell[1]), int(cell[2])) if cell else (0, 0)
    return Terminal(
        kitty=_KITTY.search(answer) is not None,
        sixel=attributes is not None and b"4" in attributes[1].split(b";"),
        cell=(width, height) if width > 0 and height > 0 else None,
    )


def _answer(handle: int) -> bytes:
    answer, end = b"", time.monotonic() + _WAIT_S
    while not _ATTRIBUTES.search(answer) and (left := end - time.monotonic()) > 0:
        if not select.select([handle], [], [], left)[0]:
            break
        answer += os.read(handle, 1024)
    return answer
