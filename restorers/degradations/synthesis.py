"""Degradations as batched torch operators, one or more a kind.

Every operator takes `x` (B, 3, H, W), float32, [0, 1], RGB (sRGB-encoded), one parameter a sample as a (B,) tensor or
list, and returns the same shape unless it says otherwise, clamped to [0, 1]. Operators that draw random fields take a
`torch.Generator` on the device of `x`; the same generator state gives the same result, and the fields depend on the
shape only, never on the pixels, so that two images can be degraded by exactly the same draw.

Sources: mio16 forms follow AgenticIR's recipe as written down in BENCHMARK.md; low light by illumination, snow and haze
follow CDD11 (OneRestore) and Koschmieder's law.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

__all__ = [
    "MID_GREY",
    "defocus_blur",
    "down_up",
    "downsample",
    "exposure_of_stops",
    "gamma_of_stops",
    "gaussian_blur",
    "gaussian_noise",
    "haze",
    "jpeg",
    "low_light",
    "mask",
    "motion_blur",
    "motion_radius",
    "pepper_noise",
    "poisson_noise",
    "pseudo_depth",
    "quantise8",
    "rain",
    "range_of_stops",
    "shift_of_stops",
    "snow",
    "upsample",
]

MID_GREY = 0.45
"""sRGB value at which `low_light` measures its stops."""

Values = Tensor | Sequence[float]


def _column(values: Values, like: Tensor) -> Tensor:
    """(B,) values as a (B, 1, 1, 1) tensor beside `like`."""
    return torch.as_tensor(values, dtype=torch.float32, device=like.device).view(-1, 1, 1, 1)


def _floats(values: Values) -> list[float]:
    return [float(v) for v in (values.tolist() if isinstance(values, Tensor) else values)]


def _uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.rand(tuple(shape), generator=generator, device=generator.device)


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=generator.device)


def quantise8(x: Tensor) -> Tensor:
    """Round to the 256 values a uint8 file can hold."""
    return (x.clamp(0, 1) * 255).round() / 255


def _filter(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each sample with its own kernel by FFT, edges replicated.

    Args:
        x: (B, C, H, W).
        kernels: (B, kh, kw) with odd sides, flipped as in convolution (not correlation).
    """
    b, _, h, w = x.shape
    kh, kw = kernels.shape[-2:]
    padded = F.pad(x, (kw // 2, kw // 2, kh // 2, kh // 2), mode="replicate")
    size = (h + 2 * (kh - 1), w + 2 * (kw - 1))
    spectrum = torch.fft.rfft2(padded, s=size) * torch.fft.rfft2(kernels, s=size).view(
        b, 1, size[0], -1
    )
    full: Tensor = torch.fft.irfft2(spectrum, s=size)
    return full[..., kh - 1 : kh - 1 + h, kw - 1 : kw - 1 + w]


# ── noise ───────────────────────────────────────────────────────────────────


def gaussian_noise(
    x: Tensor,
    sigma_255: Values,
    generator: torch.Generator,
    *,
    correlation: Values | None = None,
    clip: bool = True,
) -> Tensor:
    """Add Gaussian noise of standard deviation `sigma_255` of 255.

    Args:
        x: (B, 3, H, W).
        sigma_255: (B,).
        generator: of the noise field.
        correlation: (B,) in [0, 1]: share of a 3x3-blurred field mixed in, as demosaicing and denoising in a camera
            leave it; the standard deviation stays as asked. None is white noise.
        clip: False keeps values outside [0, 1], as papers that train on float noise do.
    """
    field = _normal(x.shape, generator)
    if correlation is not None:
        share = _column(correlation, x)
        line = torch.tensor([0.25, 0.5, 0.25], device=x.device)
        blurred = _filter(field, (line[:, None] * line).expand(len(x), 3, 3))
        field = (1 - share) * field + share * blurred
        field = field / field.std(dim=(1, 2, 3), keepdim=True)
    y = x + field * _column(sigma_255, x) / 255
    return y.clamp(0, 1) if clip else y


def poisson_noise(x: Tensor, scale: Values, generator: torch.Generator) -> Tensor:
    """Add (Poisson sample of 256 levels minus image) times `scale`; mio16's second noise."""
    levels = 256.0
    sample = torch.poisson(x.clamp(0, 1) * levels, generator=generator) / levels
    return (x + (sample - x) * _column(scale, x)).clamp(0, 1)


def pepper_noise(
    x: Tensor, fraction: Values, generator: torch.Generator, *, salt: Values | None = None
) -> Tensor:
    """Set a share of the pixels to black; `salt` is the share of those that turn white instead."""
    b, _, h, w = x.shape
    hit = _uniform((b, 1, h, w), generator)
    turns_white = _uniform((b, 1, h, w), generator)
    share = _column(salt if salt is not None else [0.0] * b, x)
    lost = (hit < _column(fraction, x)).float()
    return x * (1 - lost) + lost * (turns_white < share).float()


# ── blur ────────────────────────────────────────────────────────────────────


def _gaussian_kernel(sigma: Tensor, side: int) -> Tensor:
    """(B,) sigmas to normalised (B, side, side) kernels."""
    offsets = torch.arange(side, device=sigma.device, dtype=torch.float32) - side // 2
    line = torch.exp(-(offsets**2) / (2 * sigma.clamp(min=1e-3).view(-1, 1) ** 2))
    line = line / line.sum(1, keepdim=True)
    return line[:, :, None] * line[:, None, :]


def gaussian_blur(x: Tensor, sigma_px: Values) -> Tensor:
    """Blur with an isotropic Gaussian; SPIRE's and the classical test's blur."""
    sigma = _column(sigma_px, x).view(-1)
    side = 2 * max(1, math.ceil(3 * float(sigma.max()))) + 1
    return _filter(x, _gaussian_kernel(sigma, side)).clamp(0, 1)


def defocus_blur(x: Tensor, radius_px: Values, alias_sigma: Values | None = None) -> Tensor:
    """Blur with a disk of `radius_px`, its rim smoothed by a 3x3 Gaussian of `alias_sigma`."""
    radius = _column(radius_px, x).view(-1, 1, 1)
    half = max(8, math.ceil(float(radius.max())) + 1)
    offsets = torch.arange(-half, half + 1, device=x.device, dtype=torch.float32)
    distance = (offsets[:, None] ** 2 + offsets**2).sqrt()
    disk = (distance <= radius).float()
    # A fractional radius fades the rim, so that the blur grows smoothly with its parameter.
    disk = torch.maximum(disk, (radius + 1 - distance).clamp(0, 1) * (radius % 1 > 0))
    disk = disk / disk.sum(dim=(1, 2), keepdim=True)
    if alias_sigma is not None:
        rim = _gaussian_kernel(_column(alias_sigma, x).view(-1), 3)
        disk = _filter(disk[:, None], rim)[:, 0]
    return _filter(x, disk).clamp(0, 1)


def motion_radius(sigma_px: float) -> int:
    """The half length that mio16 pairs with a Gaussian extent: 2 -> 5, 3 -> 10, 5 and 8 -> 15."""
    return int(min(15, max(3, round(5 * (sigma_px - 1)))))


def motion_blur(
    x: Tensor, sigma_px: Values, angle_deg: Values, radius_px: Sequence[int] | None = None
) -> Tensor:
    """Average one-sided Gaussian-weighted shifts along an angle, edges replicated."""
    sigmas, angles = _floats(sigma_px), _floats(angle_deg)
    radii = list(radius_px) if radius_px is not None else [motion_radius(s) for s in sigmas]
    reach = 2 * max(radii) + 1
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    h, w = x.shape[-2:]
    out = torch.zeros_like(x)
    for i, (sigma, angle, radius) in enumerate(zip(sigmas, angles, radii, strict=True)):
        taps = 2 * radius + 1
        weights = [math.exp(-(t**2) / (2 * sigma**2)) for t in range(taps)]
        total = sum(weights)
        sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        for t, weight in enumerate(weights):
            dy, dx = math.ceil(t * sine - 0.5), math.ceil(t * cosine - 0.5)
            top, left = reach + dy, reach + dx
            out[i].add_(padded[i, :, top : top + h, left : left + w], alpha=weight / total)
    return out.clamp(0, 1)


# ── weather ─────────────────────────────────────────────────────────────────


def _line_kernel(length: Tensor, angle_deg: Tensor, width: Tensor, side: int) -> Tensor:
    """Soft line segments through the centre, angle from the vertical: (B, side, side), summing to 1."""
    offsets = torch.arange(side, device=length.device, dtype=torch.float32) - side // 2
    y, x = offsets[:, None], offsets[None, :]
    theta = torch.deg2rad(angle_deg).view(-1, 1, 1)
    along = y * torch.cos(theta) + x * torch.sin(theta)
    across = -y * torch.sin(theta) + x * torch.cos(theta)
    ends = (length.view(-1, 1, 1) / 2 - along.abs() + 0.5).clamp(0, 1)
    kernel = ends * torch.exp(-(across**2) / (2 * (width.view(-1, 1, 1) / 3) ** 2))
    return kernel / kernel.sum(dim=(1, 2), keepdim=True)


def rain(
    x: Tensor,
    value: Values,
    length_px: Values,
    angle_deg: Values,
    generator: torch.Generator,
    *,
    width_px: Values | None = None,
    opacity: Values | None = None,
) -> Tensor:
    """Add streaks: thresholded uniform noise, spread 3x3, drawn out along a line, min-max to full scale.

    Args:
        x: (B, 3, H, W).
        value: (B,) streak density; a pixel seeds a streak with probability value / 25600.
        length_px: (B,) streak length.
        angle_deg: (B,) from the vertical.
        generator: of the streaks' places.
        width_px: streak width, 3 unless given.
        opacity: brightness of the brightest streak in [0, 1], 1 unless given.
    """
    b, _, h, w = x.shape
    length, angle = _column(length_px, x).view(-1), _column(angle_deg, x).view(-1)
    width = _column(width_px if width_px is not None else [3.0] * b, x).view(-1)
    side = 2 * (int(length.max()) // 2 + 2) + 1
    noise = _uniform((b, 1, h, w), generator) * 256
    seeds = noise * (noise >= 256 - _column(value, x) * 0.01)
    spread = torch.tensor([[0, 0.1, 0], [0.1, 8, 0.1], [0, 0.1, 0]], device=x.device)
    streaks = _filter(seeds, spread.expand(b, 3, 3))
    streaks = _filter(streaks, _line_kernel(length, angle, width, side)).clamp(min=0)
    peak = streaks.amax(dim=(1, 2, 3), keepdim=True)
    streaks = streaks / peak.clamp(min=1e-3)
    return (x + streaks * _column(opacity if opacity is not None else [1.0] * b, x)).clamp(0, 1)


def snow(
    x: Tensor,
    coverage: Values,
    size_px: Values,
    generator: torch.Generator,
    *,
    angle_deg: Values | None = None,
    opacity: Values | None = None,
) -> Tensor:
    """Alpha-blend white flakes that cover a share of the picture.

    Args:
        x: (B, 3, H, W).
        coverage: (B,) share of the pixels.
        size_px: (B,) flake radius.
        generator: of the flakes' places and brightness.
        angle_deg: fall direction from the vertical; flakes are drawn out by their own radius.
        opacity: of a flake's centre, 0.9 unless given.
    """
    b, _, h, w = x.shape
    size = _column(size_px, x).view(-1)
    angle = _column(angle_deg if angle_deg is not None else [0.0] * b, x).view(-1)
    side = 2 * math.ceil(3 * float(size.max())) + 1
    area = math.pi * size.view(-1, 1, 1, 1) ** 2 * 1.6
    density = 1 - torch.exp(-_column(coverage, x) / area)
    brightness = 0.5 + 0.5 * _uniform((b, 1, h, w), generator)
    seeds = (_uniform((b, 1, h, w), generator) < density).float() * brightness
    flake = _gaussian_kernel(size / 1.5, side)
    flake = flake / flake.amax(dim=(1, 2), keepdim=True)
    fall = _line_kernel(size * 2, angle, size.clamp(min=1.0), side)
    alpha = _filter(_filter(seeds, flake), fall / fall.amax(dim=(1, 2), keepdim=True) * 0.5)
    alpha = alpha.clamp(0, 1) * _column(opacity if opacity is not None else [0.9] * b, x)
    return (x * (1 - alpha) + alpha).clamp(0, 1)


def pseudo_depth(batch: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """A smooth stand-in for a depth map: vertical ramp plus low-frequency noise, (B, 1, H, W), max 1, far at the top."""
    ramp = torch.linspace(1, 0, height, device=generator.device).view(1, 1, -1, 1)
    slope = _uniform((batch, 1, 1, 1), generator)
    coarse = _uniform((batch, 1, 5, 5), generator)
    hills = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    depth = (0.15 + slope * ramp + 0.8 * hills).clamp(min=0.02)
    return depth / depth.amax(dim=(1, 2, 3), keepdim=True)


def haze(x: Tensor, beta: Values, airlight: Tensor | Values, depth: Tensor) -> Tensor:
    """Koschmieder: I = J t + A (1 - t), t = exp(-beta d).

    Args:
        x: (B, 3, H, W).
        beta: (B,) scattering coefficient.
        airlight: (B,) grey or (B, 3) coloured, in [0, 1].
        depth: (B, 1, H, W), max 1.
    """
    t = torch.exp(-_column(beta, x) * depth)
    light = torch.as_tensor(airlight, dtype=torch.float32, device=x.device)
    light = light.view(len(x), -1, 1, 1)
    return (x * t + light * (1 - t)).clamp(0, 1)


# ── light ───────────────────────────────────────────────────────────────────


def shift_of_stops(stops: float) -> float:
    """Shift of HSV value, of 255, that darkens mid-grey by `stops`."""
    return 255 * MID_GREY * (1 - 2**-stops)


def gamma_of_stops(stops: float) -> float:
    """The g of V^(1/g) that darkens mid-grey by `stops`."""
    return 1 / (1 + stops / math.log2(1 / MID_GREY))


def range_of_stops(stops: float) -> float:
    """Upper end, of 255, of the linear range that darkens by `stops`."""
    return 255 * 2**-stops


def exposure_of_stops(stops: float) -> float:
    """Factor on linear light that darkens mid-grey by `stops` of the encoded value."""
    return float(((MID_GREY * 2**-stops + 0.055) / (MID_GREY + 0.055)) ** 2.4)


def low_light(x: Tensor, stops: Values, method: Sequence[str]) -> Tensor:
    """Darken so that mid-grey loses `stops` EV of its encoded value.

    Args:
        x: (B, 3, H, W).
        stops: (B,).
        method: one a sample: `shift`, `gamma`, `range` act on HSV value (mio16), `illumination` raises the locally
            smoothed value to a power (CDD11), `exposure` scales linear light as a camera does.
    """
    out = torch.empty_like(x)
    for i, (ev, how) in enumerate(zip(_floats(stops), method, strict=True)):
        image = x[i]
        value = image.amax(0, keepdim=True)
        if how == "exposure":
            linear = torch.where(
                image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055).clamp(min=0) ** 2.4
            ) * exposure_of_stops(ev)
            out[i] = torch.where(
                linear <= 0.0031308,
                linear * 12.92,
                1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055,
            )
            continue
        if how == "shift":
            darker = (value - shift_of_stops(ev) / 255).clamp(min=0)
        elif how == "gamma":
            darker = value ** (1 / gamma_of_stops(ev))
        elif how == "range":
            low, high = value.min(), value.max()
            darker = (value - low) / (high - low).clamp(min=1e-3) * range_of_stops(ev) / 255
        elif how == "illumination":
            light = F.avg_pool2d(F.pad(value[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
            darker = value * light.clamp(min=1e-3) ** (1 / gamma_of_stops(ev) - 1)
        else:
            raise ValueError(f"no such way to darken: {how!r}")
        out[i] = image * (darker / value.clamp(min=1e-4))
    return out.clamp(0, 1)


# ── sampling and coding ─────────────────────────────────────────────────────


def downsample(x: Tensor, factor: float, mode: str = "bicubic") -> Tensor:
    """Shrink by `factor` with an antialiased filter: (B, 3, round(H / factor), round(W / factor))."""
    h, w = x.shape[-2:]
    size = (max(1, round(h / factor)), max(1, round(w / factor)))
    if mode in ("area", "nearest"):
        return F.interpolate(x, size=size, mode=mode)
    return F.interpolate(x, size=size, mode=mode, antialias=True, align_corners=False).clamp(0, 1)


def upsample(x: Tensor, size: tuple[int, int], mode: str = "bicubic") -> Tensor:
    """Enlarge to (H, W)."""
    if mode in ("area", "nearest"):
        return F.interpolate(x, size=size, mode=mode)
    return F.interpolate(x, size=size, mode=mode, align_corners=False).clamp(0, 1)


def down_up(x: Tensor, factor: Values) -> Tensor:
    """Lose resolution on the same grid: bicubic down by `factor` and back up."""
    size = (x.shape[-2], x.shape[-1])
    return torch.cat(
        [upsample(downsample(x[i : i + 1], f), size) for i, f in enumerate(_floats(factor))]
    )


def jpeg(x: Tensor, quality: Values) -> Tensor:
    """Encode and decode with Pillow's libjpeg at integer `quality` (4:2:0), on the CPU.

    torchvision's codec is deprecated and warns at every call.
    """
    pixels = (x.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    decoded = []
    for image, q in zip(pixels.permute(0, 2, 3, 1).numpy(), _floats(quality), strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=round(q), subsampling="4:2:0")
        with Image.open(file) as back:
            decoded.append(torch.from_numpy(np.array(back)).permute(2, 0, 1))
    return torch.stack(decoded).to(x.device, torch.float32) / 255


def mask(
    x: Tensor,
    fraction: Values,
    generator: torch.Generator,
    *,
    style: Sequence[str] | None = None,
    fill: Values | None = None,
) -> Tensor:
    """Cover about a share of the picture with one flat tone.

    Args:
        x: (B, 3, H, W).
        fraction: (B,) share of the pixels to cover, about.
        generator: of the places.
        style: one a sample: `blocks` (squares), `scratches` (long thin lines), `strokes` (short thick lines).
        fill: grey tone in [0, 1], 0 unless given.
    """
    b, _, h, w = x.shape
    styles = list(style) if style is not None else ["blocks"] * b
    tones = _floats(fill) if fill is not None else [0.0] * b
    # Every sample draws the same number of values, so that one sample's style never moves another's draw.
    draws = _uniform((b, 64, 4), generator).cpu()
    rows = torch.arange(h, device=x.device, dtype=torch.float32)[:, None]
    columns = torch.arange(w, device=x.device, dtype=torch.float32)[None, :]
    out = x.clone()
    for i, share in enumerate(_floats(fraction)):
        covered = torch.zeros(h, w, dtype=torch.bool, device=x.device)
        goal = share * h * w
        for u, v, p, q in draws[i].tolist():
            if float(covered.sum()) >= goal:
                break
            if styles[i] == "blocks":
                side = max(2.0, (0.04 + 0.1 * p) * min(h, w))
                side = min(side, max(2.0, math.sqrt(goal)))
                covered |= ((rows - u * h).abs() <= side / 2) & (
                    (columns - v * w).abs() <= side / 2
                )
                continue
            long = styles[i] == "scratches"
            thick = 0.6 + 1.2 * p if long else 1.5 + 3 * p
            reach = max(h, w) * (0.5 + q) if long else min(h, w) * (0.1 + 0.2 * q)
            angle = (p * 7919 % 1) * math.pi
            dy, dx = rows - u * h, columns - v * w
            along = dy * math.sin(angle) + dx * math.cos(angle)
            across = dy * math.cos(angle) - dx * math.sin(angle)
            covered |= (across.abs() <= thick) & (along.abs() <= reach / 2)
        out[i] = torch.where(covered, torch.tensor(tones[i], device=x.device), out[i])
    return out
