"""Addresses, and what is said when nobody, or somebody else, answers there."""

import pytest

from conservator import BackendMissingError, UsageError
from conservator.agent.vlm.endpoint import base_url, healthy, served_models
from openai_server import openai_server


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("http://host/v1/", "http://host/v1"),
        ("https://host/openai/v2", "https://host/openai/v2"),
    ],
)
def test_a_bare_host_gets_the_usual_path(given: str, meant: str) -> None:
    assert base_url(given) == meant


@pytest.mark.parametrize("wrong", ["localhost:8000", "ftp://host", "http://", "http://host:x", ""])
def test_what_is_no_address_is_named(wrong: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        base_url(wrong)


def test_models_and_health() -> None:
    with openai_server(models=("seer", "other")) as server:
        assert served_models(server.url) == ("seer", "other")
        assert healthy(server.url)
    assert not healthy(server.url)


def test_nobody_there_names_the_url_and_the_remedies() -> None:
    with openai_server() as server:
        pass
    with pytest.raises(BackendMissingError) as caught:
        served_models(server.url)
    assert server.url in str(caught.value)
    assert "conservator vlm serve" in str(caught.value)
    assert "--vlm none" in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_refused_key_is_told_from_an_absent_server() -> None:
    with openai_server(key="secret") as server:
        with pytest.raises(BackendMissingError, match="CONSERVATOR_VLM_API_KEY"):
            served_models(server.url)
        assert served_models(server.url, api_key="secret") == ("seer",)


def test_another_kind_of_server_is_no_model() -> None:
    with openai_server() as server, pytest.raises(BackendMissingError, match="404"):
        served_models(server.url.replace("/v1", "/v2"))
    with (
        openai_server() as server,
        pytest.raises(BackendMissingError, match="no OpenAI-compatible"),
    ):
        served_models(server.url.replace("/v1", "/strange"))
