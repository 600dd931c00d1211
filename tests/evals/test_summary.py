"""Summaries of hand-made records against numbers worked out by hand."""

import random

import pytest

from conservator.evals.metric import arrow, decimals, higher_is_better, written
from conservator.evals.sample import AnswerRecord, Cost
from conservator.evals.scorers import FULL_REFERENCE, NO_REFERENCE
from conservator.evals.summary import gains, lines_of, summarise, without_cost
from conservator.evals.tables import (
    costs_table,
    deciders_tables,
    groups_tables,
    markdown,
    metric_table,
    systems_table,
)
from conservator.evals.task import Task

TASK = Task.model_validate(
    {
        "id": "hand",
        "version": 1,
        "title": "by hand",
        "rows": [
            {"name": "a", "group": "G"},
            {"name": "b", "group": "G"},
            {"name": "c"},
        ],
        "systems": ["untouched", "agent", "oracle"],
        "scorers": ["full-reference"],
        "published": {"a": {"Paper": {"psnr": 31.0}}, "rain": {"Paper": {"psnr": 29.5}}},
    }
)
PSNR = {
    # row: sample -> untouched, agent, oracle
    "a": {"1": (20.0, 24.0, 30.0), "2": (22.0, 21.0, 26.0)},
    "b": {"1": (10.0, 10.0, 20.0), "2": (12.0, 16.0, 24.0), "3": (14.0, 13.0, 22.0)},
    "c": {"1": (30.0, 31.0, 32.0)},
}
SYSTEMS = ("untouched", "agent", "oracle")


def record(sample: str, system: str, psnr: float | None, **more: object) -> AnswerRecord:
    row = sample.split("/")[0]
    scores = {} if psnr is None else {"psnr": psnr, "lpips": 0.5 - psnr / 100}
    given = {"group": "G" if row in "ab" else "", "scores": scores, **more}
    return AnswerRecord.model_validate({"sample_id": sample, "system": system, "row": row, **given})


def records() -> list[AnswerRecord]:
    made = []
    for row, samples in PSNR.items():
        for name, values in samples.items():
            for i, system in enumerate(SYSTEMS):
                details = {"outcome": "met" if name == "1" else "best"} if i == 1 else {}
                cost = Cost(seconds=i + float(name), peak_mb=100 * i, tools=i)
                made.append(record(f"{row}/{name}", system, values[i], details=details, cost=cost))
    return made


def test_rows_groups_and_overall() -> None:
    summary = summarise(records(), TASK, {"systems": list(SYSTEMS)})
    agent = summary["systems"]["agent"]
    assert agent["rows"]["a"]["metrics"]["psnr"] | {"low": 0, "high": 0} == {
        "n": 2, "mean": 22.5, "median": 22.5, "low": 0, "high": 0,
    }  # fmt: skip
    assert agent["rows"]["b"]["metrics"]["psnr"]["mean"] == 13.0
    # Rows weigh the same: (22.5 + 13) / 2, not the mean of the five samples.
    assert agent["groups"]["G"]["metrics"]["psnr"]["mean"] == 17.75
    assert agent["overall"]["metrics"]["psnr"]["mean"] == pytest.approx(
        (22.5 + 13 + 31) / 3, abs=1e-6
    )
    assert agent["overall"]["metrics"]["psnr"]["median"] == 18.5
    assert agent["overall"]["n"] == 6
    assert agent["counts"] == {"answers": 6, "done": 6, "limit": 0, "failed": 0}
    assert summary["samples"] == 6
    assert list(summary["metrics"]) == ["psnr", "lpips"]


def test_a_summary_says_with_what_it_was_measured() -> None:
    at = {"revision": "abc1234", "hardware": {"cores": 2}}
    assert summarise(records(), TASK, {"provenance": at})["measured"] == at
    assert "measured" not in summarise(records(), TASK)


def test_harm_gain_target_and_share_of_the_oracle() -> None:
    agent = summarise(records(), TASK)["systems"]["agent"]
    # Gains: a +4 -1, b 0 +4 -1, c +1; a tie does no harm.
    assert agent["rows"]["a"]["gain"]["mean"] == 1.5
    assert agent["groups"]["G"]["worsening_rate"]["mean"] == pytest.approx(
        (1 / 2 + 1 / 3) / 2, abs=1e-6
    )
    assert agent["rows"]["a"]["share_of_oracle_gain"]["mean"] == pytest.approx(1.5 / 7, abs=1e-6)
    # Over the group: mean gains (1.5 + 1) / 2 of (7 + 10) / 2.
    assert agent["groups"]["G"]["share_of_oracle_gain"]["mean"] == pytest.approx(
        1.25 / 8.5, abs=1e-6
    )
    assert agent["rows"]["b"]["target_met"]["mean"] == pytest.approx(1 / 3, abs=1e-6)
    assert agent["outcomes"] == {"best": 3, "met": 3}
    untouched = summarise(records(), TASK)["systems"]["untouched"]["overall"]
    assert not {"gain", "worsening_rate", "share_of_oracle_gain", "target_met"} & untouched.keys()


def test_who_decided_is_counted_and_a_plan_only_where_it_came_to_something() -> None:
    made = records()
    for i, answer in enumerate(made):
        if answer.system == "agent":
            plan = "vlm" if answer.sample_id.endswith("1") else "policy"
            steps = [] if answer.row == "c" else ["llmra(noise=25) on original"]
            decided = {"condition": "instruments+vlm", "plan": plan}
            details = {**answer.details, "decided": decided, "steps": steps}
            made[i] = answer.model_copy(update={"details": details})
    summary = summarise(made, TASK)
    assert summary["systems"]["agent"]["decided"] == {
        "condition": {"instruments+vlm": 6}, "plan": {"policy": 3, "vlm": 2},
    }  # fmt: skip
    assert "decided" not in summary["systems"]["untouched"]
    (table,) = deciders_tables(summary)
    assert "instruments+vlm 6 | policy 3, vlm 2" in table.markdown()
    assert deciders_tables(summarise(records(), TASK)) == []


def test_lower_is_better_turns_gains_around() -> None:
    task = TASK.model_copy(update={"primary": "lpips"})
    agent = summarise(records(), task)["systems"]["agent"]
    # The made-up lpips falls by 0.01 a dB: the same samples are worse.
    assert agent["rows"]["a"]["gain"]["mean"] == pytest.approx(0.015)
    assert agent["rows"]["a"]["worsening_rate"]["mean"] == 0.5
    assert agent["rows"]["a"]["share_of_oracle_gain"]["mean"] == pytest.approx(1.5 / 7, abs=1e-6)
    assert gains(records(), "lpips", "agent")["a/1"] == pytest.approx(0.04)


def test_failures_have_no_scores_and_limits_have() -> None:
    made = [r for r in records() if r.key not in {("a/1", "agent"), ("a/2", "agent")}]
    made.append(record("a/1", "agent", None, status="failed", reason="out of memory"))
    made.append(record("a/2", "agent", 22.0, status="limit", reason="300 s"))
    summary = summarise(made, TASK)
    agent = summary["systems"]["agent"]
    assert agent["counts"] == {"answers": 6, "done": 4, "limit": 1, "failed": 1}
    assert agent["rows"]["a"]["metrics"]["psnr"] == {
        "n": 1, "mean": 22.0, "median": 22.0, "low": None, "high": None,
    }  # fmt: skip
    assert summary["failures"] == [
        {"sample_id": "a/1", "system": "agent", "reason": "out of memory"}
    ]
    text = markdown(summary, TASK)
    assert "22.00 (1 of 2)" in text
    assert "out of memory" in text


def test_the_order_of_finishing_changes_nothing() -> None:
    made = records()
    expected = summarise(made, TASK, {"systems": list(SYSTEMS)})
    random.Random(1).shuffle(made)
    assert summarise(made, TASK, {"systems": list(SYSTEMS)}) == expected


def test_time_stands_apart() -> None:
    first = summarise(records(), TASK)
    slower = [
        r.model_copy(update={"cost": r.cost.model_copy(update={"seconds": 99.0})})
        for r in records()
    ]
    second = summarise(slower, TASK)
    assert first != second
    assert without_cost(first) == without_cost(second)
    assert first["cost"]["agent"]["seconds"] == {"mean": 2.6667, "median": 2.5, "total": 16.0}
    assert first["cost"]["oracle"]["peak_mb"] == 200


def test_not_a_number_is_no_score() -> None:
    made = [*records(), record("c/2", "agent", float("inf"))]
    line = summarise(made, TASK)["systems"]["agent"]["rows"]["c"]
    assert line["metrics"]["psnr"] | {"low": 0, "high": 0} == {
        "n": 1, "mean": 31.0, "median": 31.0, "low": 0, "high": 0,
    }  # fmt: skip


def test_without_untouched_and_without_answers() -> None:
    alone = summarise([r for r in records() if r.system == "agent"], TASK)
    assert "gain" not in alone["systems"]["agent"]["overall"]
    assert "psnr" in markdown(alone, TASK)
    nothing = [record("a/1", "agent", None, status="failed", reason="no")]
    summary = summarise(nothing, TASK)
    assert summary["systems"]["agent"]["overall"]["metrics"] == {}
    assert summary["cost"]["agent"] == {"n": 0}
    assert "Failed answers" in markdown(summary, TASK)


def test_perception_is_summed_up_when_there_are_findings() -> None:
    findings = {"noise": {"true": 30.0, "said": 28.0, "confidence": 0.9}}
    made = [record("a/1", "instruments", None, findings=findings)]
    summary = summarise(made, TASK)
    assert summary["perception"]["instruments"]["kinds"]["noise"]["presence_f1"] == 1.0
    assert summary["perception"]["instruments"]["kinds"]["noise"]["parameter_error"] == 2.0
    text = markdown(summary, TASK)
    assert "Perception of instruments" in text
    assert "2 standard deviation, of 255" in text


def test_lines_come_in_the_tasks_order_with_groups_behind_their_rows() -> None:
    assert lines_of(summarise(records(), TASK)) == [
        ("rows", "a"), ("rows", "b"), ("groups", "G"), ("rows", "c"), ("overall", "overall"),
    ]  # fmt: skip


def test_tables_mark_the_best_but_no_ceiling_and_show_papers() -> None:
    summary = summarise(records(), TASK, {"systems": list(SYSTEMS)})
    table = metric_table(summary, TASK, "psnr")
    assert table.columns == (*SYSTEMS, "Paper (published)")
    lines = {line.name: line for line in table.lines}
    assert [str(cell) for cell in lines["a"].cells] == ["21.00", "**22.50**", "28.00", "31.00"]
    assert [str(cell) for cell in lines["rain"].cells] == ["-", "-", "-", "29.50"]
    assert lines["group G"].strong
    lower = {line.name: line for line in metric_table(summary, TASK, "lpips").lines}
    assert [cell.best for cell in lower["a"].cells] == [False, True, False]
    systems = {
        line.name: [cell.text for cell in line.cells] for line in systems_table(summary).lines
    }
    assert systems["agent"][3] == "28 %"
    rows = [line for line in table.markdown().splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1


def test_groups_have_their_gain_harm_and_share() -> None:
    summary = summarise(records(), TASK, {"systems": list(SYSTEMS)})
    gain, worse, share = groups_tables(summary)
    assert gain.columns == worse.columns == share.columns == ("G", "all rows")
    assert [line.name for line in share.lines] == ["agent", "oracle"]
    assert [cell.text for cell in gain.lines[0].cells] == ["1.25", "1.17"]
    assert [cell.text for cell in worse.lines[0].cells] == ["42 %", "28 %"]
    agent, oracle = share.lines
    assert agent.cells[0].text == "15 %"
    low, high = (float(x) for x in agent.cells[0].note.strip("[]").split(","))
    assert low < 15 < high
    assert [cell.text for cell in oracle.cells] == ["100 %", "100 %"]
    assert all(table.title in markdown(summary, TASK) for table in (gain, worse, share))
    loose = TASK.model_copy(
        update={"rows": [row.model_copy(update={"group": ""}) for row in TASK.rows]}
    )
    ungrouped = [record.model_copy(update={"group": ""}) for record in records()]
    assert groups_tables(summarise(ungrouped, loose)) == []


def test_the_median_of_tool_calls_is_shown() -> None:
    made = [
        r.model_copy(update={"cost": Cost(tools=9)}) if r.key == ("c/1", "agent") else r
        for r in records()
    ]
    table = costs_table(summarise(made, TASK))
    agent = next(line for line in table.lines if line.name == "agent")
    cells = dict(zip(table.columns, agent.cells, strict=True))
    assert (cells["tools"].text, cells["median tools"].text) == ("2.33", "1")


def test_who_missed_a_sample_is_not_the_best() -> None:
    made = [r for r in records() if r.key != ("a/2", "agent")]
    lines = {line.name: line for line in metric_table(summarise(made, TASK), TASK, "psnr").lines}
    cells = dict(zip(sorted(SYSTEMS), lines["a"].cells, strict=False))
    assert str(cells["agent"]) == "24.00 (1 of 2)"


def test_names_break_no_table() -> None:
    made = [record("a/x|y <b>\\", "agent", None, status="failed", reason="a\nb | <script>")]
    line = next(x for x in markdown(summarise(made, TASK), TASK).splitlines() if "a/x" in x)
    assert "a/x\\|y \\<b>\\\\" in line
    assert "a b \\| \\<script>" in line


@pytest.mark.parametrize("metric", ["psnr", "ssim", *FULL_REFERENCE, *NO_REFERENCE])
def test_every_metric_has_a_direction(metric: str) -> None:
    assert higher_is_better(metric) is not None
    assert arrow(metric) in ("↑", "↓")


def test_directions_and_digits() -> None:
    assert higher_is_better("worsening_rate") is False
    assert higher_is_better("left") is False
    assert higher_is_better("change_255") is None
    assert higher_is_better("nobody-knows") is None
    assert (decimals("psnr"), decimals("ssim"), decimals("niqe")) == (2, 4, 2)
    assert written("psnr", -0.001) == "0.00"
    assert written("psnr", None) == "-"
