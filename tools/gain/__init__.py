"""What a treatment gained over its input, estimated without the clean picture, by a small network of this project's own.

A no-reference metric sees one picture and likes what is smooth; this one sees both, and was taught by the clean picture which of the
differences were damage taken off and which were picture taken off.
"""

from __future__ import annotations

import math
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from conservator.tools.gain.predictor import GainPredictor
    from conservator.tools.look import Pixels

__all__ = ["LEAST_SIDE", "WEIGHTS", "Gain", "estimate_gain"]

WEIGHTS = Path(__file__).parent / "weights" / "gain.safetensors"
LEAST_SIDE = 32
"""A picture with a shorter side is too small to tell, px."""
_LOADING = threading.Lock()


class Gain(BaseModel):
    """What a treatment gained, as far as can be told without the clean picture.

    Attributes:
        psnr: dB; positive for better.
        spread: expected absolute error of `psnr`, dB.
        ssim: of luma; positive for better.
        known: dB that the same treatment gained over many photos, where that counts in `psnr`; see `policies.expectation`.
    """

    model_config = ConfigDict(frozen=True)

    psnr: float
    spread: float
    ssim: float
    known: float | None = None

    @property
    def words(self) -> str:
        """`+4.3 dB, give or take 3.6; over many photos +7.1`."""
        known = "" if self.known is None else f"; over many photos {self.known:+.1f}"
        return f"{self.psnr:+.1f} dB, give or take {self.spread:.1f}{known}"

    def sure(self, times: float) -> bool:
        """Whether the gain is at least so many times its expected error."""
        return self.psnr >= times * self.spread

    def plus(self, later: Gain) -> Gain:
        """What two steps gained together; their errors are taken as independent."""
        return Gain(
            psnr=round(self.psnr + later.psnr, 4),
            spread=round(math.hypot(self.spread, later.spread), 4),
            ssim=round(self.ssim + later.ssim, 4),
        )


def estimate_gain(before: Pixels, after: Pixels) -> Gain:
    """Compare a treated picture with its input.

    Args:
        before: (H, W, 3), float32, [0, 1], RGB.
        after: of the same shape.

    Raises:
        UsageError: shapes that differ.
        WeightsError: the weights are missing or damaged.
    """
    with _LOADING:
        predictor = _shipped()
    return predictor.estimate(before, after)


@cache
def _shipped() -> GainPredictor:
    from conservator.tools.gain.predictor import GainPredictor

    return GainPredictor.from_weights(WEIGHTS)
