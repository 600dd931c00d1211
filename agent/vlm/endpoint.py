"""The address of a vision-language model's server, and whether somebody answers there; takes no client library."""

from __future__ import annotations

import json
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request

from conservator.restorers.addresses import opener, server_address
from conservator.restorers.errors import BackendMissingError

__all__ = ["base_url", "healthy", "served_models"]

_TIMEOUT_S: Final = 5.0
_MOST_BYTES: Final = 1 << 20


def base_url(url: str) -> str:
    """An address as clients take it: a bare host gets the path `/v1`.

    Raises:
        UsageError: it is no http address.
    """
    parts = server_address(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


def served_models(
    url: str, *, api_key: str | None = None, timeout_s: float = _TIMEOUT_S
) -> tuple[str, ...]:
    """The models of a server.

    Args:
        url: as from `base_url`.
        api_key: None where the server wants none.
        timeout_s: longest wait.

    Raises:
        BackendMissingError: nothing answers there, it refuses the key, or it is no such server.
    """
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    try:
        with opener(url).open(Request(f"{url}/models", headers=headers), timeout=timeout_s) as got:
            data = json.loads(got.read(_MOST_BYTES))
        return tuple(str(entry["id"]) for entry in data["data"])
    except HTTPError as error:
        if error.code in (401, 403):
            raise BackendMissingError(
                f"the server at {url} refuses the key; set CONSERVATOR_VLM_API_KEY"
            ) from error
        raise BackendMissingError(
            f"the server at {url} answers {error.code} to /models; give the address of an "
            "OpenAI-compatible server, such as http://127.0.0.1:8000/v1"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BackendMissingError(
            f"what answers at {url} is no OpenAI-compatible server; give another URL"
        ) from error
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise BackendMissingError(
            f"no vision-language model answers at {url} ({reason}); start one with "
            "`conservator vlm serve`, give another URL, or go without: --vlm none"
        ) from error


def healthy(url: str, *, timeout_s: float = _TIMEOUT_S) -> bool:
    """Whether vLLM's health check at a server says yes."""
    parts = urlsplit(url)
    try:
        address = f"{parts.scheme}://{parts.netloc}/health"
        with opener(url).open(address, timeout=timeout_s) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
