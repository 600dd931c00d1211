"""What the turns of a session go by: policy, targets, what is protected and kept, budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conservator.agent.experience import experienced
from conservator.agent.options import metric_directions
from conservator.agent.sessions import RunRequest
from conservator.agent.settings import Settings
from conservator.policies.budget import Budget
from conservator.policies.contract import Terms, contract_of, terms_of
from conservator.policies.preset import Preset, load_preset
from conservator.policies.targets import Target, render_targets
from conservator.tools.image_io import Picture

__all__ = ["aimed", "terms_for"]


def aimed(
    request: RunRequest,
    picture: Picture,
    settings: Settings,
    *,
    policy: str | Path | Preset | None = None,
    experience: str | Path | None = None,
    targets: str | Sequence[Target] | None = None,
    protect: str | Sequence[str] | None = None,
    keep: str | Sequence[str] | None = None,
    budget: Budget | None = None,
) -> RunRequest:
    """A session's request with other aims; None for what stays.

    Raises:
        UsageError: one of them does not read, or two contradict each other.
    """
    change: dict[str, object] = {}
    preset = request.preset
    if policy is not None:
        preset = load_preset(policy)
        change["budget"] = preset.budget
    if policy is not None or experience is not None:
        preset = experienced(preset, experience, settings)
    change["preset"] = preset
    if targets is not None:
        text = targets if isinstance(targets, str) else render_targets(targets)
        change["targets"] = text.strip()
    if protect is not None:
        change["protect"] = (protect,) if isinstance(protect, str) else tuple(protect)
    if keep is not None:
        change["keep"] = (keep,) if isinstance(keep, str) else tuple(keep)
    if budget is not None:
        change["budget"] = budget
    new = request.model_copy(update=change)
    metrics = metric_directions()
    terms = terms_for(new)
    contract_of(terms, width=picture.width, height=picture.height, metrics=metrics)
    return new


def terms_for(request: RunRequest) -> Terms:
    """The session's wishes and its policy's as one contract.

    Raises:
        PromptError: as `terms_of`.
    """
    return terms_of(
        request.preset,
        targets=request.targets or None,
        protect=request.protect,
        keep=request.keep,
        metrics=metric_directions(),
    )
