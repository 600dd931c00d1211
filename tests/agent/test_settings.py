"""Settings: the environment goes before the file, the file before the defaults; what does not read is named."""

from pathlib import Path

import pytest

from conservator import UsageError
from conservator.agent.settings import Settings, load_settings, settings_file, state_folder


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text('vlm = "served"\nvlm_url = "http://host:1"\nvlm_retries = 5\n')
    monkeypatch.setenv("CONSERVATOR_SETTINGS", str(path))
    monkeypatch.delenv("CONSERVATOR_VLM", raising=False)
    return path


def test_the_environment_goes_before_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSERVATOR_VLM", "embedded")
    settings = load_settings()
    assert settings.vlm == "embedded"
    assert settings.vlm_url == "http://host:1"
    assert settings.vlm_retries == 5
    assert settings.offline is True


def test_the_file_is_found_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CONSERVATOR_VLM", raising=False)
    assert load_settings().vlm == "auto"
    path = tmp_path / "conservator" / "settings.toml"
    path.parent.mkdir()
    path.write_text('vlm = "none"')
    assert settings_file() == path
    assert load_settings().vlm == "none"
    assert state_folder(load_settings()) == tmp_path / "state" / "conservator"
    assert state_folder(Settings(state_dir=tmp_path)) == tmp_path


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("vlm_retries = -1", "vlm_retries"),
        ("vml = 'none'", "'vml'"),
        ("vlm = ", "does not read"),
    ],
)
def test_what_does_not_read_is_named_with_the_file(file: Path, text: str, named: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError, match=named) as caught:
        load_settings()
    assert str(file) in str(caught.value)


def test_a_file_that_was_named_must_be_there(file: Path) -> None:
    file.unlink()
    with pytest.raises(UsageError, match="no such file"):
        load_settings()


def test_a_variable_is_named_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSERVATOR_VLM_TIMEOUT_S", "soon")
    with pytest.raises(UsageError, match=r"CONSERVATOR_VLM_TIMEOUT_S='soon'"):
        load_settings()


def test_a_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSERVATOR_VLM_API_KEY", "secret")
    settings = load_settings()
    assert "secret" not in repr(settings)
    assert "secret" not in str(settings.model_dump(mode="json"))
    assert settings.vlm_api_key is not None
    assert settings.vlm_api_key.get_secret_value() == "secret"
