"""The embedded model: a small vision-language model of the Qwen2.5-VL architecture, trained on this project's own questions."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MODEL", "missing"]

MODEL = Path(__file__).parent / "model"
"""Hugging Face directory with the shipped model."""


def missing() -> str:
    """Why the embedded model cannot run, "" when it can."""
    weights = MODEL / "model.safetensors"
    return "" if weights.is_file() else f"its weights are missing: {weights.name}"
