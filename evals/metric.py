"""Which way a metric is better and how its numbers are written.

Metrics are those of `conservator.tools.iqa`, what else `conservator.evals.scorers` gives, and the shares that a summary derives.
"""

from __future__ import annotations

from conservator.restorers.errors import UnknownNameError
from conservator.tools.iqa import MetricCard, card_named

__all__ = ["DERIVED", "SCORED", "arrow", "decimals", "higher_is_better", "written"]

SCORED: dict[str, bool | None] = {
    "psnr_to_input": True,
    "unchanged": True,
    "presence_f1": True,
    "level_accuracy": True,
    "left": False,
    # How far a treatment went is neither good nor bad.
    "change_255": None,
}
"""Scores that have no card, and whether higher is better."""

DERIVED: dict[str, bool] = {
    "worsening_rate": False,
    "target_met": True,
    "share_of_oracle_gain": True,
    "gain": True,
}
"""Shares and gains of a summary's lines, and whether higher is better."""


def higher_is_better(metric: str) -> bool | None:
    """Whether a larger value is better; None where neither is, or nobody has described the metric."""
    if metric in DERIVED:
        return DERIVED[metric]
    if metric in SCORED:
        return SCORED[metric]
    card = _card(metric)
    return None if card is None else card.higher_is_better


def arrow(metric: str) -> str:
    """`up` or `down` as a character, for headings; "" when nobody knows."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better(metric)]


def decimals(metric: str) -> int:
    """Digits behind the point that carry meaning."""
    if metric in DERIVED:
        return 3
    if metric in SCORED:
        return 2 if metric in ("psnr_to_input", "change_255") else 3
    card = _card(metric)
    return 4 if card is None or card.high == 1 else 2


def written(metric: str, value: float | None) -> str:
    """A value as text, `-` for none; never minus zero."""
    if value is None:
        return "-"
    text = f"{value:.{decimals(metric)}f}"
    return text if float(text) else text.lstrip("-")


def _card(metric: str) -> MetricCard | None:
    try:
        return card_named(metric)
    except UnknownNameError:
        return None
