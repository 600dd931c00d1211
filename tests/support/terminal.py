"""The command line at a terminal of its own."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

SOURCE = str(Path(__file__).parents[2] / "src")


class Terminal:
    """`conservator WORDS` with a pseudo-terminal for everything."""

    def __init__(self, *words: object) -> None:
        self._us, them = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "conservator.agent.cli.main", *map(str, words)],
            env={**os.environ, "PYTHONPATH": SOURCE, "TERM": "dumb"},
            stdin=them,
            stdout=them,
            stderr=them,
            start_new_session=True,
        )
        os.close(them)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._us, text.encode())

    def wait_for(self, words: str) -> None:
        end = time.monotonic() + 120
        while words not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self._us], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self._us, 65536).decode(errors="replace")
                except OSError:
                    break
        assert words in self.seen, self.seen

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._us)
