"""No test reads this user's settings, speaks to a server of theirs, or has a vision-language model that it did not ask for."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def nobody_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        patch.setenv("CONSERVATOR_VLM", "none")
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield
