"""The embedded model's language: its tokenizer and its chat template.

The words are learnt from this project's own questions and answers. A text that stands the same in every question (`agent/prompts`, the
ladder) is a single token, so a question costs a few dozen tokens instead of hundreds; changed, it is read word by word, less well, until
the model is trained again. Digits stand alone, so that numbers are read and written the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["CHAT_TEMPLATE", "SPECIAL", "TAGS", "fixed_texts", "tokenizer_of"]

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")

SPECIAL: tuple[str, ...] = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Qwen's special tokens that are used here; their ids are their places."""

TAGS: tuple[str, ...] = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
"""Qwen's tags: one token each, but text like any other; their ids follow."""

_PIECES = r"\p{N}| ?[^\s\p{N}]+|\s+(?!\S)|\s+"


def fixed_texts() -> tuple[str, ...]:
    """What stands the same in every question of its name."""
    from conservator.agent.prompts import prompt_names, prompt_text
    from conservator.agent.vlm.questions import ladder
    from conservator.restorers.prompts.mofe import QUESTION

    return (*(prompt_text(name) for name in prompt_names()), ladder(), QUESTION)


def tokenizer_of(
    texts: Iterable[str], vocabulary: int, fixed: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE tokenizer.

    Args:
        texts: questions and answers.
        vocabulary: size, special tokens and fixed texts included.
        fixed: texts that become one token each.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(fixed),
        special_tokens=[*SPECIAL, *TAGS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=3,
    )
    bpe.train_from_iterator(texts, trainer)
    tags = [AddedToken(tag, special=False, normalized=False) for tag in TAGS]
    bpe.add_tokens(tags)
    bpe.add_tokens([AddedToken(text, special=False, normalized=False) for text in fixed])
    bpe.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    built: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = built(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
        chat_template=CHAT_TEMPLATE.read_text(encoding="utf-8"),
    )
    return tokenizer
