"""Terms from everywhere: a policy's file, an earlier run's folder, the caller; and those that do not read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conservator import restore, resume
from conservator.agent.errors import PromptError
from conservator.policies.preset import Preset


def test_a_limited_contract_is_resumed_as_it_was(
    noisy: np.ndarray, policy: Preset, tmp_path: Path
) -> None:
    path = tmp_path / "noisy.png"
    Image.fromarray(noisy).save(path)
    asked: dict[str, Any] = {
        "policy": policy,
        "protect": "10,20,40,30",
        "keep": "the colours",
        "targets": "noise<=low",
    }
    whole = restore(noisy, **asked)
    limited = restore(path, max_tools=0, **asked)
    assert limited.outcome == "limit" and limited.run_dir is not None
    resumed = resume(limited.run_dir, max_tools=3)
    assert resumed.outcome == "met"
    np.testing.assert_array_equal(resumed.array, whole.array)
    assert [c.text for c in resumed.contract] == [c.text for c in whole.contract]


def test_a_policy_file_holds_a_contract(noisy: np.ndarray, policy: Preset) -> None:
    own = policy.model_copy(
        update={"targets": ("noise<=low,piqe<=90",), "protect": ("10,20,40,30",)}
    )
    result = restore(noisy, policy=own, targets="noise<=medium", keep="the colours")
    assert [clause.text for clause in result.contract] == [
        "noise<=medium",
        "piqe<=90",
        "protect the box 10,20,40,30",
        "keep the colours",
    ]


def test_without_a_contract_nothing_is_different(
    noisy: np.ndarray, policy: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = restore(noisy, policy=policy)
    assert bare.contract == ()
    assert bare.recipe.protect == ()
    names = {check.name for a in bare.attempts if a.verdict for check in a.verdict.checks}
    assert not names & {"target", "kept"}
    empty = restore(noisy, policy=policy, protect=[], keep=())
    np.testing.assert_array_equal(bare.array, empty.array)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"targets": "noise<=low", "keep": "the grain"}, "contradict"),
        ({"protect": "200,0,10,10"}, "leaves the photo, which is 160x160"),
        ({"protect": "nose"}, "none that can be found"),
        ({"protect": "0%,0%,100%,100%"}, "nothing would be restored"),
        ({"keep": "the vibe"}, "cannot read 'the vibe'"),
        ({"targets": "ssim_to_input<=0.8"}, "bounded from below"),
    ],
)
def test_wrong_contracts_leave_nothing_behind(
    asked: dict[str, Any], named: str, noisy_png: Path, policy: Preset
) -> None:
    with pytest.raises(PromptError, match=named) as caught:
        restore(noisy_png, policy=policy, **asked)
    assert "\n" not in str(caught.value)
    assert list(noisy_png.parent.iterdir()) == [noisy_png]
