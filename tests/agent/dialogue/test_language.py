"""What a line of the conversation is."""

import pytest

from conservator.agent.dialogue.language import Command, read_line

LINES: dict[str, Command] = {
    "restore": Command("restore"),
    "<restore>": Command("restore"),
    "Restore it, please.": Command("restore"),
    "restore the grain": Command("refine", ("restore the grain",)),
    "too dark": Command("refine", ("too dark",)),
    "<refine> less noise": Command("refine", ("less noise",)),
    "undo": Command("undo"),
    "undo that": Command("undo"),
    "go back": Command("undo"),
    "undo the denoising": Command("refine", ("undo the denoising",)),
    "redo": Command("redo"),
    "satisfied": Command("satisfied"),
    "I'm satisfied, thanks!": Command("satisfied"),
    "that\u2019s it": Command("satisfied"),
    "not satisfied": Command("refine", ("not satisfied",)),
    "compare": Command("compare"),
    "compare t1 t2": Command("compare", ("t1", "t2")),
    "compare t1 with original": Command("compare", ("t1", "original")),
    "why": Command("why"),
    "Why t3?": Command("why", ("t3",)),
    "why did you remove the noise?": Command("why"),
    "go t9": Command("go", ("t9",)),
    "go back to t1": Command("go", ("t1",)),
    "start over": Command("go", ("original",)),
    "compare with the original": Command("compare", ("original",)),
    "go soft": Command("go", ("soft",)),
    "go easy on the noise": Command("refine", ("go easy on the noise",)),
    "branch warm": Command("branch", ("warm",)),
    "tree": Command("tree"),
    "save": Command("save"),
    "save out.png": Command("save", ("out.png",)),
    "export out.png": Command("save", ("out.png",)),
    "save as 'my  file.png' overwrite": Command("save", ("my  file.png",), overwrite=True),
    "save the highlights": Command("refine", ("save the highlights",)),
    "help": Command("help"),
    "?": Command("help"),
    "quit": Command("quit"),
    "": Command("nothing"),
    "# a note": Command("nothing"),
}


@pytest.mark.parametrize("line", LINES)
def test_lines(line: str) -> None:
    assert read_line(line, ("main", "soft")) == LINES[line]
