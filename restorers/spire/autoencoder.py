"""Where SPIRE's diffusion takes place: our small autoencoder with its fidelity path, or a base's `AutoencoderKL`.

The small one compresses a picture sixfold: 8 channels at a quarter of the resolution, folded to 32 at an eighth, because wide maps of few
pixels are what a CPU computes fast. It is trained without an adversary, so what it gives back is a little soft and true.

The fidelity path is an addition to the paper. A small latent model loses fine detail that the degraded picture still shows, so features of
that picture join the decoder's (CodeFormer's controllable feature transformation), told by the restoration prompt what of them to
believe, and its low frequencies, which none of the four degradations changes, are kept (StableSR's colour correction). Its weight is a
number, 0 takes it away, times a gate a channel that the prompt opens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.layers.unet import ResidualBlock, keep_variance

__all__ = ["Autoencoder", "Correct", "Fidelity", "VaeAutoencoder", "low_frequencies"]

Correct = Callable[[int, Tensor], Tensor]
"""Changes the decoder's features at place 0 (a quarter of the resolution) and 1 (half of it)."""

_FOLD = 2


class Autoencoder(nn.Module):
    """(B, 3, H, W) in [0, 1] to z (B, 32, H / 8, W / 8), zero mean and unit deviation a channel, and back."""

    factor = 8
    mean: Tensor
    deviation: Tensor

    def __init__(self, latent_channels: int = 32, widths: tuple[int, int] = (128, 64)) -> None:
        super().__init__()
        width, fine = widths
        self.latent_channels = latent_channels
        inner = latent_channels // _FOLD**2

        def blocks(count: int, channels: int) -> nn.Sequential:
            return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))

        self.stem = nn.Conv2d(3 * 4, fine, 3, padding=1)
        self.encode_fine = blocks(1, fine)
        self.down = nn.Conv2d(fine, width // 4, 3, padding=1)
        self.encode_wide = blocks(3, width)
        self.to_latent = nn.Conv2d(width, inner, 3, padding=1)
        self.from_latent = nn.Conv2d(inner, width, 3, padding=1)
        self.decode_first = blocks(2, width)
        self.decode_wide = blocks(1, width)
        self.up = nn.Conv2d(width, 4 * fine, 3, padding=1)
        self.decode_fine = blocks(2, fine)
        self.output = nn.Conv2d(fine, 3 * 4, 3, padding=1)
        keep_variance(self)
        self.register_buffer("mean", torch.zeros(1, latent_channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, latent_channels, 1, 1))

    def features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What the encoder sees: (B, width, H / 4, W / 4) and (B, fine, H / 2, W / 2)."""
        fine = self.encode_fine(self.stem(F.pixel_unshuffle(image * 2 - 1, 2)))
        return self.encode_wide(F.pixel_unshuffle(self.down(fine), 2)), fine

    def unfolded(self, image: Tensor) -> Tensor:
        """The latent before folding and scaling, (B, 8, H / 4, W / 4)."""
        return self.to_latent(self.features(image)[0])

    def encode(self, image: Tensor) -> Tensor:
        """The latent of (B, 3, H, W); H and W are multiples of 8."""
        return (F.pixel_unshuffle(self.unfolded(image), _FOLD).float() - self.mean) / self.deviation

    def decode(self, z: Tensor, correct: Correct | None = None) -> Tensor:
        """The picture of z, not clipped; `correct` is the fidelity path's."""
        return self.drawn(F.pixel_shuffle(z * self.deviation + self.mean, _FOLD), correct)

    def drawn(self, latent: Tensor, correct: Correct | None = None) -> Tensor:
        """The picture of a latent that is neither folded nor scaled."""
        x = self.decode_first(self.from_latent(latent))
        if correct is not None:
            x = correct(0, x)
        x = self.decode_fine(F.pixel_shuffle(self.up(self.decode_wide(x)), 2))
        if correct is not None:
            x = correct(1, x)
        # The last layer in full precision: bfloat16 has half a step of 8 bits.
        with torch.autocast(x.device.type, enabled=False):
            picture = F.pixel_shuffle(self.output(x.float()), 2)
        return (picture + 1) / 2

    @torch.no_grad()
    def measure(self, image: Tensor) -> None:
        """Take mean and deviation a channel from the latents of (B, 3, H, W)."""
        folded = F.pixel_unshuffle(self.unfolded(image), _FOLD).float()
        self.mean.copy_(folded.mean(dim=(0, 2, 3), keepdim=True))
        self.deviation.copy_(folded.std(dim=(0, 2, 3), keepdim=True).clamp(min=1e-3))


class _FidelityBlock(nn.Module):
    """decoded + share * (scale * decoded + shift), scale and shift from both pictures' features and the prompt."""

    def __init__(self, channels: int, text_width: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.told = nn.Linear(text_width, 2 * channels)
        self.body = ResidualBlock(channels)
        self.transform = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.gate = nn.Linear(text_width, channels)
        keep_variance(self)
        # Nothing is added at first, through gates that stand open.
        nn.init.zeros_(self.transform.weight)
        nn.init.normal_(self.told.weight, std=0.02)
        nn.init.constant_(self.gate.bias, 1.0)

    def forward(self, decoded: Tensor, seen: Tensor, said: Tensor, weight: float) -> Tensor:
        """Two maps (B, C, H, W) and the prompt (B, D)."""
        gain, offset = self.told(said)[..., None, None].chunk(2, dim=1)
        hidden = self.merge(torch.cat([decoded, seen], dim=1))
        hidden = self.body(F.gelu(hidden * (1 + gain) + offset))
        scale, shift = self.transform(hidden).chunk(2, dim=1)
        share = weight * torch.sigmoid(self.gate(said))[..., None, None]
        return decoded + share * (scale * decoded + shift)


class Fidelity(nn.Module):
    """The fidelity path; untrained it adds nothing but the low frequencies."""

    def __init__(self, text_width: int, widths: tuple[int, int] = (128, 64)) -> None:
        super().__init__()
        self.places = nn.ModuleList(_FidelityBlock(width, text_width) for width in widths)

    def restored(
        self, autoencoder: Autoencoder, z: Tensor, degraded: Tensor, said: Tensor, weight: float
    ) -> Tensor:
        """The picture of z, corrected by the degraded one.

        Args:
            autoencoder: decodes.
            z: (B, 32, H / 8, W / 8).
            degraded: (B, 3, H, W); H and W are multiples of 16.
            said: the restoration prompt, (B, D).
            weight: [0, 1]; 0 is the autoencoder alone.
        """
        if weight == 0:
            return autoencoder.decode(z)
        seen = autoencoder.features(degraded)

        def correct(place: int, decoded: Tensor) -> Tensor:
            corrected: Tensor = self.places[place](decoded, seen[place], said, weight)
            return corrected

        picture = autoencoder.decode(z, correct)
        return picture + weight * low_frequencies(degraded - picture)


def low_frequencies(x: Tensor, side: int = 16) -> Tensor:
    """(B, C, H, W) averaged over squares of `side` px and drawn smoothly again."""
    means = F.avg_pool2d(x.float(), side)
    return F.interpolate(means, scale_factor=side, mode="bilinear", align_corners=False)


class VaeAutoencoder(nn.Module):
    """A base's `AutoencoderKL`, frozen, behind the same two methods."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(False)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.latent_channels = int(vae.config.latent_channels)
        self.scale = float(vae.config.scaling_factor)

    def encode(self, image: Tensor) -> Tensor:
        """The latent of (B, 3, H, W) in [0, 1]: the mode, scaled."""
        return self.vae.encode(image * 2 - 1).latent_dist.mode() * self.scale

    def decode(self, z: Tensor) -> Tensor:
        """The picture of z, not clipped."""
        return (self.vae.decode(z / self.scale).sample + 1) / 2
