"""What a session is asked to do, as jobs for its thread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from conservator.agent.errors import OutputError
from conservator.agent.tui.bridge import Bridge, Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from conservator.agent.dialogue.reply import Reply
    from conservator.agent.dialogue.session import Session
    from conservator.agent.tui.modals.aims import Aims

__all__ = ["aim", "export", "listed", "look", "proposed_path", "restore", "save", "say"]


def look() -> Job:
    """Inspect the photo, so that its condition is known before anything is done."""

    def work(session: Session, bridge: Bridge) -> None:
        session.inspect()

    return Job("look", work)


def restore() -> Job:
    """The automatic run."""

    def work(session: Session, bridge: Bridge) -> Reply:
        return session.restore(cancel=bridge.cancel, steering=bridge.steering)

    return Job("restore", work, takes_long=True)


def say(line: str, *, takes_long: bool) -> Job:
    """A line of the conversation."""
    return Job(line, lambda session, bridge: session.say(line, cancel=bridge.cancel), takes_long)


def save(path: Path, *, overwrite: bool, exists: Callable[[], None]) -> Job:
    """Write the picture; where a file stands in the way, `exists` is called and nothing is written."""

    def work(session: Session, bridge: Bridge) -> Reply | None:
        from conservator.agent.dialogue.reply import Reply

        try:
            saved = session.save(path, overwrite=overwrite)
        except OutputError:
            if overwrite or not path.exists():
                raise
            exists()
            return None
        return Reply(said=(f"saved {session.tree.here}",), path=saved)

    return Job("save", work)


def export(folder: Path, into: Path) -> Job:
    """Picture, recipe and report of the session in `folder`, where it is now."""

    def work(session: Session, bridge: Bridge) -> Reply:
        from conservator.agent import archive
        from conservator.agent.dialogue.reply import Reply

        files = archive.export(archive.kept_at(folder), into)
        return Reply(said=(f"exported {', '.join(file.name for file in files)}",), path=into)

    return Job("export", work)


def aim(before: Aims, after: Aims) -> Job:
    """Other aims for the next runs."""

    def work(session: Session, bridge: Bridge) -> Reply:
        from conservator.agent.dialogue.reply import Reply
        from conservator.policies.budget import Budget

        limits = Budget(max_seconds=after.max_seconds, max_tools=after.max_tools)
        same = (before.max_seconds, before.max_tools) == (after.max_seconds, after.max_tools)
        session.aim(
            policy=after.policy if after.policy != before.policy else None,
            targets=after.targets,
            protect=listed(after.protect),
            keep=listed(after.keep),
            # Another policy brings its own limits, unless the user set some.
            budget=None if same else limits,
            approve=after.asks,
            approver=bridge.approver if after.asks != "never" else None,
        )
        said = f"from the next restoration on: {after.policy}, {after.targets or 'its own targets'}"
        return Reply(said=(said,))

    return Job("targets", work)


def listed(text: str) -> tuple[str, ...]:
    """Items that are separated by semicolons; a place may hold commas."""
    return tuple(item.strip() for item in text.split(";") if item.strip())


def proposed_path(session: Session) -> str:
    """Where the picture is likely to go; "" for a photo without a file."""
    request = session.request
    if request.output is not None or request.input is None:
        return str(request.output or "")
    from conservator.tools.image_io import default_output

    suffix = default_output(Path(request.input.name)).suffix
    return str(request.input.with_name(f"{request.input.stem}.restored{suffix}"))
