"""A Stable-Diffusion-class base for the paper's configuration: UNet, CLIP text tower, autoencoder and noise schedule."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from conservator.restorers.errors import BackendMissingError, UsageError, WeightsError
from conservator.restorers.spire.autoencoder import VaeAutoencoder
from conservator.restorers.spire.config import SpireConfig
from conservator.restorers.spire.network import Prior, Spire
from conservator.restorers.spire.text import ClipText

__all__ = ["VARIABLE", "base_named", "needs_diffusers", "on_base"]

VARIABLE = "CONSERVATOR_SPIRE_BASE"
"""Environment variable with the base: a directory in diffusers' layout, or a hub id in the local cache."""


def needs_diffusers() -> None:
    """Say in one line that diffusers is missing.

    Raises:
        BackendMissingError: it is.
    """
    if find_spec("diffusers") is None:
        raise BackendMissingError(
            "SPIRE needs diffusers, which is not installed: pip install diffusers"
        )


def base_named(given: str | Path | None) -> str:
    """The base that was given, or the one of the environment.

    Raises:
        UsageError: neither.
    """
    chosen = str(given or os.environ.get(VARIABLE, ""))
    if not chosen:
        raise UsageError(
            f"SPIRE's paper configuration needs a base; set {VARIABLE} to a Stable-Diffusion-class model: a directory, "
            "or a hub id in the local cache"
        )
    return chosen


def on_base(config: SpireConfig, base: str | Path, *, allow_download: bool = False) -> Spire:
    """SPIRE around a base, the branch begun as a copy of its encoder; the base is frozen.

    Args:
        config: its switches and sampling; widths, text width and latent are the base's own.
        base: a directory in diffusers' layout (unet, vae, text_encoder, tokenizer, scheduler), or a hub id.
        allow_download: fetch a hub id that is not in the cache.

    Raises:
        BackendMissingError: the base is not on this machine, or diffusers is missing.
        WeightsError: the directory is damaged, or holds another architecture.
    """
    source = str(Path(base).expanduser()) if Path(base).expanduser().is_dir() else str(base)
    with _explained(base, allow_download=allow_download):
        from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        more: dict[str, Any] = {"local_files_only": not allow_download}
        unet = UNet2DConditionModel.from_pretrained(source, subfolder="unet", **more)
        vae = AutoencoderKL.from_pretrained(source, subfolder="vae", **more)
        text = CLIPTextModel.from_pretrained(source, subfolder="text_encoder", **more)
        tokenizer = CLIPTokenizer.from_pretrained(source, subfolder="tokenizer", **more)
        schedule = DDIMScheduler.from_pretrained(
            source, subfolder="scheduler", clip_sample=False, **more
        )
    if unet.config.cross_attention_dim != text.config.hidden_size:
        raise WeightsError(
            f"{base} has a UNet that listens to width {unet.config.cross_attention_dim} and a text tower of "
            f"{text.config.hidden_size}; give a base whose parts belong together"
        )
    sizes = _sizes(config, unet)
    prior = Prior(sizes, unet, ClipText(text, tokenizer)).requires_grad_(False)
    model = Spire(sizes, prior, VaeAutoencoder(vae))
    model.schedule = schedule
    return model


def _sizes(config: SpireConfig, unet: Any) -> SpireConfig:
    return replace(
        config,
        channels=tuple(unet.config.block_out_channels),
        layers=unet.config.layers_per_block,
        latent_channels=unet.config.in_channels,
        text_width=unet.config.cross_attention_dim,
    )


@contextmanager
def _explained(base: str | Path, *, allow_download: bool) -> Iterator[None]:
    """Say in one line what is wrong with a base."""
    try:
        with warnings.catch_warnings():
            # Diffusers still gives the hub an argument that is retired.
            warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks")
            yield
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if Path(base).expanduser().is_dir():
            raise WeightsError(
                f"{base} is no Stable-Diffusion-class base in diffusers' layout: {reason}"
            ) from error
        remedy = (
            "the hub did not give it"
            if allow_download
            else "downloads are off; download it by hand and give its directory"
        )
        raise BackendMissingError(f"{base} is not on this machine and {remedy}") from error
