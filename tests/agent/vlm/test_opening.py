"""Which model takes the seat."""

from pathlib import Path

import pytest

from conservator import BackendMissingError, MissingFileError, UnknownNameError
from conservator.agent.settings import Settings
from conservator.agent.vlm import embedded
from conservator.agent.vlm.opening import open_vlm, resolved_spec
from openai_server import openai_server


def made(tmp_path: Path, **given: object) -> Settings:
    return Settings(**{"vlm": "auto", "state_dir": tmp_path, **given})  # type: ignore[arg-type]


def test_auto_takes_a_server_and_else_the_embedded_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved_spec("auto", made(tmp_path)) == "embedded"
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "MODEL", tmp_path)
        assert resolved_spec("auto", made(tmp_path)) == "none"
    assert resolved_spec("auto", made(tmp_path, vlm="embedded")) == "embedded"
    assert resolved_spec("auto", made(tmp_path, vlm_url="http://127.0.0.1:1")) == "served"
    assert resolved_spec("auto", made(tmp_path, vlm="none")) == "none"
    assert resolved_spec("embedded", made(tmp_path, vlm="none")) == "embedded"


def test_none_is_nobody(tmp_path: Path) -> None:
    assert open_vlm("none", made(tmp_path)) is None


def test_an_unknown_word_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'gpt'.*embedded"):
        open_vlm("gpt", made(tmp_path))
    with pytest.raises(UnknownNameError, match="'gpt'"):
        open_vlm("auto", made(tmp_path, vlm="gpt"))


def test_an_address_is_asked_at_once(tmp_path: Path) -> None:
    with openai_server(models=("conservator-embedded",)) as server:
        chat = open_vlm(server.url.removesuffix("/v1"), made(tmp_path))
        assert chat is not None
        assert chat.invoke("Are you there?").text == "yes"
        # The embedded model wants its small pictures behind a server too.
        assert chat.metadata == {"views": "compact"}
        chat.http_client.close()
    with pytest.raises(BackendMissingError, match=server.url):
        open_vlm(server.url, made(tmp_path))


def test_served_without_a_server_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BackendMissingError, match="conservator vlm serve"):
        open_vlm("served", made(tmp_path))


def test_a_missing_embedded_model_is_a_missing_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "MODEL", tmp_path / "none")
    with pytest.raises(BackendMissingError, match="--vlm none"):
        open_vlm("embedded", made(tmp_path))


def test_local_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="nobody/nothing"):
        open_vlm("local", made(tmp_path, vlm_model="nobody/nothing"))
