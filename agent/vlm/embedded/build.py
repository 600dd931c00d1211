"""The embedded model before training: configuration, tokenizer, image processor, chat template; and writing the directory.

The architecture is Qwen2_5_VLForConditionalGeneration, so transformers and vLLM load the directory as they load the large models of that
family. Only the sizes, the vocabulary and the template are ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from conservator.agent.vlm.embedded.language import CHAT_TEMPLATE, SPECIAL
from conservator.agent.vlm.embedded.tower import CONTRAST, SIDE, filters

if TYPE_CHECKING:
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
    )

__all__ = ["CONTEXT", "VOCABULARY_SIZE", "build_model", "config_of", "write_directory"]

VOCABULARY_SIZE = 2048
CONTEXT = 4096
PATCH, MERGE = 16, 2


def config_of(vocabulary: int = VOCABULARY_SIZE) -> Qwen2_5_VLConfig:
    """The configuration: 9 million parameters."""
    from transformers import Qwen2_5_VLConfig

    token = {name: place for place, name in enumerate(SPECIAL)}
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": 256,
            "intermediate_size": 704,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [8, 12, 12],
            },
            "bos_token_id": token["<|endoftext|>"],
            "eos_token_id": token["<|im_end|>"],
            "pad_token_id": token["<|endoftext|>"],
            "tie_word_embeddings": True,
            "use_sliding_window": False,
        },
        vision_config={
            "depth": 6,
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_heads": 6,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": SIDE,
            "out_hidden_size": 256,
            "fullatt_block_indexes": [5],
        },
        image_token_id=token["<|image_pad|>"],
        video_token_id=token["<|video_pad|>"],
        vision_start_token_id=token["<|vision_start|>"],
        vision_end_token_id=token["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def build_model(
    seed: int = 0, vocabulary: int = VOCABULARY_SIZE
) -> Qwen2_5_VLForConditionalGeneration:
    """The network with fresh weights; the first filters of the tower are cosines and steps."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(seed)
    model: Any = Qwen2_5_VLForConditionalGeneration(config_of(vocabulary))
    visual = model.model.visual
    weight = visual.patch_embed.proj.weight
    with torch.no_grad():
        # The processor shows each picture twice, as two frames of a film.
        weight.copy_((filters(weight.shape[0], PATCH) / 2)[:, :, None].expand_as(weight))
        for name, matrix in visual.named_parameters():
            if matrix.ndim == 2:
                # So few steps and so little width want larger numbers than the architecture's own 0.02.
                ends_branch = name.endswith(("attn.proj.weight", "mlp.down_proj.weight"))
                depth = 2 * len(visual.blocks) if ends_branch else 1
                matrix.normal_(0, (matrix.shape[1] * depth) ** -0.5)
        _see_energy(visual.blocks[0].mlp)
    # Every input of these filters is positive, so one step of an optimiser that goes by signs moves them all by a large constant.
    visual.patch_embed.requires_grad_(False)
    return model  # type: ignore[no-any-return]


def _see_energy(mlp: Any) -> None:
    """Let the first gated layer begin with about the square of every filter: strength, whatever the sign."""
    width = mlp.gate_proj.weight.shape[1]
    for start, sign in ((0, 1.0), (width, -1.0)):
        rows = slice(start, start + width)
        mlp.gate_proj.weight[rows] = 3 * sign * torch.eye(width)
        mlp.up_proj.weight[rows] = sign * torch.eye(width)


def write_directory(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> Path:
    """Write what transformers and vLLM load: fp16 weights, configuration, tokenizer, template, image processor.

    Pictures keep their native resolution where their sides are multiples of `PATCH * MERGE`, up to a megapixel.
    """
    import copy

    import transformers

    made: Any = transformers
    unit = (PATCH * MERGE) ** 2
    shape: dict[str, Any] = {
        "patch_size": PATCH,
        "merge_size": MERGE,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": unit, "longest_edge": 1024 * unit},
        "image_mean": [-CONTRAST] * 3,
        "image_std": [1.0] * 3,
    }
    processor = made.Qwen2_5_VLProcessor(
        made.Qwen2VLImageProcessor(**shape),
        tokenizer,
        made.Qwen2VLVideoProcessor(**shape),
        chat_template=CHAT_TEMPLATE.read_text(encoding="utf-8"),
    )
    half: Any = copy.deepcopy(model)
    half = half.cpu().half()
    half.generation_config = made.GenerationConfig(
        eos_token_id=SPECIAL.index("<|im_end|>"),
        pad_token_id=SPECIAL.index("<|endoftext|>"),
        do_sample=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    half.save_pretrained(folder)
    processor.save_pretrained(folder)
    # Where transformers before 5 looks for it.
    processor.image_processor.save_pretrained(folder)
    return folder
