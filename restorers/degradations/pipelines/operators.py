"""The operators that a `Step` can name: the ones of `synthesis`, and those that only one paper needs."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.pipelines.kernels import (
    blur_kernel,
    filtered,
    sinc_kernel,
)
from conservator.restorers.degradations.pipelines.step import Step
from conservator.restorers.errors import PromptError

__all__ = ["OPERATORS", "run"]

Operator = Callable[[Tensor, "Arguments", Generator], Tensor]
"""(1, 3, H, W) in [0, 1], arguments, a seeded generator -> (1, 3, h, w) in [0, 1]."""


class Arguments:
    """A step's parameters by name."""

    def __init__(self, step: Step, depth: Tensor | None) -> None:
        self._step = step
        self.depth = depth

    def __getitem__(self, name: str) -> float:
        """A number, as Python's float.

        Raises:
            PromptError: it is missing, or no number.
        """
        value = self._step.parameters.get(name)
        if not isinstance(value, int | float):
            raise PromptError(
                f"step {self._step.operator} has {name}={value!r}; a number is needed there"
            )
        return float(value)

    def number(self, name: str, default: float) -> float:
        """A number that may be missing."""
        return self[name] if name in self._step.parameters else default

    def text(self, name: str) -> str:
        """A word."""
        return str(self._step.parameters.get(name, ""))


def _haze(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    height, width = x.shape[-2:]
    depth = synthesis.pseudo_depth(1, height, width, generator)
    if a.depth is not None:
        depth = F.interpolate(
            a.depth, size=(height, width), mode="bilinear", align_corners=False
        ).clamp(min=0)
        depth = depth / depth.amax().clamp(min=1e-6)
    side = int(a.number("depth_blur_px", 0))
    if side > 1:
        before, after = (side - 1) // 2, side // 2
        padded = F.pad(depth, (before, after, before, after), mode="replicate")
        depth = F.avg_pool2d(padded, side, 1)
    depth = depth.clamp(max=a.number("depth_cap", 1.0))
    return synthesis.haze(x, [a["beta"]], [a["airlight"]], depth)


def _motion_blur(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    sigma = a["sigma_px"]
    half = int(a.number("half_length_px", synthesis.motion_radius(sigma)))
    if sigma <= 0:
        return x
    return synthesis.motion_blur(x, [sigma], [a["angle_deg"]], [half])


def _rain(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    return synthesis.rain(
        x,
        [a["value"]],
        [a["length_px"]],
        [a["angle_deg"]],
        generator,
        width_px=[a.number("width_px", 3.0)],
        opacity=[a.number("opacity", 1.0)],
    )


def _snow(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    return synthesis.snow(
        x,
        [a["coverage"]],
        [a["size_px"]],
        generator,
        angle_deg=[a["angle_deg"]],
        opacity=[a["opacity"]],
    )


def _illumination(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    """CDD11: L is HSV value under a self-guided 3x3 guided filter (eps 0.01); R L^power with R = I / L."""
    value = x.amax(1, keepdim=True)

    def mean(map_: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(map_, (1, 1, 1, 1), mode="replicate"), 3, 1)

    average = mean(value)
    variance = mean(value * value) - average**2
    slope = variance / (variance + 0.01)
    light = mean(slope) * value + mean(average - slope * average)
    return x * light.clamp(1e-3, 1) ** (a["power"] - 1)


def _grey(x: Tensor) -> Tensor:
    """BT.601 luma, (B, 1, H, W)."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (x * weights).sum(1, keepdim=True)


def _grey_gaussian_noise(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    field = torch.randn((1, 1, *x.shape[-2:]), generator=generator)
    return x + field * a["sigma_255"] / 255


def _grey_poisson_noise(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    grey = _grey(x).clamp(0, 1)
    sample = torch.poisson(grey * 256, generator=generator) / 256
    return x + (sample - grey) * a["scale"]


def _resize(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    """Real-ESRGAN's resize: no antialiasing, so that its down- and upsampling leave what real chains leave."""
    size, mode = (int(a["height"]), int(a["width"])), a.text("mode")
    if size == tuple(x.shape[-2:]):
        return x
    if mode == "area":
        return F.interpolate(x, size=size, mode=mode)
    return F.interpolate(x, size=size, mode=mode, align_corners=False)


def _low_light(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    return synthesis.low_light(x, [a["stops"]], [a.text("method")])


def _mask(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    return synthesis.mask(x, [a["fraction"]], generator, style=[a.text("style")], fill=[a["fill"]])


def _defocus_blur(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    radius = a["radius_px"]
    return x if radius <= 0 else synthesis.defocus_blur(x, [radius], [a["alias_sigma"]])


def _kernel_blur(x: Tensor, a: Arguments, generator: Generator) -> Tensor:
    kernel = blur_kernel(
        a.text("shape"),
        int(a["side_px"]),
        a["sigma_x"],
        a["sigma_y"],
        a["rotation_rad"],
        a["power"],
    )
    return filtered(x, kernel)


OPERATORS: dict[str, Operator] = {
    "gaussian_noise": lambda x, a, g: synthesis.gaussian_noise(x, [a["sigma_255"]], g),
    "poisson_noise": lambda x, a, g: synthesis.poisson_noise(x, [a["scale"]], g),
    "grey_gaussian_noise": _grey_gaussian_noise,
    "grey_poisson_noise": _grey_poisson_noise,
    "pepper_noise": lambda x, a, g: synthesis.pepper_noise(
        x, [a["fraction"]], g, salt=[a.number("salt", 0.0)]
    ),
    "gaussian_blur": lambda x, a, g: synthesis.gaussian_blur(x, [a["sigma_px"]]),
    "defocus_blur": _defocus_blur,
    "motion_blur": _motion_blur,
    "kernel_blur": _kernel_blur,
    "sinc": lambda x, a, g: filtered(x, sinc_kernel(int(a["side_px"]), a["cutoff_rad"])),
    "rain": _rain,
    "haze": _haze,
    "snow": _snow,
    "low_light": _low_light,
    "illumination": _illumination,
    "jpeg": lambda x, a, g: synthesis.jpeg(x, [a["quality"]]),
    "downsample": lambda x, a, g: synthesis.downsample(x, a["factor"], a.text("mode")),
    "resize": _resize,
    "mask": _mask,
}
"""Operator by name."""


def run(x: Tensor, step: Step, depth: Tensor | None = None) -> Tensor:
    """Run one step.

    Args:
        x: (1, 3, H, W), float32, [0, 1], on the CPU.
        step: what to do.
        depth: (1, 1, h, w) for haze instead of the pseudo-depth; farther is larger, any scale.

    Raises:
        PromptError: the step names no operator, or lacks a parameter.
    """
    operator = OPERATORS.get(step.operator)
    if operator is None:
        raise PromptError(
            f"draws name the unknown step {step.operator!r}; known: {', '.join(sorted(OPERATORS))}"
        )
    generator = torch.Generator().manual_seed(step.seed)
    return operator(x, Arguments(step, depth), generator).clamp(0, 1)
