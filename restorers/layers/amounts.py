"""Numbers in a prompt as a network reads them: every digit carries the size of the whole number."""

from __future__ import annotations

import math
import re

__all__ = ["ANGLES", "angles", "number_runs"]

_PACES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Turns of a number's angle each time the number doubles: the first tells 0.01 from 100, the last tells 20 from 21."""

ANGLES = 2 * len(_PACES)
"""How many numbers `angles` returns."""


def angles(number: str) -> list[float]:
    """A written number as angles of its logarithm, sine and cosine of each; below 0.001 as 0.001."""
    octave = math.log2(max(float(number), 1e-3))
    turns = [2 * math.pi * octave * pace for pace in _PACES]
    return [wave(turn) for turn in turns for wave in (math.sin, math.cos)]


def number_runs(words: list[str]) -> list[tuple[int, int, str]]:
    """(start, end, number) of each run of single digits, with or without decimals."""
    shape = "".join("d" if w.isdecimal() else "." if w == "." else "x" for w in words)
    return [
        (run.start(), run.end(), "".join(words[run.start() : run.end()]))
        for run in re.finditer(r"d+(\.d+)?", shape)
    ]
