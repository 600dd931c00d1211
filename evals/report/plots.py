"""Plots as inline SVG, drawn with the page's colours (CSS variables), so that they follow its light and dark mode.

Each is a tree of elements, never text glued together: names of systems are data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np

__all__ = ["Axis", "bars", "distributions", "nice_ticks", "scatter", "strips"]

WIDTH = 580
ROW = 46
TOP = 14
BOTTOM = 46
LEFT = 150
RIGHT = 62
MOST_DOTS = 240
BINS = 28
LABEL = 15
QUIET = "var(--quiet)"

Inks = Mapping[str, str]


@dataclass(frozen=True)
class Axis:
    """A horizontal axis: values to px.

    Attributes:
        low: smallest value drawn.
        high: largest.
        start: px of `low`.
        end: px of `high`.
        logarithmic: base 10.
    """

    low: float
    high: float
    start: float = LEFT
    end: float = WIDTH - RIGHT
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where a value lies, px, one decimal; values beyond the ends lie on them."""
        scale: Callable[[float], float] = math.log10 if self.logarithmic else float
        low, high = scale(self.low), scale(self.high)
        share = (scale(min(max(value, self.low), self.high)) - low) / ((high - low) or 1)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values inside the axis."""
        if not self.logarithmic:
            return nice_ticks(self.low, self.high)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = (1, 2, 5) if last - first <= 3 else (1,)
        values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        return [v for v in values if self.low <= v <= self.high]


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` + 1 multiples of 1, 2 or 5 times a power of ten between `low` and `high`."""
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(s * step for s in (1, 2, 5, 10, 20) if (high - low) / (s * step) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def distributions(values: Mapping[str, Sequence[float]], unit: str, inks: Inks) -> str:
    """A ridge a system: how often it reached which value; the line is its median.

    Args:
        values: system -> values.
        unit: of the axis, in words.
        inks: system -> a CSS colour.
    """
    kept = {name: sorted(v) for name, v in values.items() if v}
    if not kept:
        return ""
    axis = _axis([v for vs in kept.values() for v in vs])
    svg = _canvas(f"Distribution of {unit} for each system", len(kept))
    _grid(svg, axis, len(kept), unit)
    edges = np.linspace(axis.low, axis.high, BINS + 1)
    for i, (name, found) in enumerate(kept.items()):
        base = TOP + (i + 1) * ROW - 6
        counts, _ = np.histogram(found, edges)
        smooth = np.convolve(counts, (0.25, 0.5, 0.25), "same")
        height = (ROW - 10) * smooth / (smooth.max() or 1)
        centres = (edges[:-1] + edges[1:]) / 2
        points = [f"{axis.at(x)},{base - y:.1f}" for x, y in zip(centres, height, strict=True)]
        shape = f"{axis.at(axis.low)},{base} {' '.join(points)} {axis.at(axis.high)},{base}"
        _add(svg, "polygon", points=shape, **_ink(inks, name, "area"))
        _add(svg, "line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, **{"class": "rule"})
        middle = axis.at(float(np.median(found)))
        _add(
            svg,
            "line",
            x1=middle,
            x2=middle,
            y1=base - ROW + 12,
            y2=base,
            **_ink(inks, name, "median"),
        )
        _label(svg, name, base - 8)
        _add(
            svg, "text", x=WIDTH - RIGHT + 8, y=base - 8, text=f"{np.median(found):#.4g}",
            **{"class": "value"},
        )  # fmt: skip
    return _text(svg)


def strips(
    values: Mapping[str, Sequence[float]],
    estimates: Mapping[str, Mapping[str, Any]],
    unit: str,
    inks: Inks,
) -> str:
    """A dot a sample, the mean and its interval: how much each system gained over the untouched input."""
    kept = {name: sorted(v) for name, v in values.items() if v}
    if not kept:
        return ""
    axis = _axis([0.0, *(v for vs in kept.values() for v in vs)])
    svg = _canvas(f"Gain over the untouched input for each system: {unit}", len(kept))
    _grid(svg, axis, len(kept), unit)
    zero = axis.at(0)
    _add(svg, "rect", x=LEFT, y=TOP, width=zero - LEFT, height=len(kept) * ROW, **{"class": "harm"})
    _add(svg, "line", x1=zero, x2=zero, y1=TOP, y2=TOP + len(kept) * ROW, **{"class": "zero"})
    for i, (name, found) in enumerate(kept.items()):
        middle = TOP + i * ROW + ROW / 2
        step = max(1, math.ceil(len(found) / MOST_DOTS))
        for k, value in enumerate(found[::step]):
            # Golden-ratio steps spread neighbours evenly and draw the same every time.
            height = middle + ((k * 0.618034) % 1 - 0.5) * (ROW - 18)
            _add(
                svg,
                "circle",
                cx=axis.at(value),
                cy=round(height, 1),
                r=2.6,
                **_ink(inks, name, "dot"),
            )
        _interval(svg, axis, estimates.get(name), middle, inks.get(name, QUIET))
        _label(svg, name, middle + 4)
        mean = float(np.mean(found)) if name not in estimates else float(estimates[name]["mean"])
        _add(
            svg, "text", x=WIDTH - RIGHT + 8, y=middle + 4, text=f"{mean:+#.3g}",
            **{"class": "value"},
        )  # fmt: skip
    return _text(svg)


def scatter(
    points: Sequence[tuple[str, float, Mapping[str, Any]]],
    unit: str,
    inks: Inks,
    level: tuple[str, float] | None = None,
) -> str:
    """Quality against time.

    Args:
        points: a system each: name, seconds, estimate of the metric.
        unit: of the metric.
        inks: system -> a CSS colour.
        level: name and value of a horizontal line, for what costs nothing.
    """
    kept = [(name, max(seconds, 1e-3), found) for name, seconds, found in points]
    if not kept:
        return ""
    times = [seconds for _, seconds, _ in kept]
    across = Axis(min(times) / 1.6, max(times) * 1.6, 64, WIDTH - 30, logarithmic=True)
    ends = [e for _, _, f in kept for e in (f["low"], f["mean"], f["high"]) if e is not None]
    if level is not None:
        ends.append(level[1])
    height = 340
    up = _axis(ends, start=height - BOTTOM, end=20)
    svg = _canvas(f"{unit} against seconds a picture", 0, height)
    for tick in up.ticks():
        y = up.at(tick)
        _add(svg, "line", x1=across.start, x2=across.end, y1=y, y2=y, **{"class": "grid"})
        _add(svg, "text", x=across.start - 8, y=y + 4, text=f"{tick:g}", **{"class": "tick end"})
    for tick in across.ticks():
        x = across.at(tick)
        _add(svg, "line", x1=x, x2=x, y1=20, y2=height - BOTTOM, **{"class": "grid"})
        _add(svg, "text", x=x, y=height - BOTTOM + 18, text=f"{tick:g}", **{"class": "tick"})
    middle = (across.start + across.end) / 2
    words = "seconds a picture, logarithmic"
    _add(svg, "text", x=middle, y=height - 8, text=words, **{"class": "unit"})
    _add(svg, "text", x=across.start - 8, y=12, text=unit, **{"class": "unit start"})
    taken: list[tuple[float, float]] = []
    if level is not None:
        y = up.at(level[1])
        _add(svg, "line", x1=across.start, x2=across.end, y1=y, y2=y, **{"class": "zero"})
        at = _free(taken, across.end - 60, y - 6)
        _add(svg, "text", x=across.end, y=at, text=_short(level[0]), **{"class": "label end"})
    marks = [(across.at(seconds), up.at(found["mean"])) for _, seconds, found in kept]
    for name, seconds, found in kept:
        x, y = across.at(seconds), up.at(found["mean"])
        if found["low"] is not None:
            low, high = up.at(found["low"]), up.at(found["high"])
            _add(svg, "line", x1=x, x2=x, y1=low, y2=high, **_ink(inks, name, "whisker"))
        _add(svg, "circle", cx=x, cy=y, r=6, **_ink(inks, name, "point"))
        right = x > across.end - 130 or _crowded(x, y, marks)
        at = _free(taken, x, y + 4)
        side = "label end" if right else "label start"
        _add(svg, "text", x=x - 11 if right else x + 11, y=at, text=_short(name), **{"class": side})
    return _text(svg)


def bars(values: Mapping[str, float], title: str, unit: str, inks: Inks) -> str:
    """A bar a system."""
    if not values or not max(values.values()) > 0:
        return ""
    row = 30
    height = TOP + len(values) * row + 8
    axis = Axis(0, max(values.values()))
    svg = _canvas(title, 0, height)
    for i, (name, value) in enumerate(values.items()):
        y = TOP + i * row
        width = max(1.0, axis.at(value) - LEFT)
        _add(
            svg,
            "rect",
            x=LEFT,
            y=y,
            width=width,
            height=row - 12,
            rx=2,
            **_ink(inks, name, "bar-mark"),
        )
        _label(svg, name, y + 13)
        text = f"{value:.3g} {unit}".strip() if value < 1000 else f"{value:.0f} {unit}".strip()
        inside = width > 0.8 * (axis.end - LEFT)
        place = "value inside" if inside else "value"
        x = LEFT + width - 8 if inside else LEFT + width + 8
        _add(svg, "text", x=x, y=y + 13, text=text, **{"class": place})
    return _text(svg)


def _axis(values: Sequence[float], start: float = LEFT, end: float = WIDTH - RIGHT) -> Axis:
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(low - margin, high + margin, start, end)


def _canvas(title: str, rows: int, height: int | None = None) -> Xml.Element:
    tall = TOP + rows * ROW + BOTTOM if height is None else height
    svg = Xml.Element("svg", {"viewBox": f"0 0 {WIDTH} {tall}", "role": "img", "aria-label": title})
    _add(svg, "title", text=title)
    return svg


def _grid(svg: Xml.Element, axis: Axis, rows: int, unit: str) -> None:
    bottom = TOP + rows * ROW
    for tick in axis.ticks():
        x = axis.at(tick)
        _add(svg, "line", x1=x, x2=x, y1=TOP, y2=bottom, **{"class": "grid"})
        _add(svg, "text", x=x, y=bottom + 18, text=f"{tick:g}", **{"class": "tick"})
    middle = (axis.start + axis.end) / 2
    _add(svg, "text", x=middle, y=bottom + 38, text=unit, **{"class": "unit"})


def _interval(
    svg: Xml.Element, axis: Axis, found: Mapping[str, Any] | None, y: float, ink: str
) -> None:
    if found is None:
        return
    if found["low"] is not None:
        low, high = axis.at(found["low"]), axis.at(found["high"])
        _add(
            svg,
            "line",
            x1=low,
            x2=high,
            y1=y,
            y2=y,
            **{"class": "whisker", "style": f"--ink: {ink}"},
        )
    x = axis.at(found["mean"])
    _add(
        svg,
        "path",
        d=f"M{x} {y - 7}l5 7l-5 7l-5 -7z",
        **{"class": "point", "style": f"--ink: {ink}"},
    )


def _free(taken: list[tuple[float, float]], x: float, y: float) -> float:
    """A height for a label that hits no label near by."""
    while any(abs(x - a) < 130 and abs(y - b) < 17 for a, b in taken):
        y += 4
    taken.append((x, y))
    return round(y, 1)


def _crowded(x: float, y: float, marks: Sequence[tuple[float, float]]) -> bool:
    """Whether a label on the right of a mark would hit another mark, and one on the left would not."""

    def hits(start: float, end: float) -> bool:
        return any(start < a < end and abs(b - y) < 16 for a, b in marks)

    return x > LEFT + 60 and hits(x + 1, x + 130) and not hits(x - 130, x - 1)


def _label(svg: Xml.Element, name: str, y: float) -> None:
    text = _add(svg, "text", x=LEFT - 12, y=y, text=_short(name), **{"class": "label end"})
    if _short(name) != name:
        _add(text, "title", text=name)


def _short(name: str) -> str:
    return name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"


def _ink(inks: Inks, name: str, role: str) -> dict[str, str]:
    return {"class": role, "style": f"--ink: {inks.get(name, QUIET)}"}


def _add(parent: Xml.Element, tag: str, text: str = "", **attributes: Any) -> Xml.Element:
    element = Xml.SubElement(parent, tag, {key: str(value) for key, value in attributes.items()})
    element.text = text or None
    return element


def _text(svg: Xml.Element) -> str:
    return Xml.tostring(svg, encoding="unicode", short_empty_elements=False)
