"""A masked autoencoder (arXiv 2111.06377): the vision module of LM4LV.

The `paper` size is ViT-MAE-Large, number for number, and takes its published weights (`from_transformers`).

The compact size is ours. Its plain reconstruction is the ceiling of all that the restorer does, and its tokens are what a small language
model has to carry, so: patches of 8 px (as many tokens as the paper's 224 px have, on 112 px), tokens of 64 numbers for the 192 of a patch,
scaled to unit RMS, with noise on them while it trains. Under noise of a fixed size a number gets the more room the more it moves the
picture, so that an error in a token costs about the same in the picture wherever it falls, and the decoder bears the
errors of a language model. A convolutional head takes the seams of the patches off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.errors import WeightsError
from conservator.restorers.lm4lv.config import MAEConfig

__all__ = ["MAE", "Block", "Decoder", "Encoder", "from_transformers", "kept_patches", "place_codes"]

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def place_codes(grid: int, width: int, temperature: float = 10000.0) -> Tensor:
    """MAE's fixed sine-cosine codes of (grid * grid, width): across first, then down."""
    count = width // 4
    rates = temperature ** -(torch.arange(count, dtype=torch.float64) / count)
    line = torch.arange(grid, dtype=torch.float64)
    down, across = (x.flatten()[:, None] * rates for x in torch.meshgrid(line, line, indexing="ij"))
    return torch.cat([across.sin(), across.cos(), down.sin(), down.cos()], dim=1).float()


def _attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if q.device.type == "cpu" and q.requires_grad:
        # Backwards, a CPU's fused attention is several times slower than the plain product at these lengths.
        scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
        return scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v
    return F.scaled_dot_product_attention(q, k, v)


class Block(nn.Module):
    """A ViT block: pre-norm attention, then an MLP four times as wide."""

    def __init__(self, width: int, heads: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=epsilon)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) to the same."""
        b, n, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, width // self.heads)
        mixed = _attended(*qkv.permute(2, 0, 3, 1, 4))  # (B, heads, N, width / heads)
        x = x + self.project(mixed.transpose(1, 2).reshape(b, n, width))
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """Pictures to visual tokens, the class token first."""

    mean: Tensor
    deviation: Tensor
    places: Tensor

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
        self.first = nn.Parameter(torch.zeros(config.width))
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.epsilon) for _ in range(config.depth)
        )
        narrow = config.token_width is not None
        self.narrow = nn.Linear(config.width, config.visual_width) if narrow else None
        self.norm = nn.LayerNorm(
            config.visual_width, eps=config.epsilon, elementwise_affine=not narrow
        )
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(3, 1, 1), persistent=False)
        # Published weights bring theirs along; our own need no room in the file.
        self.register_buffer(
            "places",
            place_codes(config.grid, config.width),
            persistent=config.token_width is None,
        )
        nn.init.normal_(self.first, std=0.02)

    def forward(self, picture: Tensor, kept: Tensor | None = None) -> Tensor:
        """(B, 3, side, side), [0, 1], to (B, 1 + patches, visual width); of the patches `kept` (B, K) only, where given."""
        x = self.patches((picture - self.mean) / self.deviation)
        x = x.flatten(2).transpose(1, 2) + self.places  # (B, patches, width)
        if kept is not None:
            x = x.gather(1, kept[..., None].expand(-1, -1, x.shape[-1]))
        x = torch.cat([self.first.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x if self.narrow is None else self.narrow(x))


class Decoder(nn.Module):
    """Visual tokens to pictures."""

    mean: Tensor
    deviation: Tensor
    places: Tensor

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        width = config.decoder_width
        self.embed = nn.Linear(config.visual_width, width)
        self.mask = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(
            Block(width, config.decoder_heads, config.epsilon) for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(width, eps=config.epsilon)
        self.pixels = nn.Linear(width, 3 * config.patch**2)
        self.head = _Head(width, config) if config.convolutions else None
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(3, 1, 1), persistent=False)
        self.register_buffer(
            "places", place_codes(config.grid, width), persistent=config.token_width is None
        )
        nn.init.normal_(self.mask, std=0.02)

    def forward(self, tokens: Tensor, kept: Tensor | None = None) -> Tensor:
        """(B, 1 + patches, visual width) to (B, 3, side, side), not clipped; the inverse of the encoder's `forward`."""
        grid, patch = self.config.grid, self.config.patch
        x = self.embed(tokens)
        if kept is not None:
            all_of_them = self.mask.to(x.dtype).expand(len(x), grid**2, -1)
            index = kept[..., None].expand(-1, -1, x.shape[-1])
            x = torch.cat([x[:, :1], all_of_them.scatter(1, index, x[:, 1:])], dim=1)
        x = x + F.pad(self.places, (0, 0, 1, 0))
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)[:, 1:]
        b = len(x)
        # A patch's numbers lie as in MAE: rows, columns, channels.
        flat = self.pixels(x).view(b, grid, grid, patch, patch, 3)
        picture = flat.permute(0, 5, 1, 3, 2, 4).reshape(b, 3, grid * patch, grid * patch)
        if self.head is not None:
            picture = picture + self.head(x.transpose(1, 2).reshape(b, -1, grid, grid))
        return picture.float() * self.deviation + self.mean


class _Head(nn.Module):
    """Tokens on their grid to what the linear head misses: a convolution and a step up at each octave."""

    def __init__(self, width: int, config: MAEConfig) -> None:
        super().__init__()
        octaves = config.patch.bit_length() - 1
        channels = [config.convolutions * 2**i for i in range(octaves)]
        self.steps = nn.ModuleList()
        for out in reversed(channels):
            self.steps.append(nn.Conv2d(width, 4 * out, 3, padding=1))
            width = out
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, grid, grid) to (B, 3, side, side)."""
        for step in self.steps:
            x = F.gelu(F.pixel_shuffle(step(x), 2))
        return self.last(x)


class MAE(nn.Module):
    """Encoder and decoder."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def forward(self, picture: Tensor, kept: Tensor | None = None, noise: float = 0.0) -> Tensor:
        """Reconstruct (B, 3, side, side), with noise of up to `noise` on the tokens, more or less a picture."""
        return self.decoder(noisy(self.encoder(picture, kept), noise), kept)


def noisy(tokens: Tensor, most: float) -> Tensor:
    """Tokens (B, N, W) under Gaussian noise of 0 to `most`, drawn a picture."""
    if not most:
        return tokens
    sizes = most * torch.rand(len(tokens), 1, 1, device=tokens.device, dtype=tokens.dtype)
    return tokens + sizes * torch.randn_like(tokens)


def kept_patches(batch: int, config: MAEConfig, masked: float, device: torch.device) -> Tensor:
    """Numbers (B, K) of the patches that a share of `masked` leaves, another draw for each picture."""
    count = max(1, round(config.grid**2 * (1 - masked)))
    return torch.rand(batch, config.grid**2, device=device).argsort(dim=1)[:, :count]


_RENAMED: tuple[tuple[str, str], ...] = (
    (r"^vit\.embeddings\.cls_token$", "encoder.first"),
    (r"^vit\.embeddings\.position_embeddings$", "encoder.places"),
    (r"^vit\.embeddings\.patch_embeddings\.projection\.", "encoder.patches."),
    (r"^vit\.(?:encoder\.layer|layers)\.(\d+)\.", r"encoder.blocks.\1."),
    (r"^vit\.layernorm\.", "encoder.norm."),
    (r"^decoder\.decoder_embed\.", "decoder.embed."),
    (r"^decoder\.mask_token$", "decoder.mask"),
    (r"^decoder\.decoder_pos_embed$", "decoder.places"),
    (r"^decoder\.decoder_layers\.(\d+)\.", r"decoder.blocks.\1."),
    (r"^decoder\.decoder_norm\.", "decoder.norm."),
    (r"^decoder\.decoder_pred\.", "decoder.pixels."),
    (r"layernorm_before\.", "norm1."),
    (r"layernorm_after\.", "norm2."),
    (r"attention\.(?:attention\.query|q_proj)\.", "query."),
    (r"attention\.(?:attention\.key|k_proj)\.", "key."),
    (r"attention\.(?:attention\.value|v_proj)\.", "value."),
    (r"attention\.(?:output\.dense|o_proj)\.", "project."),
    (r"(?:intermediate\.dense|mlp\.fc1)\.", "mlp.0."),
    (r"(?<!attention\.)(?:output\.dense|mlp\.fc2)\.", "mlp.2."),
)
"""Transformers' names of ViTMAEForPreTraining, of its fourth and its fifth version, to ours."""


def from_transformers(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights of transformers' ViTMAEForPreTraining under our names.

    Raises:
        WeightsError: a name that it does not have.
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        ours = name
        for pattern, new in _RENAMED:
            ours = re.sub(pattern, new, ours)
        if ours == name:
            raise WeightsError(f"{name} is no weight of a ViTMAEForPreTraining; give another model")
        if ours in ("encoder.first", "decoder.mask"):
            value = value.flatten()
        # The class token's place is zero.
        found[ours] = value[0, 1:] if ours.endswith(".places") else value
    for name in [n for n in found if ".query." in n]:
        parts = [
            found.pop(name.replace(".query.", f".{part}.")) for part in ("query", "key", "value")
        ]
        found[name.replace(".query.", ".qkv.")] = torch.cat(parts)
    return found
