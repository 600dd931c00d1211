"""What a machine's owner sets once: `CONSERVATOR_*` in the environment. Offline unless told otherwise."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from conservator.restorers.errors import UsageError

__all__ = ["Settings", "load_settings"]


class Settings(BaseSettings):
    """Settings of the agent.

    Attributes:
        device: where restorers compute: `auto`, `cpu`, `cuda`, `cuda:1`.
        offline: nothing is downloaded and no server is asked.
        max_pixels: largest photo that is decoded.
        max_bytes: largest file that is read.
        preferences: a table of measured gains in place of the shipped one.
        runs_dir: where runs on pictures without a file keep their folders; None for the system's temporary folder.
        keep_artifacts: keep the candidates that were not chosen in the run folder of a finished run.
    """

    model_config = SettingsConfigDict(env_prefix="CONSERVATOR_", frozen=True, extra="ignore")

    device: str = "auto"
    offline: bool = True
    max_pixels: int = Field(default=200_000_000, gt=0)
    max_bytes: int = Field(default=1 << 30, gt=0)
    preferences: Path | None = None
    runs_dir: Path | None = None
    keep_artifacts: bool = False


def load_settings() -> Settings:
    """The settings of this process's environment.

    Raises:
        UsageError: names the variable that does not read.
    """
    try:
        return Settings()
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        name = f"CONSERVATOR_{str(detail['loc'][0]).upper()}"
        raise UsageError(f"{name}={detail['input']!r}: {detail['msg']}") from error
