"""The accuracy table of the instruments counts right."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from skimage import data

from conservator.evals.instrument_accuracy import Tally, cases_of, main, markdown, measured
from conservator.restorers.degradations.vocabulary import Finding, Kind, Level, level_of


def finding(kind: Kind, value: float) -> Finding:
    return Finding(kind=kind, value=value, confidence=0.5, source="instrument")


def tallied(pairs: list[tuple[float, float]]) -> Tally:
    tally = Tally()
    for true, seen in pairs:
        truth = {Kind.NOISE: true} if true else {}
        tally.add(truth, {Kind.NOISE: finding(Kind.NOISE, seen)})
    return tally


class TestTally:
    def test_figures(self):
        accuracy = tallied([(15, 15), (15, 30), (30, 0), (0, 0), (0, 20)]).accuracy(Kind.NOISE)
        assert accuracy is not None
        assert accuracy.count == 3
        assert accuracy.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
        assert accuracy.false_alarms == pytest.approx(1 / 2)
        assert accuracy.level == pytest.approx(1 / 3)
        assert accuracy.error == pytest.approx((0 + 15 + 30) / 3)

    def test_kinds_that_were_never_judged_have_no_figures(self):
        assert tallied([(15, 15)]).accuracy(Kind.RAIN) is None

    def test_the_table_has_a_row_a_kind_and_leaves_silent_instruments_out(self):
        table = markdown({"classical": tallied([(15, 15)]), "learned": Tally()})
        assert len(table.splitlines()) == 2 + len(Kind)
        assert "learned" not in table
        assert "| noise | standard deviation, of 255 | 1.00 | 0.000 | 1.00 | 0 |" in table


class TestCases:
    def test_each_kind_comes_at_each_level_and_repeats(self):
        clean = (data.coffee()[:96, :96] / 255).astype(np.float32)
        first = list(itertools.islice(cases_of(clean, "coffee"), 1 + 4 * len(Kind)))
        again = list(itertools.islice(cases_of(clean, "coffee"), 1 + 4 * len(Kind)))
        assert first[0][2] == {}
        for kind in Kind:
            levels = {level_of(kind, t[kind]) for _, _, t in first if kind in t}
            assert levels == set(Level) - {Level.ABSENT}
        for (name, image, truth), (_, same, _) in zip(first, again, strict=True):
            assert image.shape == clean.shape, name
            assert (image == same).all()
            assert (name == "clean") or (image != clean).any(), truth

    def test_combinations_keep_the_size_and_name_what_they_did(self):
        clean = (data.coffee()[:64, :64] / 255).astype(np.float32)
        mixed = [case for case in cases_of(clean, "coffee") if case[0].startswith("mio16:")]
        assert len(mixed) == 11
        for _, image, truth in mixed:
            assert image.shape == clean.shape
            assert 2 <= len(truth) <= 3
            assert Kind.LOW_RESOLUTION not in truth

    def test_every_instrument_is_asked(self):
        found = measured((data.coffee()[:96, :96] / 255).astype(np.float32))
        assert set(found) == {"classical", "learned", "fused"}
        assert set(found["fused"]) == set(Kind)


def test_the_command_names_its_usage(capsys):
    assert main(["--folder", "x"]) == 2
    assert "--images FOLDER" in capsys.readouterr().err
