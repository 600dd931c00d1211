"""Opening a session: a new one on a photo, or the one of a folder again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from conservator.agent.approval import Approver, checked_approve
from conservator.agent.dialogue.aims import aimed
from conservator.agent.dialogue.session import Session
from conservator.agent.dialogue.state import SessionState, holds_session, read_state, write_state
from conservator.agent.dialogue.workshop import Workshop
from conservator.agent.events import OnEvent
from conservator.agent.options import check_output, checked_device, vlm_spec
from conservator.agent.pictures import ImageLike, input_again, picture_from
from conservator.agent.sessions import RunFolder, RunRequest
from conservator.agent.settings import Settings, load_settings
from conservator.policies.budget import Budget
from conservator.policies.preset import Preset, load_preset
from conservator.policies.targets import Target
from conservator.restorers.errors import UsageError
from conservator.tools.image_io import content_hash

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["open_session"]


def open_session(
    image: ImageLike | None = None,
    *,
    policy: str | Path | Preset | None = None,
    experience: str | Path | None = None,
    targets: str | Sequence[Target] | None = None,
    protect: str | Sequence[str] | None = None,
    keep: str | Sequence[str] | None = None,
    max_seconds: float | None = None,
    max_tools: int | None = None,
    seed: int | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    run_dir: str | Path | None = None,
    device: str | None = None,
    vlm: BaseChatModel | str | None = "auto",
    approve: str = "never",
    approver: Approver | None = None,
    on_event: OnEvent | None = None,
) -> Session:
    """Talk about a photo: restore it, say what is not right yet, go back, compare.

    With a `run_dir` that holds a session already, that one goes on.

    Args:
        image: as in `restore`; may be left out where `run_dir` holds a session.
        policy: as in `restore`; by default `balanced`, or what the session began with.
        experience: as in `restore`.
        targets: as in `restore`; of the automatic runs. `session.aim` changes it later, as what follows.
        protect: as in `restore`; these parts come back as they came in whatever is said.
        keep: as in `restore`; of the automatic runs, as words come before it.
        max_seconds: of each automatic run, as in `restore`.
        max_tools: of each automatic run, as in `restore`.
        seed: for restorers that draw; by default 0, or what the session began with.
        output: where `session.save()` writes; by default beside an input that is a file.
        overwrite: let it replace an existing file, also the input.
        run_dir: the session's folder; by default beside the output or the input, and a temporary one for pixels, which
            `session.close()` removes.
        device: `auto`, `cpu`, `cuda`; by default CONSERVATOR_DEVICE or `auto`.
        vlm: as in `restore`; it also reads words that the rules do not understand.
        approve: as in `restore`, for the automatic runs; what you say in words is done without asking.
        approver: answers their questions; needed where `approve` is not `never`.
        on_event: called with each event as it happens.

    Raises:
        UsageError: the request is wrong, or does not fit the session of the folder.
        InputError: the picture cannot be used, or changed since the session began.
        BackendMissingError: the vision-language model that was asked for is not there.
    """
    if (checked_approve(approve) == "never") != (approver is None):
        raise UsageError(
            "a session asks with approve='plan' or 'each' and an approver; give both or neither"
        )
    settings = load_settings()
    place = None if run_dir is None else Path(run_dir).absolute()
    target = None if output is None else Path(output).absolute()
    if place is not None and holds_session(place):
        state, workshop = _again(
            place, image, policy, seed, target, overwrite, device, vlm, settings
        )
        workshop.approve, workshop.approver = approve, approver
        session = Session(state, workshop, on_event=on_event, fresh=False)
        if any(x is not None for x in (experience, targets, protect, keep, max_seconds, max_tools)):
            session.aim(
                experience=experience,
                targets=targets,
                protect=protect,
                keep=keep,
                budget=session.request.budget.limited(max_seconds, max_tools),
            )
        return session
    if image is None:
        where = "" if place is None else f" and {str(place)!r} holds no session"
        raise UsageError(f"no photo was given{where}; give a photo, or the folder of a session")
    preset = load_preset("balanced" if policy is None else policy)
    picture = picture_from(image, settings)
    source = Path(image).absolute() if isinstance(image, (str, Path)) else None
    if target is not None:
        check_output(target, overwrite=overwrite)
    suffix = target or source
    request = RunRequest(
        input=source,
        input_id=picture.sha256 or content_hash(picture.pixels),
        preset=preset,
        budget=Budget(),
        seed=seed or 0,
        output=target,
        overwrite=overwrite,
        suffix=".png" if suffix is None else _writable(suffix.suffix),
        device=checked_device(device or settings.device),
        vlm=vlm_spec(vlm, settings),
    )
    request = aimed(
        request,
        picture,
        settings,
        policy=preset,
        experience=experience,
        targets=targets,
        protect=protect,
        keep=keep,
        budget=preset.budget.limited(max_seconds, max_tools),
    )
    model = _model(vlm, request, settings)
    folder = _folder(place, target or source, settings)
    if source is None:
        folder.write_input(picture)
    state = write_state(folder, SessionState(request=request))
    workshop = Workshop(request, picture, folder, settings, model, approve, approver)
    return Session(state, workshop, on_event=on_event, fresh=True)


def _again(
    place: Path,
    image: ImageLike | None,
    policy: str | Path | Preset | None,
    seed: int | None,
    output: Path | None,
    overwrite: bool,
    device: str | None,
    vlm: BaseChatModel | str | None,
    settings: Settings,
) -> tuple[SessionState, Workshop]:
    state = read_state(place)
    request = state.request
    if policy is not None and not _same(load_preset(policy), request.preset):
        raise UsageError(
            f"the session began with policy {request.preset.name!r}; leave policy out, or begin a new session"
        )
    if seed is not None and seed != request.seed:
        raise UsageError(f"the session began with seed {request.seed}; leave seed out")
    if image is not None:
        given = picture_from(image, settings)
        if (given.sha256 or content_hash(given.pixels)) != request.input_id:
            raise UsageError(
                f"the session in {str(place)!r} is about another photo, {request.input}; leave the photo out"
            )
    folder = RunFolder(place)
    (place / "artifacts").mkdir(exist_ok=True)
    picture = input_again(request, folder, settings)
    if output is not None:
        check_output(output, overwrite=overwrite)
        request = request.model_copy(update={"output": output, "overwrite": overwrite})
    if device is not None:
        request = request.model_copy(update={"device": checked_device(device)})
    if request != state.request:
        state = write_state(folder, state.model_copy(update={"request": request}))
    model = _model(vlm, request, settings)
    return state, Workshop(request, picture, folder, settings, model)


def _same(given: Preset, begun: Preset) -> bool:
    """Whether a session began with this policy, whatever experience it was given."""
    return given.model_copy(update={"experience": begun.experience}) == begun


def _writable(suffix: str) -> str:
    """The format of the result beside an input, see `default_output`."""
    from conservator.tools.image_io import default_output

    return default_output(Path(f"photo{suffix}")).suffix


def _folder(place: Path | None, beside: Path | None, settings: Settings) -> RunFolder:
    if place is not None:
        return RunFolder.create(place)
    if beside is None:
        return RunFolder.create_temporary(settings.runs_dir)
    return RunFolder.create_free(beside.with_name(f"{beside.stem}.session"))


def _model(
    vlm: BaseChatModel | str | None, request: RunRequest, settings: Settings
) -> BaseChatModel | None:
    if not isinstance(vlm, str):
        return vlm
    from conservator.agent.vlm.opening import open_vlm

    return open_vlm(request.vlm if vlm == "auto" else vlm, settings, device=request.device)
