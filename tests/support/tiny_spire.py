"""SPIRE small enough for a test to train, and a base for its paper configuration that nobody trained."""

import json
from pathlib import Path

import pytest
import torch

from conservator.restorers.spire.config import CONFIGS, Sampling, SpireConfig
from conservator.restorers.spire.network import Spire
from conservator.restorers.spire.parts import STAGES, ours, write

TINY = SpireConfig(
    latent_channels=32,
    autoencoder=(16, 8),
    channels=(16, 16),
    attention=(False, True),
    middle_attention=False,
    layers=1,
    heads=2,
    groups=4,
    text="small",
    tokens=40,
    text_width=32,
    text_depth=1,
    pooled=True,
    condition_widths=(4, 8, 8, 8),
    condition_channels=8,
    latent_condition=True,
    prediction="v_prediction",
    zero_snr=True,
    partial=0.2,
    wide=0.2,
    sampling=Sampling(steps=3, guidance=1.0, start="degraded", fidelity=1.0),
)


def write_weights(path: Path, patch: pytest.MonkeyPatch, stages: tuple[str, ...] = STAGES) -> Path:
    """Weights of a tiny network whose every part speaks, and the name `compact` changed to mean it."""
    patch.setitem(CONFIGS, "compact", TINY)
    torch.manual_seed(0)
    model = Spire(TINY)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
    write(ours(model), path, stages, "compact", {})
    return path


def write_base(folder: Path) -> Path:
    """A Stable-Diffusion-class base in diffusers' layout, small and untrained."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    # Byte-pair encoding without merges: every letter is a token.
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.;,'-|"]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=24, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=24,
        bos_token_id=len(words) - 2, eos_token_id=len(words) - 1, pad_token_id=len(words) - 1,
    )  # fmt: skip
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(16, 16), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=24, attention_head_dim=2, norm_num_groups=4,
    ).save_pretrained(folder / "unet")  # fmt: skip
    AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    ).save_pretrained(folder / "vae")  # fmt: skip
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    ).save_pretrained(folder / "scheduler")
    return folder
