"""What the user asked the UI to open, and with what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conservator.agent.dialogue.session import Session
    from conservator.agent.events import OnEvent

__all__ = ["Opening"]


@dataclass(frozen=True)
class Opening:
    """How a session is opened.

    Attributes:
        image: the photo of a new session.
        run_dir: the folder of one that goes on.
        policy: of new sessions.
        vlm: the vision-language model.
        device: where networks compute; None for the settings'.
        seed: of new sessions.
    """

    image: Path | None = None
    run_dir: Path | None = None
    policy: str | None = None
    vlm: str = "auto"
    device: str | None = None
    seed: int | None = None

    def at(self, path: Path) -> Opening:
        """The same for another photo, or for the folder of a session."""
        if path.is_dir():
            return replace(self, image=None, run_dir=path)
        return replace(self, image=path, run_dir=None)

    @property
    def name(self) -> str:
        """What is opened, for people."""
        path = self.image or self.run_dir
        return "" if path is None else path.name.removesuffix(".session")

    def opener(self) -> Callable[[OnEvent], Session]:
        """Opens the session; called in the agent's thread, where the heavy imports belong.

        The folder of a session goes on with the policy and seed that it began with.
        """

        def opened(on_event: OnEvent) -> Session:
            from conservator.agent.dialogue.opening import open_session

            again = self.run_dir is not None
            return open_session(
                self.image,
                run_dir=self.run_dir,
                policy=None if again else self.policy,
                seed=None if again else self.seed,
                device=self.device,
                vlm=self.vlm,
                on_event=on_event,
            )

        return opened
