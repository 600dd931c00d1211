"""Weights: verified, strict, atomic, offline."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.errors import BackendMissingError, UnknownNameError, WeightsError
from conservator.restorers.weights import (
    apply_weights,
    checksum,
    configured_weights,
    load_weights,
    locate_weights,
    save_weights,
)


def small_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_weights(small_net(), path, {"data": "none"})
    return path


def test_round_trip_is_float16_on_disk_and_float32_in_memory(tmp_path: Path) -> None:
    net = small_net()
    path = tmp_path / "deep" / "net.safetensors"
    digest = save_weights(net, path, {"revision": "abc"})
    assert digest == checksum(path)
    assert [p.name for p in path.parent.iterdir()] == ["net.safetensors"]
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"revision": "abc"}
        assert file.get_tensor("0.weight").dtype == torch.float16
    state = load_weights(path, digest)
    assert state["0.weight"].dtype == torch.float32
    assert state["1.num_batches_tracked"].dtype == torch.int64
    torch.testing.assert_close(state["0.weight"], net.state_dict()["0.weight"], atol=1e-3, rtol=0)
    other = small_net(seed=1)
    apply_weights(other, state)
    assert torch.equal(other.state_dict()["0.weight"], state["0.weight"])


def test_tied_weights_are_saved(tmp_path: Path) -> None:
    shared = torch.randn(3, 3)
    save_weights({"a": shared, "b": shared, "c": shared.T}, tmp_path / "tied.safetensors")
    state = load_weights(tmp_path / "tied.safetensors")
    assert torch.equal(state["a"], state["b"])
    assert torch.equal(state["c"], state["a"].T)


def test_altered_file_is_refused(stored: Path) -> None:
    digest = checksum(stored)
    data = bytearray(stored.read_bytes())
    data[-1] ^= 1
    stored.write_bytes(bytes(data))
    load_weights(stored)
    with pytest.raises(WeightsError, match=r"sha256 .* expected .* fetch it again") as caught:
        load_weights(stored, digest)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (b"not weights at all, just a sentence", "truncated or no safetensors"),
        (pickle.dumps({"a": 1}), "pickle"),
        (None, "truncated"),
    ],
    ids=["empty", "text", "pickle", "cut in half"],
)
def test_what_is_no_safetensors_file_is_one_line(
    stored: Path, content: bytes | None, message: str
) -> None:
    stored.write_bytes(stored.read_bytes()[:-40] if content is None else content)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(stored)
    assert "\n" not in str(caught.value)
    assert str(stored) in str(caught.value)


def test_a_hostile_pickle_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (Path.touch, (trace,))

    checkpoint = tmp_path / "model.pt"
    torch.save({"w": Hostile()}, checkpoint)
    with pytest.raises(WeightsError, match="may run code"):
        load_weights(checkpoint)
    assert not trace.exists()


def test_missing_file_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights file at .*gone\.safetensors"):
        load_weights(tmp_path / "gone.safetensors")
    with pytest.raises(WeightsError, match="no weights file"):
        load_weights(tmp_path)


def test_strict_names_what_does_not_fit_and_changes_nothing() -> None:
    net = small_net()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    state = small_net(seed=1).state_dict()
    del state["2.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["0.weight"] = torch.zeros(4, 3, 5, 5)
    with pytest.raises(WeightsError) as caught:
        apply_weights(net, state)
    message = str(caught.value)
    assert "missing 2.bias" in message
    assert "unexpected extra.weight" in message
    assert "misshapen 0.weight (4, 3, 5, 5) instead of (4, 3, 3, 3)" in message
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


def test_diverged_weights_leave_the_old_file(stored: Path) -> None:
    digest = checksum(stored)
    state = small_net().state_dict()
    state["0.weight"] = state["0.weight"] * 1e9
    with pytest.raises(WeightsError, match=r"0\.weight is not finite in float16"):
        save_weights(state, stored)
    assert checksum(stored) == digest
    assert list(stored.parent.iterdir()) == [stored]


def test_unwritable_place_leaves_no_part(tmp_path: Path) -> None:
    place = tmp_path / "net.safetensors"
    place.mkdir()
    with pytest.raises(WeightsError, match="cannot write weights"):
        save_weights(small_net(), place)
    assert list(tmp_path.iterdir()) == [place]


def test_the_hub_is_not_asked_unless_told() -> None:
    with pytest.raises(BackendMissingError, match="allow_download=True") as caught:
        locate_weights("hf://conservator-tests/absent/net.safetensors")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("address", ["hf://", "hf://owner", "hf://owner/repository", "hf:///x/y"])
def test_malformed_hub_address(address: str) -> None:
    with pytest.raises(WeightsError, match="hf://owner/repository/file"):
        locate_weights(address)


def test_configured_weights(stored: Path) -> None:
    card = RestorerCard(
        name="x", title="", treats=(), configurations={"paper": Configuration(parameters_m=1)}
    )
    assert set(configured_weights(card, "paper", stored)) == set(small_net().state_dict())
    with pytest.raises(WeightsError, match="ships no weights for 'paper'"):
        configured_weights(card, "paper")
    with pytest.raises(UnknownNameError, match="'compact'; known: paper"):
        configured_weights(card, "compact")
