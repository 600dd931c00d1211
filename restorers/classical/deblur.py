"""Deconvolution: defocus by a disk, straight motion whose direction and course are found by trying, and lost resolution.

All three are the regularised inverse x = F^-1[ conj(K) Y / (|K|^2 + lambda |G|^2) ], with G the two gradient filters and
lambda grown with the noise measured in the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from torch import Tensor

from conservator.restorers.classical import cards
from conservator.restorers.classical.filters import (
    Pixels,
    as_pixels,
    gaussian,
    noise_sigma,
    reflected,
)
from conservator.restorers.classical.tool import ClassicalTool, Shared, pixels_of
from conservator.restorers.degradations.vocabulary import Kind

__all__ = [
    "Defocus",
    "Motion",
    "deconvolved",
    "disk_kernel",
    "line_kernel",
    "motion_kernel",
    "regularisation",
    "textured_crop",
]

_PROBE: Final = 320
_STEP_DEG: Final = 5


def deconvolved(pixels: Pixels, kernel: Pixels, strength: float) -> Pixels:
    """Undo a known blur.

    Args:
        pixels: (h, w, 3) or (h, w).
        kernel: (k, k), odd, sums to one.
        strength: lambda; larger is smoother.
    """
    border = max(32, kernel.shape[0])
    height, width = pixels.shape[:2]
    padded = _framed(pixels, border)
    size = padded.shape[:2]
    inverse = _inverse(kernel, size, strength)
    if pixels.ndim == 3:
        inverse = inverse[..., None]
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * inverse
    sharp = np.fft.irfft2(spectrum, s=size, axes=(0, 1))
    return as_pixels(sharp[border : border + height, border : border + width])


def _framed(x: Pixels, border: int) -> Pixels:
    """Mirror at the border, up to a multiple of 32: transforms of such lengths are much faster than of primes."""
    down, across = (border + -(side + 2 * border) % 32 for side in x.shape[:2])
    return reflected(x, border, down, border, across)


def _inverse(kernel: Pixels, size: tuple[int, int], strength: float) -> NDArray[np.complex64]:
    transfer = _transfer(kernel, size)
    power = np.abs(transfer) ** 2 + np.float32(strength) * _roughness(size)
    return np.asarray(transfer.conj() / power, np.complex64)


def _transfer(kernel: Pixels, size: tuple[int, int]) -> NDArray[np.complex64]:
    centred = np.zeros(size, np.float32)
    centred[: kernel.shape[0], : kernel.shape[1]] = kernel
    half = (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2))
    return np.fft.rfft2(np.roll(centred, half, (0, 1))).astype(np.complex64)


def _roughness(size: tuple[int, int]) -> Pixels:
    """|G|^2 of the two first differences."""
    rows = 2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(size[0]))
    columns = 2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(size[1]))
    return as_pixels(rows[:, None] + columns[None, :])


def regularisation(base: float, sigma: float) -> float:
    """Lambda for a blur that alone wants `base`, in noise of `sigma` of full scale.

    80 sigma^2 was measured: at sigma 2 of 255 the best lambda is 0.004-0.01 for radii 2 to 6.
    """
    return base + 80 * sigma * sigma


def textured_crop(image: Tensor, side: int = _PROBE) -> Pixels:
    """The square of a 5x5 grid with the most gradient energy, (side, side, 3), from (1, 3, H, W)."""
    height, width = image.shape[-2:]
    tops = np.linspace(0, max(0, height - side), 5).astype(int)
    lefts = np.linspace(0, max(0, width - side), 5).astype(int)
    crops = [
        pixels_of(image[:, :, top : top + side, left : left + side])
        for top in sorted(set(tops.tolist()))
        for left in sorted(set(lefts.tolist()))
    ]
    return max(crops, key=_gradient_energy)


def _gradient_energy(x: Pixels) -> float:
    # Capped: one hard edge of the frame must not win over texture.
    down, across = np.abs(np.diff(x, axis=0)), np.abs(np.diff(x, axis=1))
    return float(np.minimum(down, 0.1).sum() + np.minimum(across, 0.1).sum())


def disk_kernel(radius: float) -> Pixels:
    """The blur of a lens out of focus: a disk with a rim softened by half a px."""
    lower = int(np.floor(radius))
    kernel = _disk(lower, int(np.ceil(radius)) + 2)
    rest = radius - lower
    if rest > 0:
        kernel = (1 - rest) * kernel + rest * _disk(lower + 1, int(np.ceil(radius)) + 2)
    kernel = gaussian(kernel, 0.5)
    return as_pixels(kernel / kernel.sum())


def _disk(radius: int, half: int) -> Pixels:
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk = (np.hypot(y, x) <= radius).astype(np.float32)
    return as_pixels(disk / disk.sum())


class Defocus(ClassicalTool):
    """Deconvolution of a disk of the asked radius.

    Kodak24 (every fourth, 384 px), 8 bits, no noise: radius 2/3/4/6 from 25.4/23.4/22.5/21.4 to 31.6/28.6/26.7/24.0 dB.
    """

    card = cards.DEBLUR
    kind = Kind.DEFOCUS_BLUR

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """The kernel, and lambda from the noise."""
        strength = min(strength, 16.0)
        smooth = regularisation(0.0005 * strength**1.4, noise_sigma(textured_crop(image)))
        facts = {"regularisation": round(smooth, 5)}
        return Shared(strength, severity, facts, (disk_kernel(strength), smooth))

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Deconvolve."""
        kernel, smooth = shared.data
        return deconvolved(pixels, kernel, smooth)


def motion_kernel(sigma: float, angle_deg: float, direction: int) -> Pixels:
    """A one-sided Gaussian of extent `sigma` px along a line, as mio16 draws it: a motion that ebbs away.

    Args:
        sigma: extent, px.
        angle_deg: of the motion from the horizontal, clockwise.
        direction: 1 or -1, the way along the line.
    """
    reach = 2 * int(min(15, max(3, round(5 * (sigma - 1)))))
    steps = np.arange(reach + 1)
    return _along(direction * steps, np.exp(-(steps**2) / (2 * sigma * sigma)), angle_deg)


def line_kernel(sigma: float, angle_deg: float) -> Pixels:
    """A steady motion while the shutter is open: a line, as long as has the variance of `motion_kernel`.

    Args:
        sigma: extent, px; the line is 2.09 times as long.
        angle_deg: of the motion from the horizontal, clockwise.
    """
    half = _LINE * sigma / 2
    steps = np.linspace(-half, half, 2 * int(np.ceil(8 * half)) + 1)
    return _along(steps, np.ones_like(steps), angle_deg)


_LINE: Final = float(np.sqrt(12 * (1 - 2 / np.pi)))
"""Length of a line for each px of a one-sided Gaussian of the same variance."""


def _along(steps: NDArray[Any], weights: NDArray[Any], angle_deg: float) -> Pixels:
    """Weights at distances from the middle along a line, px, shared among the pixels around each place."""
    half = int(np.ceil(np.abs(steps).max())) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    rows = half - steps * np.sin(np.radians(angle_deg))
    columns = half - steps * np.cos(np.radians(angle_deg))
    low_rows, low_columns = np.floor(rows).astype(int), np.floor(columns).astype(int)
    for down in (0, 1):
        for across in (0, 1):
            share = np.abs(1 - down - (rows - low_rows)) * np.abs(
                1 - across - (columns - low_columns)
            )
            np.add.at(kernel, (low_rows + down, low_columns + across), weights * share)
    return as_pixels(kernel / kernel.sum())


@dataclass(frozen=True)
class _Course:
    """How the camera moved: `ebbing` with a sense of 1 or -1, else `steady`; `recognised` where the photo shows it, else that is a guess."""

    sigma: float
    angle: float
    sense: int
    recognised: bool

    @property
    def name(self) -> str:
        return "ebbing" if self.sense else "steady"

    @property
    def kernel(self) -> Pixels:
        if self.sense:
            return motion_kernel(self.sigma, self.angle, self.sense)
        return line_kernel(self.sigma, self.angle)


class Motion(ClassicalTool):
    """Deconvolution of a straight motion of about the asked extent: a steady one, whose kernel is a line, or one that ebbs away.

    A line has zeros in its spectrum at equal distances, which make a dip in the cepstrum at its length and direction (Rom, 1975); where that is deep, it
    gives both more exactly than anybody asks. A motion that ebbs away has a sense: angle and sense are those whose result has the least gradient
    magnitude (power 0.8), since a wrong kernel rings, and the other sense rings clearly more. Where neither is seen, a steady motion of the
    asked extent is undone with caution.

    Eleven of Kodak24 and McMaster18, 384 px, 8 bits, told the extent within 20 %: ebbing, sigma 2 and 4, +10.8 and +10.1 dB; lines of 5, 9 and 15 px
    +4.2, +3.5 and +2.2 dB (undone as if they ebbed away, they lose 3 to 4 dB); 50 of 55 are recognised, of those none becomes worse. With noise of 4 of 255
    or JPEG of 60, 54 of 110 are recognised, those gain 1 to 6 dB, and one becomes worse; of the others 28 do. A photo without hard edges (fur) shows no sense:
    there a motion in whole pixels that ebbs away, as only synthesis draws it, is taken for steady and loses 0.4 to 2.6 dB.
    """

    card = cards.MOTION
    kind = Kind.MOTION_BLUR

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """Find the course on the most textured crop."""
        strength = min(max(strength, 0.5), 20.0)
        probe = textured_crop(image)
        sigma = noise_sigma(probe)
        course = _course(probe.mean(2), strength, regularisation(0.006, sigma))
        base = 0.003
        if not course.sense:
            base *= max(1.0, _LINE * course.sigma / 5) ** 2 * (1 if course.recognised else 4)
        smooth = regularisation(base, sigma)
        facts = {
            "angle_deg": course.angle,
            "course": course.name,
            "sigma_px": round(course.sigma, 3),
            "recognised": course.recognised,
            **({} if course.sense else {"usual_db": _STEADY_DB}),
            "regularisation": round(smooth, 5),
        }
        return Shared(strength, severity, facts, (course.kernel, smooth))

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Deconvolve."""
        kernel, smooth = shared.data
        return deconvolved(pixels, kernel, smooth)


_STEADY_DB: Final = 3.7
"""What undoing a steady motion that was recognised gains, dB."""
_SENSE, _CLEAR_SENSE = 0.988, 0.97
"""Ringing of the right sense over that of the other, below which a motion has a sense: 0.86 to 0.984 for ebbing motion, 0.981 to 1 for lines, 0.99 to 1
for photos that did not move (one of 75 below); noise and JPEG bring all nearer to 1."""
_DIP, _CLEAR_DIP = 6.0, 9.0
"""Deviations by which a line's dip lies below the cepstrum around it: 10 to 60, in ebbing motion at most 8.6, in photos that did not move 5.4."""
_BEYOND: Final = 0.25
"""By so many px the dip lies beyond a line's length, measured on lines of 4 to 19 px."""


def _course(grey: Pixels, sigma: float, smooth: float) -> _Course:
    line, dip = _line(grey, sigma)
    ringing = _Ringing(grey, sigma, smooth)
    angle, sense = ringing.quietest(1, -1)
    other = ringing(angle, -sense)
    rings = ringing(angle, sense) / other if other > 0 else 1.0
    if rings < _SENSE:
        # Oblique motion in whole pixels, as mio16 draws it, makes dips too, lines seldom a sense.
        return _Course(sigma, angle, sense, recognised=rings < _CLEAR_SENSE or dip < _CLEAR_DIP)
    if dip >= _DIP:
        return replace(_turned(line, grey, smooth), recognised=dip >= _CLEAR_DIP)
    angle, _ = ringing.quietest(0)
    return _Course(sigma, angle, 0, recognised=False)


def _line(grey: Pixels, sigma: float) -> tuple[_Course, float]:
    """The line of half to 1.7 times the asked length that the cepstrum shows best, and how deep its dip is."""
    window = np.hanning(grey.shape[0])[:, None] * np.hanning(grey.shape[1])
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window, s=(_CEPSTRUM, _CEPSTRUM))) ** 2
    # float64: the dip is what is left of very little light.
    cepstrum = np.fft.fftshift(np.fft.ifft2(np.log(power + 1e-6 * power.mean() + 1e-12)).real)
    asked = _LINE * sigma
    lengths = np.arange(max(3.0, 0.5 * asked), min(1.7 * asked, _CEPSTRUM / 3) + 1, 0.25)
    angles = np.arange(-90, 90, 3)
    down = np.sin(np.radians(angles))[:, None] * lengths
    across = np.cos(np.radians(angles))[:, None] * lengths
    middle = _CEPSTRUM // 2
    seen = map_coordinates(cepstrum, [middle + down, middle + across], order=1)
    typical = np.median(seen)
    deviation = 1.4826 * np.median(np.abs(seen - typical)) + 1e-12
    angle, length = np.unravel_index(seen.argmin(), seen.shape)
    found = _Course(
        (float(lengths[length]) - _BEYOND) / _LINE, float(angles[angle]), 0, recognised=True
    )
    return found, float((typical - seen.min()) / deviation)


_CEPSTRUM: Final = 512


def _turned(line: _Course, grey: Pixels, smooth: float) -> _Course:
    """The same, at the angle nearby that rings least: the dip of a short line is broad."""
    ringing = _Ringing(grey, line.sigma, smooth)
    angle = min((line.angle + turn for turn in range(-12, 13, 3)), key=lambda a: ringing(a, 0))
    return replace(line, angle=angle)


class _Ringing:
    """Gradient magnitude (power 0.8) of a picture after a kernel of each angle and sense was undone."""

    def __init__(self, grey: Pixels, sigma: float, smooth: float) -> None:
        border = 64
        padded = _framed(grey, border)
        self._sigma, self._smooth = sigma, smooth
        self._size = (padded.shape[0], padded.shape[1])
        self._spectrum = np.fft.rfft2(padded)
        edge = border + min(8, min(grey.shape) // 4)
        self._inside = tuple(slice(edge, 2 * border + side - edge) for side in grey.shape)
        self._known: dict[tuple[float, int], float] = {}

    def __call__(self, angle: float, sense: int) -> float:
        """Of a kernel; sense 0 is a line."""
        if (angle, sense) not in self._known:
            kernel = _Course(self._sigma, angle, sense, recognised=False).kernel
            inverse = _inverse(kernel, self._size, self._smooth)
            sharp = np.fft.irfft2(self._spectrum * inverse, s=self._size)[self._inside]
            down, across = np.abs(np.diff(sharp, axis=0)), np.abs(np.diff(sharp, axis=1))
            self._known[angle, sense] = float((down**0.8).sum() + (across**0.8).sum())
        return self._known[angle, sense]

    def quietest(self, *senses: int) -> tuple[float, int]:
        """Every 10 degrees, then the neighbours of the best."""
        tried = [(angle, sense) for angle in range(-90, 90, 2 * _STEP_DEG) for sense in senses]
        angle, sense = min(tried, key=lambda one: self(*one))
        turns = (-_STEP_DEG, 0, _STEP_DEG)
        return min(((angle + turn, sense) for turn in turns), key=lambda one: self(*one))
