"""The HTML pages: well formed, self-contained, every name escaped, every picture with words."""

import base64
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from conservator.agent.report import page
from conservator.evals.compare import Side, compare
from conservator.evals.export import export
from conservator.evals.report import embedding, plots
from conservator.evals.report.cases import cases_of, focus_of
from conservator.evals.report.embedding import Album
from conservator.evals.report.page import comparison_page
from html_page import Page, accessible, fetches_nothing_named, self_contained


@pytest.fixture
def report(make_run, tmp_path) -> Page:
    run = make_run("one", failed={"noise 25/a"}, blurred={"jpeg 10/b": 5.0})
    text = export(run, "html", tmp_path / "report.html").read_text(encoding="utf-8")
    fetches_nothing_named(text)
    return self_contained(text)


def test_the_report_holds_everything(report) -> None:
    accessible(report)
    for words in (
        "tiny@2",
        "noise and <blocks>",
        "agent reached psnr",
        "of the oracle's gain",
        "1 answer failed",
        "FFDNet (published)",
        "32.25",
        "RestorerError: <b>it broke</b> | here",
        "abc1234",
        "2026-01-02",
        "Gain over the untouched input",
        "Quality and time",
    ):
        assert words in report.text, words
    titles = {figure["aria-label"] for figure in report.all("svg")}
    assert len(titles) == len(report.all("svg")) == 6


def test_names_are_data(report) -> None:
    assert "noise 25/<i>&" in report.text
    assert not report.all("i")
    assert not report.all("blocks")
    # Tags that a reason would open: only the template's own <b> in the cases' labels.
    assert len(report.all("b")) == len([f for f in report.all("figure") if f.get("class")])


def test_pictures_are_the_runs_own(report) -> None:
    pictures = {i["alt"]: i for i in report.all("img") if "data-name" in i}
    for name in ("input", "agent", "oracle", "reference"):
        uri = str(pictures[f"jpeg 10/b: {name}"]["src"])
        data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
        with Image.open(BytesIO(data)) as image:
            assert image.format == "WEBP"
            assert image.size == (96, 64)
    assert "noise 25/a: agent" not in pictures
    choices = [option for option in report.all("select") if option["data-side"] == "left"]
    assert len(choices) == len(report.all("figure")) - 6


def test_cases_are_worst_first(make_run) -> None:
    run = make_run("one", blurred={"jpeg 10/b": 5.0})
    cases, left_out = cases_of(run, run.records(), run.summary, Album())
    assert not left_out
    assert cases[0].sample_id == "jpeg 10/b"
    assert cases[0].label == "worst"
    assert "psnr -" in cases[0].words
    assert {case.label for case in cases} == {"worst", "best", "typical"}
    assert len({case.sample_id for case in cases}) == len(cases) == 6
    assert [picture.name for picture in cases[0].pictures] == [
        "input",
        "agent",
        "oracle",
        "reference",
    ]
    assert (cases[0].left, cases[0].right) == ("input", "agent")


def test_the_budget_holds(make_run) -> None:
    run = make_run("one")
    whole, _ = cases_of(run, run.records(), run.summary, Album())
    size = sum(len(picture.uri) for picture in whole[0].pictures)
    some, left_out = cases_of(run, run.records(), run.summary, Album(left=size + 10))
    assert some[0] == whole[0]
    assert len(some) + left_out == len(whole)
    assert left_out


def test_large_pictures_are_reduced() -> None:
    noise = np.random.default_rng(0).random((900, 1500, 3)).astype(np.float32)
    shown = Album().add([("input", noise)])[0]
    assert (shown.width, shown.height) == (embedding.SIDE, 384)


def test_a_run_without_pictures_or_rivals(make_run, tmp_path) -> None:
    run = make_run("bare", systems=("untouched",))
    for picture in run.path.rglob("*.png"):
        picture.unlink()
    page = self_contained(export(run, "html", tmp_path / "bare.html").read_text(encoding="utf-8"))
    accessible(page)
    assert focus_of(run.summary) is None
    assert not page.all("img")
    assert "untouched" in page.text


def test_the_comparison_shows_both_answers(make_run) -> None:
    one = make_run("one")
    two = make_run("two", blurred={"noise 25/<i>&": 6.0})
    page = self_contained(comparison_page(compare(Side(one), Side(two))))
    accessible(page)
    names = {i["data-name"] for i in page.all("img") if "data-name" in i}
    assert names == {"input", "agent in one", "agent in two", "reference"}
    assert "noise 25/<i>&" in page.text
    stage = next(e for e in page.all("div") if e.get("class") == "stage")
    assert (stage["data-left"], stage["data-right"]) == ("agent in one", "agent in two")
    systems = self_contained(comparison_page(compare(Side(one, "oracle"), Side(one, "agent"))))
    assert "oracle → agent" in systems.text


def test_plots_place_values_where_the_axis_says() -> None:
    axis = plots.Axis(0, 10, 100, 200)
    assert [axis.at(v) for v in (-5, 0, 2.5, 10, 99)] == [100, 100, 125, 200, 200]
    times = plots.Axis(0.1, 10, 100, 200, logarithmic=True)
    assert times.at(1) == 150
    assert times.ticks() == [0.1, 0.2, 0.5, 1, 2, 5, 10]
    assert plots.nice_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert plots.nice_ticks(-0.3, 0.31) == [-0.2, 0, 0.2]
    assert plots.nice_ticks(0, 0.6) in ([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0, 0.2, 0.4, 0.6])
    assert plots.nice_ticks(5, 5) == [5]


def test_plots_are_drawn_from_the_values() -> None:
    name = 'a<b>"&'
    svg = ElementTree.fromstring(
        plots.strips({name: [-1.0, 1.0, 3.0]}, {}, "gain", {name: "var(--series-0)"})
    )
    dots = [float(c.attrib["cx"]) for c in svg.iter("circle")]
    assert dots == sorted(dots)
    assert dots[2] - dots[1] == pytest.approx(dots[1] - dots[0], abs=0.2)
    zero = next(e for e in svg.iter("line") if e.attrib.get("class") == "zero")
    assert dots[0] < float(zero.attrib["x1"]) < dots[1]
    assert name in "".join(svg.itertext())
    assert plots.strips({}, {}, "gain", {}) == plots.bars({"x": 0.0}, "t", "s", {}) == ""
    bars = ElementTree.fromstring(plots.bars({"x": 1.0, "y": 2.0}, "t", "s", {}))
    widths = [float(e.attrib["width"]) for e in bars.iter("rect")]
    assert widths[1] == pytest.approx(2 * widths[0])


def test_many_samples_do_not_swell_the_page() -> None:
    values = np.random.default_rng(0).normal(0, 1, 5000).tolist()
    assert plots.strips({"x": values}, {}, "gain", {}).count("<circle") <= plots.MOST_DOTS


def test_templates_ship_with_the_package() -> None:
    names = {path.name for path in Path(embedding.__file__).parent.iterdir()}
    assert {"report.html.j2", "compare.html.j2", "plots.css"} <= names
    shared = {path.name for path in Path(page.__file__).parent.iterdir()}
    assert {"base.html.j2", "parts.html.j2", "style.css", "page.js"} <= shared
