"""JPEG artefacts: shifted re-encoding (Nosratinia 2001) averaged with sliding DCT shrinkage (Foi 2007)."""

from __future__ import annotations

import cv2
import numpy as np

from conservator.restorers.classical import cards
from conservator.restorers.classical.denoise import sliding_dct
from conservator.restorers.classical.filters import Pixels, as_pixels, between
from conservator.restorers.classical.tool import ClassicalTool, Shared
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import RestorerError

__all__ = ["Deblock"]


class Deblock(ClassicalTool):
    """The asked quality is that of the file; a lower one smooths more.

    Kodak24 (every fourth, 384 px): quality 50/30/20/10 from 30.4/28.7/27.4/25.1 to 31.0/29.3/28.1/25.8 dB.
    """

    card = cards.DEBLOCK
    kind = Kind.JPEG

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """The mean of both methods is better than either by 0.1 dB."""
        quality = float(np.clip(shared.strength, 1, 100))
        sigma_255 = between(quality, (10, 20, 30, 50, 75, 95, 100), (22, 15, 12, 9, 6, 2.5, 0))
        shrunk = sliding_dct(pixels, sigma_255 / 255)
        return as_pixels((_reencoded(pixels, round(quality)) + shrunk) / 2)


def _reencoded(pixels: Pixels, quality: int) -> Pixels:
    """The mean of 16 JPEG codings whose block grids are shifted against each other by two px."""
    border, (height, width) = 16, pixels.shape[:2]
    # Byte order of OpenCV: blue first.
    coded = np.round(np.clip(pixels, 0, 1)[..., ::-1] * 255).astype(np.uint8)
    coded = np.pad(coded, ((border, border), (border, border), (0, 0)), mode="symmetric")
    total = np.zeros(pixels.shape, np.float32)
    for top in range(0, 8, 2):
        for left in range(0, 8, 2):
            shifted = np.ascontiguousarray(coded[border - top :, border - left :])
            done, data = cv2.imencode(".jpg", shifted, [cv2.IMWRITE_JPEG_QUALITY, quality])
            again = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
            if again is None:
                raise RestorerError(
                    f"OpenCV cannot encode JPEG at quality {quality}; reinstall OpenCV"
                )
            total += again[top : top + height, left : left + width]
    return as_pixels(total[..., ::-1] / (16 * 255))
