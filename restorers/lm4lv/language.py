"""The frozen language model: any causal one of transformers, fed with embeddings and asked for hidden states."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from conservator.restorers.errors import UsageError, WeightsError
from conservator.restorers.guides.form import SHIPPED, explained
from conservator.restorers.guides.qwen import fingerprint
from conservator.restorers.layers.qwen import (
    ARCHITECTURE,
    cache_argument,
    network_of,
    without_bar,
)

__all__ = ["MODELS", "SHIPPED", "LanguageModel", "fingerprint"]

MODELS: Final[dict[str, str | Path]] = {
    "compact": SHIPPED,
    "paper": "meta-llama/Llama-2-7b-chat-hf",
}
"""Configuration -> the language model that it was made for."""


class LanguageModel:
    """A frozen decoder with its word embeddings, its head and its tokenizer.

    No `nn.Module`: what is trained or saved beside it never takes it along.

    Attributes:
        width: D of the embeddings.
        size: root mean square of a number in its word embeddings.
    """

    def __init__(self, network: Any, tokenizer: Any) -> None:
        """Take over a causal language model of transformers; its parameters are frozen from here on."""
        self.network: Any = network.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.decoder: Any = network.get_decoder()
        self.config: Any = self.decoder.config
        words = network.get_input_embeddings().weight
        self.width = int(words.shape[1])
        self.size = float(words.detach().float().square().mean().sqrt())

    @classmethod
    def load(
        cls,
        source: str | Path = SHIPPED,
        device: str | torch.device = "cpu",
        *,
        dtype: torch.dtype | None = None,
        random: bool = False,
        allow_download: bool = False,
        seed: int = 0,
    ) -> LanguageModel:
        """Load a model.

        Args:
            source: a directory, or a hub id that is in the local cache.
            device: where to compute.
            dtype: None is float32 on a CPU, else bfloat16.
            random: the same architecture with the random weights that its training would have begun with.
            allow_download: fetch a hub id that is not in the cache.
            seed: of random weights.

        Raises:
            BackendMissingError: the hub's model is not on this machine, or transformers is missing.
            WeightsError: the directory is missing or damaged, or holds no causal language model.
        """
        folder = Path(source).expanduser()
        if isinstance(source, Path) and not folder.is_dir():
            raise WeightsError(f"no language model at {source}; give a directory of transformers")
        name, where = str(folder) if folder.is_dir() else str(source), torch.device(device)
        if dtype is None:
            dtype = torch.float32 if where.type == "cpu" else torch.bfloat16
        with explained(source, allow_download=allow_download, what="language model"):
            network, tokenizer = _loaded(name, dtype, random, allow_download, seed)
        return cls(network.to(device=where, dtype=dtype), tokenizer)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move and convert."""
        self.network.to(device=device, dtype=dtype)

    def train_on(self, device: torch.device) -> None:
        """Choose the attention that is fastest backwards; training the rest of the system goes through this model."""
        # A CPU's fused attention is several times slower backwards than the plain product at these lengths.
        self.decoder.set_attn_implementation("eager" if device.type == "cpu" else "sdpa")

    def ids(self, text: str, *, start: bool = False) -> Tensor:
        """Tokens (T,) of a piece of text; `start` puts the model's own first token before it, where it has one."""
        found = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        first = self.tokenizer.bos_token_id
        return torch.tensor([first, *found] if start and first is not None else found)

    def embedded(self, ids: Tensor) -> Tensor:
        """Word embeddings (T, D), float32."""
        words = self.network.get_input_embeddings()
        embedded: Tensor = words(ids.to(words.weight.device)).float()
        return embedded

    def memory(self) -> Any:
        """An empty cache of keys and values."""
        from transformers import DynamicCache

        return DynamicCache(config=self.config)

    def hidden(self, embedded: Tensor, memory: Any = None) -> Tensor:
        """Hidden states behind the last norm, float32, of embeddings (B, T, D) that follow what is in `memory`.

        Raises:
            UsageError: more tokens than the model has positions for.
        """
        before = 0 if memory is None else int(memory.get_seq_length())
        limit = getattr(self.config, "max_position_embeddings", None)
        if limit is not None and before + embedded.shape[1] > limit:
            raise UsageError(
                f"the conversation has {before + embedded.shape[1]} tokens, this language model takes {limit}; give another one"
            )
        dtype = self.network.get_input_embeddings().weight.dtype
        cache = {cache_argument(self.decoder): memory, "use_cache": memory is not None}
        answered = self.decoder(inputs_embeds=embedded.to(dtype), **cache)
        hidden: Tensor = answered.last_hidden_state.float()
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the vocabulary for hidden states."""
        head = self.network.get_output_embeddings()
        scores: Tensor = head(hidden.to(head.weight.dtype)).float()
        return scores


def _loaded(
    source: str, dtype: torch.dtype, random: bool, allow_download: bool, seed: int
) -> tuple[Any, Any]:
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoTokenizer,
        Qwen2_5_VLForConditionalGeneration,
    )

    offline: dict[str, Any] = {"local_files_only": not allow_download}
    untyped: Any = AutoTokenizer
    tokenizer = untyped.from_pretrained(source, **offline)
    config: Any = AutoConfig.from_pretrained(source, **offline)
    network: Any
    if random:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if config.model_type == ARCHITECTURE:
                network = Qwen2_5_VLForConditionalGeneration(config)
            else:
                network = AutoModelForCausalLM.from_config(config)
    elif config.model_type == ARCHITECTURE:
        network = network_of(source, torch.device("cpu"), allow_download=allow_download)
    else:
        with without_bar():
            network = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **offline)
    if config.model_type == ARCHITECTURE:
        # It has eyes of its own, which nobody opens here.
        network.model.visual = None
    return network, tokenizer
