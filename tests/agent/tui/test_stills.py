"""The pictures of the documentation: a screen as SVG, and all of them out of one session."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.segment import Segment
from rich.style import Style

from conservator.agent.tui.opening import Opening
from conservator.agent.tui.stills import STATES, main, still, take

SVG = "{http://www.w3.org/2000/svg}"
ROW = [
    Segment("╭─ ", Style(color="#ff0000")),
    Segment("a<b", Style(color="#00ff00", bgcolor="#000080", bold=True)),
    Segment("▀▀", Style(color="#010203", bgcolor="#040506")),
]


def test_letters_lines_and_pictures() -> None:
    drawn = ElementTree.fromstring(still([ROW, ROW], 8, (0, 0, 0)))
    assert drawn.get("viewBox") == "0 0 80 40"
    texts = drawn.findall(f"{SVG}text")
    assert [text.text for text in texts] == ["a<b", "a<b"]
    assert texts[0].get("x") == "30" and texts[0].get("font-weight") == "bold"
    assert texts[0].get("fill") == "#00ff00"
    paths = drawn.findall(f"{SVG}path")
    assert len(paths) == 2 and paths[0].get("stroke") == "#ff0000"
    grounds = [rect.get("fill") for rect in drawn.findall(f"{SVG}rect")]
    assert grounds == ["#000000", "#000080", "#000080"]
    (picture,) = drawn.findall(f"{SVG}image")
    data = picture.get("href", "")
    assert data.startswith("data:image/png;base64,")

    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    pixels = Image.open(BytesIO(b64decode(data.partition(",")[2])))
    assert pixels.size == (8, 4)
    assert pixels.getpixel((6, 0)) == (1, 2, 3, 255)
    assert pixels.getpixel((6, 1)) == (4, 5, 6, 255)
    assert pixels.getpixel((0, 0))[3] == 0


def test_all_states_out_of_a_session(noisy_png: Path, quick_yaml: Path, tmp_path: Path) -> None:
    before = {path.name for path in noisy_png.parent.iterdir()}
    into = tmp_path / "pictures"
    take([noisy_png], into, Opening(policy=str(quick_yaml), vlm="none"))
    for state in STATES:
        drawn = ElementTree.parse(into / f"tui-{state}.svg")
        words = " ".join(text.text or "" for text in drawn.iter(f"{SVG}text"))
        told = {"approve": "Before this step", "session": "t1", "start": "noisy"}[state]
        assert told in words
    assert {path.name for path in noisy_png.parent.iterdir()} - {into.name} == before


def test_it_says_what_it_wants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["one.png"]) == 2
    assert "PHOTO... FOLDER" in capsys.readouterr().err
