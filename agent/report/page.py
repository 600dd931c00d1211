"""What all HTML pages of this project share: one file each, nothing fetched, light and dark, readable without its script."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import conservator
from conservator.restorers.errors import BackendMissingError

if TYPE_CHECKING:
    from jinja2 import Environment, Template

__all__ = ["template"]


def template(folder: Path, name: str, *styles: str) -> Template:
    """A page's template; it may extend and import the shared `base.html.j2` and `parts.html.j2`.

    Everything that a template is given is escaped, and no script runs but the page's own.

    Args:
        folder: where it lies.
        name: of its file.
        styles: names of style sheets beside it, put below the shared one.

    Raises:
        BackendMissingError: jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401  what is cached below would hide that it is gone
    except ImportError as error:
        raise BackendMissingError("an HTML page needs jinja2; pip install jinja2") from error
    return _environment(folder, styles).get_template(name)


@cache
def _environment(folder: Path, styles: tuple[str, ...]) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    shared = Path(__file__).parent
    pages = Environment(
        loader=FileSystemLoader([folder, shared]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sheets = [shared / "style.css", *(folder / style for style in styles)]
    script = (shared / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    pages.globals.update(
        version=conservator.__version__,
        style=Markup("".join(sheet.read_text(encoding="utf-8") for sheet in sheets)),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
    )
    return pages
