"""Reading HTML pages: well formed, self-contained, accessible."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from PIL import Image

VOID = {"meta", "img", "input", "link", "br"}


class Page(HTMLParser):
    """Elements with their attributes; refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def self_contained(text: str) -> Page:
    """The page, after checking that it fetches nothing and runs no script but its own."""
    page = Page(text)
    addresses = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data", "poster") and value
    ]
    assert addresses
    assert all(re.match(r"data:image/(webp|jpeg|png);base64,|#", a) for a in addresses)
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    assert "url(" not in style
    assert "@import" not in style
    policy = str(next(m for m in page.all("meta") if m.get("http-equiv"))["content"])
    assert "default-src 'none'" in policy
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    handlers = [name for _, a in page.elements for name in a if name.startswith("on")]
    assert not handlers
    anchors = [a["id"] for _, a in page.elements if a.get("id")]
    assert len(set(anchors)) == len(anchors)
    assert {a[1:] for a in addresses if a.startswith("#")} <= set(anchors)
    return page


def fetches_nothing_named(text: str) -> None:
    """No address of any kind; only for pages whose data name none."""
    assert "//" not in re.sub(r"data:[^\"]*", "", text).replace("</", "")
    assert "http:" not in text and "https:" not in text


def accessible(page: Page) -> None:
    """Pictures have words, controls labels, tables heads."""
    for image in page.all("img"):
        # The two of the slider take picture and words from those below when the script runs.
        assert image.get("alt") or "src" not in image
        assert "alt" in image
    for figure in page.all("svg"):
        assert figure["role"] == "img"
        assert figure["aria-label"]
    for control in page.all("input"):
        assert control["aria-label"]
    for head in page.all("th"):
        assert head["scope"] in ("row", "col")
    assert page.all("html") == [{"lang": "en"}]


def pixels_of(uri: str) -> np.ndarray:
    """A data URI as (H, W, 3), uint8."""
    with Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))
