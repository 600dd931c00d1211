"""No test reads this user's settings, speaks to a server of theirs, or has a vision-language model that it did not ask for."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A suite gives the same answer twice; HYPOTHESIS_PROFILE=explore draws new examples each time.
settings.register_profile("same", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_configure() -> None:
    """A suite that a shell runs in the background ignores Ctrl-C, and so would the commands under test."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def nobody_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        patch.setenv("CONSERVATOR_VLM", "none")
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield
