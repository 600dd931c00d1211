"""What an inspection asks for: the findings it is certain enough of, as a prompt."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conservator.restorers.degradations.vocabulary import Finding, Kind
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.instruments.measuring import measure
from conservator.tools.instruments.sample import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CERTAIN", "degradations_of", "prompt_from", "prompt_of"]

CERTAIN = 0.5
"""Confidence from which a finding is asked to be undone."""
_FEW = 8
"""Pictures that are inspected sooner here than by processes that have to start first."""


def prompt_of(image: FloatArray) -> RestorationPrompt:
    """Ask to undo what the instruments find, classical and learned together; names nothing where nothing is certain.

    Args:
        image: (H, W, 3), float32, [0, 1], RGB.

    Raises:
        UsageError: not such an array.
    """
    return prompt_from(measure(image))


def prompt_from(findings: Iterable[Finding]) -> RestorationPrompt:
    """Ask to undo what was found, as far as it is certain."""
    return RestorationPrompt.from_findings(f for f in findings if f.confidence >= CERTAIN)


def degradations_of(batch: Tensor, *, workers: int | None = None) -> list[dict[Kind, float]]:
    """What `prompt_of` names in each picture of (B, 3, H, W), [0, 1]; rounded to 8 bits, as files are.

    Args:
        batch: the pictures.
        workers: processes of one thread each; None takes one a core.
    """
    pictures = list((batch.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    count = min(workers or os.cpu_count() or 1, len(pictures) // _FEW)
    if count <= 1:
        return [_degradations(picture) for picture in pictures]
    # Forking a process that has run torch can hang.
    with ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread
    ) as processes:
        return list(processes.map(_degradations, pictures, chunksize=4))


def _degradations(picture: NDArray[np.uint8]) -> dict[Kind, float]:
    unit: NDArray[Any] = picture.astype(np.float32, order="C") / np.float32(255)
    return dict(prompt_of(unit).degradations)


def _one_thread() -> None:
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # The process that asked decides what an interruption means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
