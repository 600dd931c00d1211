"""The gate against deliberate regressions."""

import copy
import json

import pytest

from conservator.evals.gate import gate, read_baseline
from conservator.restorers.errors import UsageError

ALL = {"noise 25/a": 6.0, "noise 25/b": 6.0, "noise 25/<i>&": 6.0}


def test_an_equal_run_passes(make_run) -> None:
    one, two = make_run("one"), make_run("two", seconds=99)
    verdict = gate(two.summary, one.summary, metrics=["psnr", "ssim"])
    assert verdict.passed
    # For each of 3 systems: failures, then 2 metrics in 2 rows, a group, and overall.
    assert verdict.checked == 3 * (1 + 2 * 4)


def test_a_metric_below_the_interval_is_a_breach(make_run) -> None:
    one, two = make_run("one"), make_run("two", blurred=ALL)
    verdict = gate(two.summary, one.summary)
    assert not verdict.passed
    assert {breach.system for breach in verdict.breaches} == {"agent"}
    first = verdict.breaches[0]
    assert (first.line, first.metric) == ("noise 25", "psnr")
    was = one.summary["systems"]["agent"]["rows"]["noise 25"]["metrics"]["psnr"]
    assert first.bound == was["low"]
    assert first.value is not None
    assert first.value < was["low"]
    assert f"is below {was['low']:.2f}; baseline {was['mean']:.2f}" in str(first)
    assert gate(two.summary, one.summary, systems=["oracle"]).passed
    assert gate(two.summary, one.summary, tolerance=50).passed
    # The other way round it is progress.
    assert gate(one.summary, two.summary).passed


def test_within_the_interval_it_passes_and_the_tolerance_counts_from_its_end(make_run) -> None:
    run = make_run("one").summary
    line = run["systems"]["agent"]["overall"]["metrics"]["psnr"]
    now = copy.deepcopy(run)
    figure = now["systems"]["agent"]["overall"]["metrics"]["psnr"]
    figure["mean"] = line["low"] + 0.01
    assert gate(now, run).passed
    figure["mean"] = line["low"] - 0.2
    assert [b.line for b in gate(now, run).breaches] == ["overall"]
    assert gate(now, run, tolerance=0.3).passed


def test_lower_is_better(make_run) -> None:
    run = make_run("one").summary
    now = copy.deepcopy(run)
    for line in (run, now):
        figure = {"n": 6, "mean": 0.1, "median": 0.1, "low": 0.08, "high": 0.12}
        line["systems"]["agent"]["overall"]["metrics"]["lpips"] = figure
        line["metrics"]["lpips"] = {"higher_is_better": False}
    now["systems"]["agent"]["overall"]["metrics"]["lpips"] = {**figure, "mean": 0.05}
    assert gate(now, run, metrics=["lpips"]).passed
    now["systems"]["agent"]["overall"]["metrics"]["lpips"] = {**figure, "mean": 0.13}
    assert "is above 0.12" in str(gate(now, run, metrics=["lpips"]).breaches[0])


def test_shares_can_be_gated(make_run) -> None:
    one, two = make_run("one"), make_run("two", blurred=ALL)
    verdict = gate(two.summary, one.summary, metrics=["worsening_rate"])
    assert "agent, noise 25, worsening_rate" in str(verdict.breaches[0])


def test_one_more_failure_is_a_breach(make_run) -> None:
    one, two = make_run("one"), make_run("two", failed={"noise 25/a"})
    words = [str(breach) for breach in gate(two.summary, one.summary, tolerance=50).breaches]
    assert "agent: 1 failed answers, 0 in the baseline; first noise 25/a: RestorerError" in words[0]
    assert any("noise 25, psnr: 2 samples have a score, 3 in the baseline" in w for w in words)
    assert gate(one.summary, two.summary).passed


def test_what_is_missing_is_a_breach(make_run) -> None:
    run = make_run("one").summary
    now = copy.deepcopy(run)
    del now["systems"]["oracle"]
    del now["systems"]["agent"]["rows"]["jpeg 10"]
    del now["systems"]["untouched"]["overall"]["metrics"]["psnr"]
    assert [str(breach) for breach in gate(now, run).breaches] == [
        "untouched, overall, psnr: in the baseline, not in the run",
        "agent, jpeg 10: in the baseline, not in the run",
        "oracle: the baseline has this system, the run has not",
    ]


def test_another_version_is_a_breach(make_run) -> None:
    run = make_run("one").summary
    words = str(gate({**run, "task": "tiny@3"}, run).breaches[0])
    assert words == ": the run is of tiny@3, the baseline of tiny@2: not comparable"


def test_wrong_questions(make_run) -> None:
    run = make_run("one").summary
    with pytest.raises(UsageError, match="no metric 'niqe'; it has: psnr, ssim"):
        gate(run, run, metrics=["niqe"])
    with pytest.raises(UsageError, match="no system 'agnt'"):
        gate(run, run, systems=["agnt"])
    run["systems"]["agent"]["overall"]["metrics"]["odd"] = {"n": 1, "mean": 1, "low": 0, "high": 2}
    with pytest.raises(UsageError, match="which way 'odd' is better"):
        gate(run, run, metrics=["odd"])


def test_baselines_are_read_from_files_and_folders(make_run, tmp_path) -> None:
    run = make_run("one")
    committed = tmp_path / "baseline.json"
    committed.write_text(json.dumps(run.summary))
    assert read_baseline(committed) == read_baseline(run.path) == run.summary
    for text in ("{", "[]", '{"rows": []}'):
        committed.write_text(text)
        with pytest.raises(UsageError, match=r"baseline\.json"):
            read_baseline(committed)
    with pytest.raises(UsageError, match="No such file"):
        read_baseline(tmp_path / "nowhere.json")
