"""What a run leaves: the picture beside its input, and recipe and sheet in the run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conservator.agent.placing import place_picture
from conservator.agent.provenance import provenanced
from conservator.agent.recipe import Recipe, recipe_of
from conservator.policies.attempt import ORIGINAL, chain_of, find_attempt
from conservator.policies.situation import Situation
from conservator.policies.stopping import Broken, Conclusion, conclude
from conservator.policies.targets import Clause, TargetCheck, check_targets, default_targets
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.tools.compare import png, sheet
from conservator.tools.image_io import Picture
from conservator.tools.look import crops

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState

__all__ = ["concluded", "deliver", "final_picture", "final_recipe", "report_after"]

_LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")
_CROP_SIDE = 192
"""Two of these fit side by side in half a sheet."""


def concluded(state: RunState, context: RunContext, *, broken: Broken | None = None) -> Conclusion:
    """Name the outcome of a run that ends in this state, before its end if it is `broken` off."""
    report, situation = state["report"], None
    if report is None:
        return Conclusion(outcome="cancelled", reason="cancelled before the inspection was done")
    situation = context.situation(state)
    plan_reason = "dry run" if context.request.dry_run else state["plan_reason"]
    check, others = _check(state, situation), _protected_and_kept(state, context)
    conclusion = conclude(
        situation,
        check.joined_by(others),
        plan_reason=plan_reason,
        limit=state["limit"],
        budget=context.request.budget,
        broken=broken,
    )
    asked = check.clauses if context.targets else ()
    return conclusion.model_copy(update={"clauses": (*asked, *others)})


def _protected_and_kept(state: RunState, context: RunContext) -> tuple[Clause, ...]:
    """What came of the parts to protect and the things to keep."""
    contract, baseline = context.contract, state["baseline"]
    best = find_attempt(state["attempts"], state["best"])
    clauses: list[Clause] = []
    if contract.protect:
        shield, original = context.shield, context.picture.pixels
        touched = shield.touched(original, context.pixels(state["attempts"], state["best"]))
        coded = best is not None and context.request.suffix.lower() in _LOSSY
        as_it_was = "as it came in" + (" before coding" if coded else "")
        for place, share in zip(contract.protect, shield.shares, strict=True):
            says = f"{share:.1%} of the photo, {as_it_was}" if share else "not found in the photo"
            if touched:
                says += f"; {touched} px of the protected parts changed"
            text = f"protect {place.name}"
            clauses.append(
                Clause(about="protect", text=text, met=not touched, value=share, says=says)
            )
    measurement = None if best is None else best.measurement
    if baseline is not None:
        clauses += contract.kept_clauses(baseline, measurement, context.preset.guards)
    return tuple(clauses)


def _check(state: RunState, situation: Situation) -> TargetCheck:
    preset, report, asked = situation.preset, situation.report, bool(situation.targets)
    targets = situation.targets or tuple(
        target
        for target in default_targets(report.findings, preset)
        if target.kind not in situation.settled
    )
    best = find_attempt(state["attempts"], state["best"])
    baseline = state["baseline"]
    before = {} if baseline is None else baseline.scores
    measurement = None if best is None else best.measurement
    return check_targets(
        targets,
        findings=report.findings if measurement is None else measurement.findings,
        scores=before if measurement is None else measurement.scores,
        scores_before=before,
        guards=_guards(
            measurement.guards.as_numbers() if measurement and measurement.guards else None
        ),
        confidence=preset.asked_confidence if asked else preset.minimal_confidence,
    )


def _guards(measured: dict[str, float] | None) -> dict[str, float]:
    """The untouched input is perfectly like itself."""
    untouched = {"structure": 1.0, "ssim": 1.0, "colour": 0.0, "lowpass": 0.0, "residual": 0.0}
    return untouched if measured is None else measured


def final_picture(state: RunState, context: RunContext) -> Picture:
    """The best node as a picture, with the input's metadata, alpha, depth and profile."""
    if state["best"] == ORIGINAL:
        return context.picture
    return context.picture.with_pixels(context.pixels(state["attempts"], state["best"]))


def final_recipe(state: RunState, context: RunContext) -> Recipe:
    """The steps that lead to the best node."""
    from conservator import __version__

    return recipe_of(
        state["attempts"],
        state["best"],
        version=__version__,
        input_id=context.request.input_id,
        policy=context.preset.name,
        protect=context.contract.protect,
    )


def report_after(state: RunState) -> ConditionReport:
    """The condition report of the best node."""
    before = state["report"] or ConditionReport()
    best = find_attempt(state["attempts"], state["best"])
    if best is None or best.measurement is None:
        return before
    quality = best.measurement.scores.get("quality")
    bounded = None if quality is None else min(1.0, max(0.0, quality))
    return ConditionReport(findings=best.measurement.findings, scene=before.scene, quality=bounded)


def deliver(state: RunState, context: RunContext, conclusion: Conclusion) -> None:
    """Write the picture, the recipe and the sheet; a cancelled run without a gain writes no picture.

    Raises:
        OutputError: the picture cannot be written; nothing half-written is left.
    """
    picture = final_picture(state, context)
    folder, target = context.folder, context.request.output
    if target is not None and not (conclusion.outcome == "cancelled" and state["best"] == ORIGINAL):
        with context.timed("saving"):
            place_picture(provenanced(picture, final_recipe(state, context)), context)
    if folder.temporary:
        return
    folder.write_text("recipe.json", final_recipe(state, context).model_dump_json(indent=1))
    with context.timed("sheet"):
        _write_sheet(state, context, picture, conclusion)


def _write_sheet(
    state: RunState, context: RunContext, picture: Picture, conclusion: Conclusion
) -> None:
    before = context.picture.pixels
    after = report_after(state)
    lines = [f"{conclusion.outcome.replace('_', ' ')}: {conclusion.reason}"[:140]]
    for finding in (state["report"] or ConditionReport()).present():
        now = after.finding(finding.kind)
        change = "" if now is None else f" -> {now.level.label} ({now.value:.3g})"
        lines.append(f"{finding.kind.value}: {finding.level.label} ({finding.value:.3g}){change}")
    for attempt in chain_of(state["attempts"], state["best"]):
        treated = attempt.call.prompt.degradations
        asked = ", ".join(f"{k.value} {v:.4g}" for k, v in treated.items())
        lines.append(f"{attempt.call.restorer}: {asked}")
    name = "" if context.request.input is None else context.request.input.name
    page = sheet(
        before, picture.pixels, crops=crops(before, 4, _CROP_SIDE), title=name, lines=lines
    )
    context.folder.write_bytes("sheet.png", png(page))
