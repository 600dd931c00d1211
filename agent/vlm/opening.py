"""Which vision-language model takes the seat: `none`, `embedded`, `local`, `served`, or a server's address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from conservator.agent.vlm import embedded
from conservator.agent.vlm.endpoint import healthy
from conservator.agent.vlm.serve import DEFAULT_MODEL, EMBEDDED, running_server
from conservator.restorers.addresses import is_url
from conservator.restorers.errors import BackendMissingError, UnknownNameError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from conservator.agent.settings import Settings
    from conservator.agent.vlm.local import LocalChat
    from conservator.agent.vlm.served import ServedChat

__all__ = ["SPECS", "checked_spec", "open_vlm", "resolved_spec"]

SPECS: Final = ("auto", "none", "embedded", "local", "served")
"""What may stand in place of a server's URL."""


def checked_spec(spec: str) -> str:
    """A specification, known to be one.

    Raises:
        UnknownNameError: it is neither one of `SPECS` nor an address.
    """
    if spec not in SPECS and not is_url(spec):
        raise UnknownNameError("vision-language model", spec, [*SPECS, "http://..."])
    return spec


def resolved_spec(spec: str, settings: Settings) -> str:
    """What `auto` stands for here: a server that was named or runs, else the embedded model, else (where that is not installed) none.

    Raises:
        UnknownNameError: it is no specification.
    """
    if checked_spec(spec) == "auto":
        spec = checked_spec(settings.vlm)
    if spec != "auto":
        return spec
    # One that still starts would make the run wait, or fail.
    server = None if settings.vlm_url else running_server(settings)
    if settings.vlm_url or (server is not None and healthy(server.url, timeout_s=1.0)):
        return "served"
    return "none" if embedded.missing() else "embedded"


def open_vlm(spec: str, settings: Settings, *, device: str | None = None) -> BaseChatModel | None:
    """The chat model of a specification; None for `none`.

    The embedded model is read at its first answer. A server is asked at once whether it is there.

    Args:
        spec: one of `SPECS`, or a server's URL.
        settings: the user's.
        device: where a model in this process computes; by default as in the settings.

    Raises:
        UnknownNameError: it is no specification, or the server does not serve the model.
        BackendMissingError: the server does not answer, or a package or model is missing.
    """
    spec = resolved_spec(spec, settings)
    if spec == "none":
        return None
    if spec == "embedded":
        return _embedded(settings, device)
    if spec == "local":
        model = _local(settings, device)
        model.load()
        return model
    return _served(spec, settings)


def _embedded(settings: Settings, device: str | None) -> LocalChat:
    from conservator.agent.vlm.local import LocalChat

    if reason := embedded.missing():
        raise BackendMissingError(
            f"the embedded model cannot answer: {reason}; install again, or go without: --vlm none"
        )
    return LocalChat(
        model=str(embedded.MODEL),
        model_name=EMBEDDED,
        device=device or settings.device,
        max_tokens=settings.vlm_max_tokens,
        timeout_s=settings.vlm_timeout_s,
        metadata={"views": "compact"},
    )


def _local(settings: Settings, device: str | None) -> LocalChat:
    from conservator.agent.vlm.local import LocalChat

    return LocalChat(
        model=settings.vlm_model or DEFAULT_MODEL,
        download=not settings.offline,
        device=device or settings.device,
        max_tokens=settings.vlm_max_tokens,
        timeout_s=settings.vlm_timeout_s,
    )


def _served(spec: str, settings: Settings) -> ServedChat:
    url, model = spec, settings.vlm_model
    if spec == "served":
        url = settings.vlm_url or ""
        server = None if url else running_server(settings)
        if server is not None:
            url, model = server.url, server.model
    if not url:
        raise BackendMissingError(
            "no server is known; start one with `conservator vlm serve`, give its URL, "
            "or set CONSERVATOR_VLM_URL"
        )
    try:
        from conservator.agent.vlm.served import connect
    except ImportError as error:
        raise BackendMissingError(f"{error}; pip install langchain-openai") from error
    chat = connect(
        url,
        model=model,
        api_key=settings.vlm_api_key,
        timeout_s=settings.vlm_timeout_s,
        retries=settings.vlm_retries,
        concurrency=settings.vlm_concurrency,
        max_tokens=settings.vlm_max_tokens,
    )
    if chat.model_name == EMBEDDED:
        chat.metadata = {"views": "compact"}
    return chat
