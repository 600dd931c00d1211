"""How soon the terminal UI shows something: the summary, and the first frame as it is measured."""

import json
from pathlib import Path

import pytest

from conservator.evals import responsiveness
from conservator.evals.responsiveness import Key, main, summary


def test_keys_are_summed_up_by_what_the_agent_was_at() -> None:
    keys = [Key("typed", 0.010 * n, 0.005 * n, restorer=True) for n in range(1, 22)]
    keys += [Key("zoom", 0.2, 0.3, restorer=False)]
    found = summary(keys)
    assert found["typed, restorer"]["count"] == 21
    assert found["typed, restorer"]["ms"] == {"median": 110.0, "p95": 200.0, "most": 210.0}
    assert found["typed, restorer"]["ms_without_waiting"]["median"] == 55.0
    # It can have waited longer than the key took to be seen: the thread also slept before.
    assert found["zoom, rest of the run"]["ms_without_waiting"]["most"] == 0.0
    assert (
        summary([Key("zoom", 0.2, None, restorer=True)])["zoom, restorer"]["ms_without_waiting"]
        is None
    )


def test_starts_are_measured_at_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(responsiveness, "_pressed", lambda photo, pause: [])
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"not looked at")
    out = tmp_path / "out.json"
    assert main(["--out", str(out), "--part", "start", "--starts", "1"]) == 0
    (start,) = json.loads(out.read_text())["start"]["measured"]
    assert start["seconds"] > 0
    assert start["torch"] is not True and start["torch_later"] is not True
    assert '"start"' in capsys.readouterr().out
    # The other part joins it.
    assert main(["--out", str(out), "--part", "keys", "--photo", str(photo)]) == 0
    record = json.loads(out.read_text())
    assert record["start"]["measured"] == [start]
    assert record["keys"]["measured"] == {} and record["keys"]["provenance"]["versions"]
