"""Image quality assessment: `score` and `available`; importing this package loads neither torch nor pyiqa."""

from conservator.tools.iqa.card import Availability, MetricCard, Scores, Skip, SkipReason
from conservator.tools.iqa.catalogue import METRICS, card_named
from conservator.tools.iqa.scoring import available, score

__all__ = [
    "METRICS",
    "Availability",
    "MetricCard",
    "Scores",
    "Skip",
    "SkipReason",
    "available",
    "card_named",
    "score",
]
