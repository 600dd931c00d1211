"""LM4LV small enough for a test to train, and language models that nobody trained."""

from pathlib import Path
from typing import Any

import pytest
import torch

from conservator.restorers.lm4lv.config import CONFIGS, LM4LVConfig, MAEConfig
from conservator.restorers.lm4lv.language import MODELS, LanguageModel, fingerprint
from conservator.restorers.lm4lv.network import LM4LV
from conservator.restorers.weights import save_weights

TINY_MAE = MAEConfig(
    side=32,
    patch=8,
    width=32,
    depth=2,
    heads=2,
    token_width=24,
    token_noise=0.1,
    decoder_width=32,
    decoder_depth=1,
    decoder_heads=2,
    convolutions=4,
    epsilon=1e-6,
)
TINY = LM4LVConfig(
    mae=TINY_MAE,
    llm_width=32,
    task_tokens=3,
    loudness=4.0,
    beside=True,
    readings=True,
    text_loss=0.02,
    picture_loss=1.0,
)

_TEXT = "Human: <Img></Img> Assistant: <Img> what is wrong with this picture? nothing at all."


def network_of(kind: str, seed: int = 0) -> Any:
    """A causal language model of transformers, 32 wide, 2 layers."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    if kind == "gpt2":
        config = GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=2, n_positions=128)
        return GPT2LMHeadModel(config)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=400,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=128,
        )
    )


def write_llm(folder: Path, kind: str = "llama", seed: int = 0) -> Path:
    """Write a language model and its tokenizer; returns the folder."""
    from conservator.agent.vlm.embedded.language import tokenizer_of

    network_of(kind, seed).save_pretrained(folder)
    tokenizer_of([_TEXT] * 4, 400).save_pretrained(folder)
    return folder


def network(folder: Path, config: LM4LVConfig = TINY, seed: int = 0) -> LM4LV:
    """A network whose every part speaks."""
    language = LanguageModel.load(folder) if config.speaks else None
    torch.manual_seed(seed)
    made = LM4LV(config, language)
    with torch.no_grad():
        for parameter in made.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    return made.eval()


def write_weights(path: Path, llm: Path, patch: pytest.MonkeyPatch) -> Path:
    """Weights of a tiny network, and the names `compact` changed to mean it and its language model."""
    patch.setitem(CONFIGS, "compact", TINY)
    patch.setitem(MODELS, "compact", llm)
    save_weights(network(llm), path, {"llm_sha256": fingerprint(llm), "switches": "{}"})
    return path
