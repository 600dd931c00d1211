"""Loading a Qwen2.5-VL of any size out of a directory or the hub's cache, and calling it; for guides and for the agent's own model."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from conservator.restorers.errors import WeightsError

__all__ = ["ARCHITECTURE", "cache_argument", "network_of", "processor_of", "without_bar"]

ARCHITECTURE: Final = "qwen2_5_vl"


def processor_of(source: str, *, allow_download: bool = False) -> tuple[Any, Any]:
    """A model's configuration and processor.

    Args:
        source: a directory, or a hub id.
        allow_download: fetch what is not in the cache.

    Raises:
        WeightsError: another architecture, or no model at all.
        ImportError, OSError, ValueError, KeyError: transformers is missing, or finds nothing that reads.
    """
    from transformers import AutoProcessor, Qwen2_5_VLConfig

    offline: dict[str, Any] = {"local_files_only": not allow_download}
    kind = Qwen2_5_VLConfig.get_config_dict(source, **offline)[0].get("model_type")
    if kind != ARCHITECTURE:
        what = f"is a {kind!r} model" if kind else "holds no model"
        raise WeightsError(f"{source!r} {what}; give one of {ARCHITECTURE!r}")
    untyped: Any = AutoProcessor
    return Qwen2_5_VLConfig.from_pretrained(source, **offline), untyped.from_pretrained(
        source, **offline
    )


def network_of(source: str, device: torch.device, *, allow_download: bool = False) -> Any:
    """The network, to be asked and not trained: float32 on a CPU, else bfloat16.

    Raises:
        ImportError, OSError, ValueError, RuntimeError, KeyError, SafetensorError: as transformers raises them.
    """
    from transformers import Qwen2_5_VLForConditionalGeneration

    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    with without_bar():
        network: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            source, dtype=dtype, local_files_only=not allow_download
        )
    return network.eval().requires_grad_(False).to(device)


def cache_argument(network: Any) -> str:
    """What a network of transformers calls its cache of keys and values: `cache` from 5.24 on, `past_key_values` before."""
    return (
        "cache" if "cache" in inspect.signature(network.forward).parameters else "past_key_values"
    )


@contextmanager
def without_bar() -> Iterator[None]:
    """Keep transformers' progress bar off the caller's terminal."""
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
