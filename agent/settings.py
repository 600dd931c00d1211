"""What a machine's owner sets once: `CONSERVATOR_*` in the environment, or a settings file. Offline unless told otherwise."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from conservator.restorers.errors import UsageError

__all__ = ["Settings", "load_settings", "settings_file", "state_folder"]

_PREFIX = "CONSERVATOR_"


class Settings(BaseSettings):
    """Settings of the agent; the environment goes before the file, and both before the defaults.

    Attributes:
        device: where restorers compute: `auto`, `cpu`, `cuda`, `cuda:1`.
        offline: nothing is downloaded.
        max_pixels: largest photo that is decoded.
        max_bytes: largest file that is read.
        preferences: a table of measured gains in place of the shipped one.
        experience: which learned experience orders the rivals of a step, `none`, `auto` (the shipped one and one's own) or a file; None
            for what the policy says.
        runs_dir: where runs on pictures without a file keep their folders; None for the system's temporary folder.
        keep_artifacts: keep the candidates that were not chosen in the run folder of a finished run.
        vlm: the vision-language model: `auto`, `none`, `embedded`, `local`, `served`, or a server's URL.
        vlm_url: address of an OpenAI-compatible server; None for the one that `conservator vlm serve` started.
        vlm_model: the model to ask for: a name of the server's, or for `local` a directory or hub id.
        vlm_api_key: for servers that want one.
        vlm_timeout_s: longest wait for one answer.
        vlm_retries: how often a question is put again to a server that fails.
        vlm_concurrency: questions in flight to a server at once.
        vlm_max_tokens: longest answer.
        vllm: a `vllm` command, or the Python of the environment that has vLLM.
        state_dir: where a started server is noted; None for the user's state folder.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    device: str = "auto"
    offline: bool = True
    max_pixels: int = Field(default=200_000_000, gt=0)
    max_bytes: int = Field(default=1 << 30, gt=0)
    preferences: Path | None = None
    experience: str | None = None
    runs_dir: Path | None = None
    keep_artifacts: bool = False
    vlm: str = "auto"
    vlm_url: str | None = None
    vlm_model: str | None = None
    vlm_api_key: SecretStr | None = None
    vlm_timeout_s: float = Field(default=60.0, gt=0)
    vlm_retries: int = Field(default=2, ge=0, le=10)
    vlm_concurrency: int = Field(default=4, gt=0)
    vlm_max_tokens: int = Field(default=512, gt=0)
    vllm: str | None = None
    state_dir: Path | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The order of the sources, first goes before last."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _from_file())


def load_settings() -> Settings:
    """The settings of this process's environment and of the user's file.

    Raises:
        UsageError: names the variable or the line of the file that does not read.
    """
    try:
        return Settings()
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        key = str(detail["loc"][0])
        variable = f"{_PREFIX}{key.upper()}"
        where = variable if variable in os.environ else f"{settings_file()}: {key}"
        raise UsageError(f"{where}={detail['input']!r}: {detail['msg']}") from error


def settings_file() -> Path:
    """Where the user's settings are: `CONSERVATOR_SETTINGS`, or `conservator/settings.toml` in the configuration folder."""
    given = os.environ.get(f"{_PREFIX}SETTINGS")
    if given:
        return Path(given).expanduser()
    return _user_folder("XDG_CONFIG_HOME", ".config") / "settings.toml"


def state_folder(settings: Settings) -> Path:
    """Where processes of this user find what others of them left."""
    return settings.state_dir or _user_folder("XDG_STATE_HOME", ".local/state")


def _user_folder(variable: str, below_home: str) -> Path:
    given = os.environ.get(variable)
    return (Path(given) if given else Path.home() / below_home) / "conservator"


def _from_file() -> dict[str, Any]:
    """The user's file; empty when there is none.

    Raises:
        UsageError: it does not read, or names something unknown.
    """
    path = settings_file()
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if os.environ.get(f"{_PREFIX}SETTINGS"):
            raise UsageError(f"CONSERVATOR_SETTINGS={str(path)!r}: no such file") from error
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"settings file {str(path)!r} does not read: {error}") from error
    for key in given:
        if key not in Settings.model_fields:
            known = ", ".join(Settings.model_fields)
            raise UsageError(
                f"settings file {str(path)!r}: unknown setting {key!r}; known: {known}"
            )
    return given
