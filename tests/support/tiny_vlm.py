"""A random network of the Qwen2.5-VL architecture, small enough for a test: what transformers and vLLM load like the real ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TAGS = ("<tool_call>", "</tool_call>")
CONTEXT = 8192
_WIDTH = 128
_PATCH = 14


def write_tiny_vlm(folder: Path, *, seed: int = 0) -> Path:
    """Write a Hugging Face directory of about half a million random parameters; returns the folder."""
    import torch
    from transformers import (
        GenerationConfig,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2Tokenizer,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    from conservator.agent.vlm.hermes import CHAT_TEMPLATE

    tokenizer = Qwen2Tokenizer(**_vocabulary(), pad_token=SPECIAL[0], eos_token=SPECIAL[2])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    tokenizer.add_tokens(list(TAGS))
    token = tokenizer.convert_tokens_to_ids
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": _WIDTH,
            "intermediate_size": 2 * _WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 6, 6],
            },
            "bos_token_id": token(SPECIAL[0]),
            "eos_token_id": token(SPECIAL[2]),
            "pad_token_id": token(SPECIAL[0]),
            "tie_word_embeddings": True,
            # Wide enough that greedy choices do not hang on rounding.
            "initializer_range": 0.2,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "patch_size": _PATCH,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "out_hidden_size": _WIDTH,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.2,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=token(SPECIAL[2]), pad_token_id=token(SPECIAL[0])
    )
    sizes = {"shortest_edge": 4 * 28 * 28, "longest_edge": 256 * 28 * 28}
    images = Qwen2VLImageProcessor(patch_size=_PATCH, merge_size=2, size=sizes)
    videos = Qwen2VLVideoProcessor(patch_size=_PATCH, merge_size=2, size=sizes)
    template = CHAT_TEMPLATE.read_text(encoding="utf-8")
    tokenizer.chat_template = template
    processor = Qwen2_5_VLProcessor(images, tokenizer, videos, chat_template=template)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Lesson:
    """A question, as the agent puts it, and the text to answer with."""

    messages: Sequence[Any]
    answer: str
    tools: Sequence[dict[str, Any]] = ()


def drill(folder: Path, lessons: Sequence[Lesson], *, steps: int = 60) -> float:
    """Train the network in `folder` until it knows a few answers by heart; returns the last loss, in nats a token."""
    import torch

    from conservator.agent.vlm.local import LocalChat, _loaded
    from conservator.agent.vlm.turns import as_served, turns_of

    network = LocalChat(model=str(folder))._network()
    model, tokens = network.model.requires_grad_(True), network.processor.tokenizer
    prepared = []
    for lesson in lessons:
        turns, pictures = turns_of(list(lesson.messages))
        question = network.processor.apply_chat_template(
            turns,
            chat_template=network.template,
            tools=[as_served(tool) for tool in lesson.tools] or None,
            add_generation_prompt=True,
            tokenize=False,
        )
        text = question + lesson.answer + SPECIAL[2]
        inputs = network.processor(text=[text], images=pictures or None, return_tensors="pt")
        asked = network.processor(text=[question], images=pictures or None, return_tensors="pt")
        labels = inputs["input_ids"].clone()
        labels[:, : asked["input_ids"].shape[1]] = -100
        prepared.append((inputs, labels))
    assert tokens.decode(prepared[0][1][0][-1:]) == SPECIAL[2]
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    losses: list[float] = []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 10) * (1 - step / steps)
        losses = []
        for inputs, labels in prepared:
            model.model.rope_deltas = None
            loss = model(**inputs, labels=labels).loss
            loss.backward()
            losses.append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)
    _loaded.cache_clear()
    return max(losses)


def _vocabulary() -> dict[str, object]:
    """Bytes and a few merges; the words are those of the questions."""
    import json

    from tokenizers import ByteLevelBPETokenizer

    from conservator.agent.prompts import prompt_names, prompt_text

    bpe = ByteLevelBPETokenizer()
    texts = [prompt_text(name) for name in prompt_names()]
    bpe.train_from_iterator(texts * 4, vocab_size=600, show_progress=False)
    model = json.loads(bpe.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}
