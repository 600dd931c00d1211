"""Scores of one answer: the families that a task's `scorers` names.

- `full-reference`: against the clean picture. A picture of another size is enlarged by bicubic interpolation first, and both
  are rounded to 8 bits, as saved files are. `psnr` over RGB and `ssim` of luma are scikit-image's; the others pyiqa's.
- `no-reference`: what metrics without a reference say; `quality` is this project's own estimate.
- `self`: against the input: `psnr_to_input` (100 when equal) and `unchanged` (1 at `UNCHANGED_DB` and above).
- `perception`: what the system said is wrong against what is.
- `control`: how far the input was moved (`change_255`), and how bad the instruments still find what was to be undone (`left`).

A metric that cannot judge a picture (too small, too flat, no weights) is left out; no score is ever infinite or NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from conservator.evals.fidelity import fidelity, psnr, sized_as
from conservator.evals.perception import sample_scores
from conservator.evals.sample import Answer, Image, Sample
from conservator.restorers.degradations.vocabulary import Kind, severity_of
from conservator.restorers.errors import BackendMissingError, UnknownNameError
from conservator.tools.instruments import measure
from conservator.tools.iqa import available
from conservator.tools.iqa import score as iqa_score

__all__ = [
    "FAMILIES",
    "FULL_REFERENCE",
    "NO_REFERENCE",
    "UNCHANGED_DB",
    "check_metrics",
    "score",
]

FULL_REFERENCE = ("ms_ssim", "gmsd", "fsim", "vsi", "lpips", "dists")
"""Beside psnr and ssim."""
NO_REFERENCE = ("piqe", "niqe", "quality", "musiq", "maniqa", "clipiqa", "topiq_nr")
UNCHANGED_DB = 45.0
SSIM_SIDE = 11

Bytes = npt.NDArray[np.uint8]
Findings = dict[str, dict[str, float | None]]


def score(
    families: Sequence[str],
    answer: Answer,
    sample: Sample,
    *,
    metrics: Sequence[str] | None = None,
) -> tuple[dict[str, float], Findings]:
    """Score an answer.

    Args:
        families: see the module.
        answer: of a system; families that need a picture give nothing where it has none.
        sample: what it answered; families that need the clean picture give nothing where nobody knows it.
        metrics: only these, by name; None for all.

    Returns:
        Metric -> value, and kind -> `{"true": parameter or None, "said": parameter or None, "confidence": 0..1 or None}`.

    Raises:
        UnknownNameError: no such family.
    """
    scores: dict[str, float] = {}
    findings: Findings = {}
    for family in families:
        if family not in FAMILIES:
            raise UnknownNameError("scorer", family, tuple(FAMILIES))
        if family == "perception":
            findings = _findings(answer, sample)
            scores.update(sample_scores(findings))
        else:
            scores.update(_FROM_PICTURES[family](answer, sample, metrics))
    kept = {
        name: value
        for name, value in scores.items()
        if math.isfinite(value) and (metrics is None or name in metrics)
    }
    return kept, findings


def _bytes(image: Image) -> Bytes:
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _iqa(
    names: Iterable[str], metrics: Sequence[str] | None, image: Image, clean: Image | None = None
) -> Mapping[str, float]:
    states = available()
    wanted = [n for n in names if states[n].ready and (metrics is None or n in metrics)]
    if not wanted:
        return {}
    return iqa_score(_bytes(image), None if clean is None else _bytes(clean), wanted)


def _full_reference(
    answer: Answer, sample: Sample, metrics: Sequence[str] | None
) -> dict[str, float]:
    if answer.image is None or sample.clean is None:
        return {}
    image = sized_as(answer.image, sample.clean)
    scores: dict[str, float] = {}
    if min(image.shape[:2]) < SSIM_SIDE:
        scores["psnr"] = psnr(image, sample.clean)
    else:
        found = fidelity(image, sample.clean)
        scores = {"psnr": found.psnr, "ssim": found.ssim}
    scores.update(_iqa(FULL_REFERENCE, metrics, image, sample.clean))
    return scores


def _no_reference(
    answer: Answer, sample: Sample, metrics: Sequence[str] | None
) -> dict[str, float]:
    return {} if answer.image is None else dict(_iqa(NO_REFERENCE, metrics, answer.image))


def _self(answer: Answer, sample: Sample, metrics: Sequence[str] | None) -> dict[str, float]:
    if answer.image is None:
        return {}
    same_size = answer.image.shape == sample.degraded.shape
    near = psnr(sized_as(answer.image, sample.degraded), sample.degraded)
    return {"psnr_to_input": near, "unchanged": float(same_size and near >= UNCHANGED_DB)}


def _control(answer: Answer, sample: Sample, metrics: Sequence[str] | None) -> dict[str, float]:
    if answer.image is None or sample.truth is None:
        return {}
    image = sized_as(answer.image, sample.degraded)
    change = float(np.abs(image - sample.degraded).mean() * 255)
    asked = sample.truth.degradations
    seen = {f.kind: f.value for f in measure(np.clip(image, 0, 1))}
    left = [severity_of(kind, seen[kind]) for kind in asked if kind in seen]
    return {"change_255": change} | ({"left": sum(left) / len(left)} if left else {})


def _findings(answer: Answer, sample: Sample) -> Findings:
    if answer.report is None or sample.truth is None or sample.truth.blind:
        return {}
    true = dict(sample.truth.degradations)
    said = {finding.kind: finding for finding in answer.report.findings}
    kinds = [kind for kind in Kind if kind in true or kind in said]
    if sample.clean is not None and sample.clean.shape != sample.degraded.shape:
        # A file that is merely small does not show what it was made from.
        kinds = [kind for kind in kinds if kind is not Kind.LOW_RESOLUTION]
    return {
        kind.value: {
            "true": true.get(kind),
            "said": said[kind].value if kind in said else None,
            "confidence": said[kind].confidence if kind in said else None,
        }
        for kind in kinds
    }


_FROM_PICTURES: dict[str, Callable[[Answer, Sample, Sequence[str] | None], dict[str, float]]] = {
    "full-reference": _full_reference,
    "no-reference": _no_reference,
    "self": _self,
    "control": _control,
}
FAMILIES = (*_FROM_PICTURES, "perception")
"""Of scores."""
_NAMES = {
    "full-reference": ("psnr", "ssim", *FULL_REFERENCE),
    "no-reference": NO_REFERENCE,
    "self": ("psnr_to_input", "unchanged"),
    "control": ("change_255", "left"),
    "perception": ("presence_f1", "level_accuracy"),
}
"""Family -> the metrics that it can give."""


def check_metrics(families: Iterable[str], metrics: Iterable[str]) -> None:
    """See that scorers can give what was asked for, before an hour of measuring.

    Raises:
        UnknownNameError: a metric that no family gives.
        BackendMissingError: one whose weights are not on this disk.
    """
    known = [name for family in families for name in _NAMES[family]]
    states = available()
    for name in metrics:
        if name not in known:
            raise UnknownNameError("metric of this suite", name, known)
        if name in states and not states[name].ready:
            raise BackendMissingError(f"metric {name} cannot run: {states[name].why}")
