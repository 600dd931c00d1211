"""The perception table and the control table, against numbers worked out by hand."""

import pytest

from conservator.evals import control, perception
from conservator.evals.sample import AnswerRecord
from conservator.restorers.errors import UsageError

Finding = dict[str, float | None]


def record(
    sample: int, findings: dict[str, Finding], system: str = "instruments", row: str = "r"
) -> AnswerRecord:
    return AnswerRecord(sample_id=f"{row}/{sample}", system=system, row=row, findings=findings)


def said(true: float | None, value: float | None, confidence: float = 0.9) -> Finding:
    return {"true": true, "said": value, "confidence": None if value is None else confidence}


# Noise anchors: 0, 4, 15, 30, 45; low from 2, medium from 9.5, high from 22.5, very high from 37.5.
RECORDS = [
    record(1, {"noise": said(15, 14), "jpeg": said(None, 100)}),  # seen, exact, off by 1
    record(
        2, {"noise": said(15, 25), "jpeg": said(None, 40)}
    ),  # seen, a level off, off by 10; alarm
    record(
        3, {"noise": said(45, 3), "jpeg": said(20, 20)}
    ),  # seen, three levels off, off by 42; exact
    record(
        4, {"noise": said(4, 1), "jpeg": said(20, 97)}
    ),  # missed, one level off, off by 3; missed
    record(5, {"noise": said(None, 5, 0.3), "jpeg": said(None, None)}),  # alarm
    record(6, {"noise": said(30, None), "jpeg": said(50, 45)}),  # missed, off by 30; seen and exact
]


def test_figures_of_a_kind_by_hand() -> None:
    noise = perception.table(RECORDS)["instruments"]["kinds"]["noise"]
    assert noise == {
        "precision": pytest.approx(3 / 4),
        "recall": pytest.approx(3 / 5),
        "presence_f1": pytest.approx(6 / 9),
        "false_alarms": 1.0,
        "level_accuracy": pytest.approx(1 / 5),
        "within_one": pytest.approx(3 / 5),
        "parameter_error": pytest.approx((1 + 10 + 42 + 3 + 30) / 5),
        "unit": "standard deviation, of 255",
        "support": 5,
        "pictures": 6,
    }
    jpeg = perception.table(RECORDS)["instruments"]["kinds"]["jpeg"]
    assert (jpeg["precision"], jpeg["recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert jpeg["false_alarms"] == pytest.approx(1 / 3)
    assert jpeg["level_accuracy"] == pytest.approx(2 / 3)
    assert jpeg["parameter_error"] == pytest.approx((0 + 77 + 5) / 3)


def test_averages_count_every_kind_once() -> None:
    found = perception.table(RECORDS)["instruments"]
    assert found["average"]["presence_f1"] == pytest.approx((6 / 9 + 2 / 3) / 2)
    assert found["average"]["level_accuracy"] == pytest.approx((1 / 5 + 2 / 3) / 2)
    assert "parameter_error" not in found["average"]
    assert found["common"]["missing"] == ["blur", "rain", "haze", "low light", "low resolution"]


def test_blur_is_the_mean_of_its_two_kinds() -> None:
    records = [
        record(1, {"defocus_blur": said(3, 3), "motion_blur": said(None, 0), "rain": said(60, 60)}),
        record(
            2, {"defocus_blur": said(None, 0), "motion_blur": said(3, 0), "rain": said(None, 0)}
        ),
        record(3, {"snow": said(0.05, 0.05), "mask": said(None, 0.05)}),
    ]
    found = perception.table(records)["instruments"]
    common = found["common"]["kinds"]
    assert common["blur"]["presence_f1"] == pytest.approx((1 + 0) / 2)
    assert common["rain"]["presence_f1"] == 1
    assert found["common"]["average"]["presence_f1"] == pytest.approx((0.5 + 1) / 2)
    # Snow is not among the seven, a mask that is never there has no F1.
    assert found["average"]["presence_f1"] == pytest.approx((1 + 0 + 1 + 1) / 4)
    assert found["kinds"]["mask"]["presence_f1"] is None
    assert found["kinds"]["mask"]["false_alarms"] == 1


def test_confidence_and_rows_choose_what_counts() -> None:
    other = record(7, {"noise": said(15, 15)}, system="vlm", row="other")
    table = perception.table([*RECORDS, other], confidence=0.5)
    assert table["instruments"]["kinds"]["noise"]["false_alarms"] == 0
    assert table["vlm"]["kinds"]["noise"]["support"] == 1
    assert set(perception.table([*RECORDS, other], rows=["other"])) == {"vlm"}
    assert perception.table([AnswerRecord(sample_id="a", system="s", row="r")]) == {}


def strength(sample: str, system: str, change: float, left: float) -> AnswerRecord:
    scores = {"change_255": change, "left": left}
    return AnswerRecord(sample_id=sample, system=system, row="noise", scores=scores)


def test_control_by_hand() -> None:
    records = [
        AnswerRecord(sample_id="a", system="untouched", row="noise", scores={"change_255": 0}),
        strength("a", "llmra:strength=0.5", 2.0, 0.5),
        strength("a", "llmra", 3.0, 0.3),
        strength("a", "llmra:strength=1.5", 3.5, 0.1),
        strength("b", "llmra:strength=0.5", 4.0, 0.4),
        strength("b", "llmra", 5.0, 0.2),
        # Weaker again, though less is left.
        strength("b", "llmra:strength=1.5", 4.5, 0.15),
        # Not answered at every strength.
        strength("c", "llmra:strength=0.5", 9.0, 0.9),
    ]
    assert control.table(records) == {
        "llmra": {
            "noise": {
                "strengths": [0.5, 1.0, 1.5],
                "samples": 2,
                "change_255": [3.0, 4.0, 4.0],
                "change_255_monotonic": 0.5,
                "left": [0.45, 0.25, 0.125],
                "left_monotonic": 1.0,
            }
        }
    }
    assert control.strength_of("llmra:text=true,strength=0.25") == ("llmra:text=true", 0.25)
    with pytest.raises(UsageError, match="lots"):
        control.strength_of("llmra:strength=lots")
