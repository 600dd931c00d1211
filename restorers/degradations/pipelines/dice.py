"""The random numbers of a recipe."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Dice"]

Item = TypeVar("Item")


class Dice:
    """A named stream of random numbers.

    The name is hashed, so streams of different names are independent and a step's draws do not move when another step
    draws more or fewer. Everything is derived from `random.Random.random`, the one method whose sequence Python
    promises to keep.
    """

    def __init__(self, *path: object) -> None:
        self._path = tuple(str(part) for part in path)
        self._random = random.Random("/".join(self._path))

    def child(self, name: object) -> Dice:
        """An independent stream below this one."""
        return Dice(*self._path, name)

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._random.random()

    def integer(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self._random.random() < probability

    def choice(self, items: Sequence[Item], weights: Sequence[float] | None = None) -> Item:
        """One of the items, all equally likely unless weighted."""
        weights = weights or [1.0] * len(items)
        point = self._random.random() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            point -= weight
            if point < 0:
                return item
        return items[-1]

    def seed(self) -> int:
        """A seed for the random fields of one step."""
        return self.integer(0, 2**31 - 1)
