"""MoFE-IR (arXiv 2605.11444): Restormer's U-Net, guided by the embeddings of a vision-language model.

Readings of what the paper leaves open:

- The degraded image is resized to twice a level's resolution, so that its sub-bands land on the level's own grid.
- An expert is conv3x3 (bands to the level's width), GELU, conv3x3 (back to the bands): 0.22 M parameters an expert over all levels,
  0.58 M for the low band with eight of them; the paper's counts say 0.23 and 0.6.
- MDTA keeps its own output projection, and Eq. 6's 1x1 convolution follows it.
- MGFB has an output projection after Eq. 1, as multi-head attention has. In the encoder it stands at levels 1, 2, 3 and the latent one,
  in the decoder behind the blocks of the latent level, 3, 2 and 1.
- Both additions begin at zero: an untrained MGFB or MoFE leaves the backbone as it is.

The compact size has LLMRA's compact backbone (see there), so it can start from those weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.layers.restormer import MDTA
from conservator.restorers.layers.text import CrossAttention
from conservator.restorers.layers.tone import ToneCurve
from conservator.restorers.layers.unet import LATENT, UNet, keep_variance
from conservator.restorers.mofe_ir.config import MoFEConfig

__all__ = ["MGFB", "FrequencyExperts", "HaarDWT", "MoFE", "MoFEIR", "guided_loss", "similarity"]


class HaarDWT(nn.Module):
    """Eq. 3: one level of the orthonormal Haar wavelet transform, as a fixed grouped convolution."""

    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        low, high = torch.tensor([1.0, 1.0]), torch.tensor([1.0, -1.0])
        # LH is low along the columns and high along the rows, as in PyWavelets' cH.
        filters = [torch.outer(a, b) / 2 for a in (low, high) for b in (low, high)]
        ll, hl, lh, hh = filters
        self.register_buffer("bank", torch.stack([ll, lh, hl, hh])[:, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, 2 H, 2 W) to the bands LL, LH, HL, HH of each channel, (B, 4, C, H, W)."""
        b, c, h, w = image.shape
        bands = F.conv2d(image.reshape(b * c, 1, h, w), self.bank.to(image.dtype), stride=2)
        return bands.view(b, c, 4, h // 2, w // 2).transpose(1, 2)

    def inverse(self, bands: Tensor) -> Tensor:
        """(B, 4, C, H, W) back to (B, C, 2 H, 2 W)."""
        b, _, c, h, w = bands.shape
        flat = bands.transpose(1, 2).reshape(b * c, 4, h, w)
        image = F.conv_transpose2d(flat, self.bank.to(bands.dtype), stride=2)
        return image.view(b, c, 2 * h, 2 * w)


class FrequencyExperts(nn.Module):
    """Sum of S_i M_i(F_HF) over the experts, each Conv-GELU-Conv, then the projection to F'_HF.

    All experts run as two wide convolutions: the second is linear, so weighting the hidden maps weights the experts.
    """

    def __init__(self, bands: int, channels: int, experts: int) -> None:
        super().__init__()
        self.count, self.hidden = experts, channels
        self.first = nn.Conv2d(bands, experts * channels, 3, padding=1)
        self.second = nn.Conv2d(experts * channels, bands, 3, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(experts, bands))
        self.project = nn.Conv2d(bands, channels, 1)

    def forward(self, bands: Tensor, weights: Tensor) -> Tensor:
        """(B, bands, H, W) and S (B, N) to F'_HF (B, channels, H, W)."""
        b, _, h, w = bands.shape
        hidden = F.gelu(self.first(bands)).view(b, self.count, self.hidden, h, w)
        hidden = (hidden * weights[:, :, None, None, None].to(hidden.dtype)).flatten(1, 2)
        summed = self.second(hidden) + (weights @ self.bias)[:, :, None, None]
        return self.project(summed)

    def each(self, bands: Tensor) -> Tensor:
        """What every expert says by itself, unweighted: (B, N, bands, H, W)."""
        b, _, h, w = bands.shape
        hidden = F.gelu(self.first(bands)).view(b, self.count, self.hidden, h, w)
        kernels = self.second.weight.view(-1, self.count, self.hidden, 3, 3).transpose(0, 1)
        said = [
            F.conv2d(hidden[:, i], kernels[i], self.bias[i], padding=1) for i in range(self.count)
        ]
        return torch.stack(said, dim=1)


class _GuidedMDTA(MDTA):
    """Eq. 5: MDTA whose keys and values come from another map."""

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """(B, C, H, W) queries `other` of the same shape."""
        if other is None:
            return super().forward(x)
        c = x.shape[1]
        weight, depth = self.qkv.weight, self.depthwise.weight
        query = F.conv2d(F.conv2d(x, weight[:c]), depth[:c], padding=1, groups=c)
        both = F.conv2d(F.conv2d(other, weight[c:]), depth[c:], padding=1, groups=2 * c)
        return self.attended(torch.cat([query, both], dim=1))


class MoFE(nn.Module):
    """Mixture of frequency experts, Eq. 3-6, at one place of the U-Net."""

    def __init__(self, config: MoFEConfig, channels: int, heads: int) -> None:
        super().__init__()
        self.domain, self.low_band = config.domain, config.low_band
        bands = 3 if config.domain == "spatial" else 12 if config.low_band else 9
        self.experts = FrequencyExperts(bands, channels, config.experts)
        self.attention = _GuidedMDTA(channels, heads)
        self.project = nn.Conv2d(channels, channels, 1)
        self.wavelet = HaarDWT()

    def bands(self, image: Tensor, size: torch.Size) -> Tensor:
        """F_HF of Eq. 3: the degraded image's bands on a grid of `size` (H, W)."""
        if self.domain == "spatial":
            return _resized(image, size[0], size[1])
        split = self.wavelet(_resized(image, 2 * size[0], 2 * size[1]))
        return (split if self.low_band else split[:, 1:]).flatten(1, 2)

    def forward(self, x: Tensor, image: Tensor, weights: Tensor) -> Tensor:
        """(B, C, H, W), the degraded image at any size, and S (B, N)."""
        frequency = self.experts(self.bands(image, x.shape[-2:]), weights)
        return x + self.project(self.attention(x, frequency))


class MGFB(nn.Module):
    """MLLM-guided fusion block, Eq. 1 and 2."""

    def __init__(self, channels: int, heads: int, guide_width: int) -> None:
        super().__init__()
        self.cross = CrossAttention(channels, heads, guide_width)

    def forward(self, x: Tensor, embedding: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, H, W) attends to (B, T, guide_width) where `mask` (B, T) is True."""
        b, c, h, w = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(b, h * w, c)
        fused = self.cross(pixels, embedding, mask=mask)
        return x + fused.view(b, h, w, c).permute(0, 3, 1, 2)


@dataclass
class _Guided:
    """What all places share."""

    image: Tensor
    weights: Tensor
    embeddings: dict[str, tuple[Tensor, Tensor | None]]


class MoFEIR(UNet):
    """The whole restorer without its guide."""

    def __init__(self, config: MoFEConfig) -> None:
        super().__init__(config, ToneCurve(config.guide_width) if config.tone else None)
        self.config = config
        c, heads = config.channels, config.heads
        self.router = nn.Linear(config.guide_width, config.experts) if config.use_mofe else None
        inner = {f"encoder{i}": (c[i], heads[i]) for i in (1, 2, LATENT)} | {
            f"decoder{i}": (self.widths[i], heads[i]) for i in (1, 2, LATENT)
        }
        self.mofe = nn.ModuleDict(
            {name: MoFE(config, *size) for name, size in inner.items()} if config.use_mofe else {}
        )

        def fusion(place: str, widths: tuple[int, ...]) -> dict[str, MGFB]:
            return {
                f"{place}{i}": MGFB(width, heads[i], config.guide_width)
                for i, width in enumerate(widths)
            }

        self.mgfb = nn.ModuleDict(
            (fusion("encoder", c) if config.encoder_guide else {})
            | (fusion("decoder", self.widths) if config.decoder_guide else {})
        )
        keep_variance(self.mofe)
        for block in self.mofe.values():
            assert isinstance(block, MoFE)
            nn.init.zeros_(block.project.weight)
        for block in self.mgfb.values():
            assert isinstance(block, MGFB)
            nn.init.zeros_(block.cross.project.weight)
            nn.init.zeros_(block.cross.project.bias)

    def route(self, answer: Tensor) -> Tensor:
        """Eq. 4: expert weights S (B, N) in (0, 1) of E_Answer (B, guide_width), the same at every level."""
        if self.router is None:
            return answer.new_zeros(len(answer), self.config.experts)
        weights: Tensor = self.router(answer.float()).sigmoid()
        return weights

    def curve(self, image: Tensor, guide: GuideEmbeddings) -> Tensor | None:
        """The tone curve of a whole picture (B, 3, H, W), for `forward` on its tiles; None without a ToneCurve."""
        return None if self.tone is None else self.tone(image, guide.joint, guide.joint_mask)

    def forward(
        self,
        image: Tensor,
        guide: GuideEmbeddings,
        curve: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Restore (B, 3, H, W).

        Args:
            image: in [0, 1].
            guide: its embeddings, one row a sample.
            curve: of the whole picture when the image is a tile of it.
            weights: S (B, N) in place of the router's, to look at single experts.
        """
        deg = image
        heights = self.curve(image, guide) if curve is None else curve
        if self.tone is not None and heights is not None:
            image = self.tone.apply_to(image, heights)
        weights = self.route(guide.answer) if weights is None else weights
        embeddings = {
            "image": (guide.image, guide.image_mask),
            "joint": (guide.joint, guide.joint_mask),
        }
        return self.restored(image, _Guided(deg, weights, embeddings))

    def before_encoding(self, level: int, x: Tensor, guide: _Guided) -> Tensor:
        """MoFE behind each downsampling, then MGFB with E_Image."""
        return self._fused("encoder", level, self._mixed("encoder", level, x, guide), guide)

    def after_latent(self, x: Tensor, guide: _Guided) -> Tensor:
        """MGFB with E_Joint, then MoFE before the upsampling."""
        return self.after_decoding(LATENT, x, guide)

    def after_decoding(self, level: int, x: Tensor, guide: _Guided) -> Tensor:
        """MGFB with E_Joint behind the blocks, then MoFE where an upsampling follows."""
        return self._mixed("decoder", level, self._fused("decoder", level, x, guide), guide)

    def _mixed(self, place: str, level: int, x: Tensor, guide: _Guided) -> Tensor:
        name = f"{place}{level}"
        return self.mofe[name](x, guide.image, guide.weights) if name in self.mofe else x

    def _fused(self, place: str, level: int, x: Tensor, guide: _Guided) -> Tensor:
        name = f"{place}{level}"
        if name not in self.mgfb:
            return x
        chosen = self.config.encoder_guide if place == "encoder" else self.config.decoder_guide
        assert chosen is not None
        return self.mgfb[name](x, *guide.embeddings[chosen])


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(
        image, size=(height, width), mode="bilinear", antialias=True, align_corners=False
    )


def similarity(vectors: Tensor) -> Tensor:
    """Pairwise cosine similarities (B, B) of (B, D)."""
    unit = F.normalize(vectors.float(), dim=1)
    return unit @ unit.T


def guided_loss(answer: Tensor, weights: Tensor) -> Tensor:
    """Eq. 7: mean absolute difference of the relations between the samples' E_Answer and between their routing vectors."""
    return (similarity(answer) - similarity(weights)).abs().mean()
