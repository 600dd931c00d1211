"""`conservator report`: a run or a dialogue as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from conservator.agent.cli.console import emit_json, emit_path, say
from conservator.agent.cli.options import PATH, Command, json_option, output_option, overwriting

__all__ = ["report"]


@click.command(cls=Command)
@click.argument("run", metavar="RUN", type=PATH)
@output_option("File to write (.html). Default: report.html in RUN, which is replaced.")
@json_option
@overwriting("Replace an existing OUT.")
def report(run: Path, output: Path | None, as_json: bool, overwrite: bool) -> None:
    """Write what a run or a dialogue did as one HTML page.

    RUN is a run folder, finished or not, the folder of a dialogue, its name as `conservator sessions list` shows it, or a
    report.json. The page holds its pictures and needs no network; of pictures that are gone it says so. A run writes its own
    when it ends.
    """
    from conservator.agent.report.writing import make_report

    written = make_report(_place(run), output, overwrite=overwrite)
    if written.gone:
        say(f"no pictures any more of: {'; '.join(written.gone)}")
    if as_json:
        emit_json(
            {
                "path": str(written.path),
                "kind": written.kind,
                "gone": list(written.gone),
                "report": dict(written.data),
            }
        )
    else:
        emit_path(written.path)


def _place(run: Path) -> Path:
    """The folder or file that is meant."""
    if run.exists():
        return run
    from conservator.agent import archive

    return archive.find(str(run)).path
