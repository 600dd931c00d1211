"""The pool of worker processes: one conversation a process, a clock for each answer, and what to do when one dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from conservator.evals.log import RunFolder
from conservator.evals.sample import AnswerRecord, Request

__all__ = ["Pool", "Progress"]

Progress = Callable[[int, int, AnswerRecord | None], None]
"""Called with (answers done, answers in all, the newest record)."""

LOADING_S = 300.0
"""A worker that says nothing for so long before its first answer is stuck."""


class _WorkerDiedError(Exception):
    """The process ended without an answer."""


class Pool:
    """Workers, and the queue they take from."""

    def __init__(
        self, run: RunFolder, config: Mapping[str, Any], total: int, done: int, tell: Progress
    ) -> None:
        self.run, self.tell = run, tell
        self.seconds, self.retries = float(config["seconds"]), int(config["retries"])
        self.threads = int(config["threads"])
        self.total, self.done = total, done

    async def work(self, jobs: Sequence[Request], count: int) -> None:
        """Answer every job with `count` processes; cancelling it ends them."""
        queue: asyncio.Queue[Request] = asyncio.Queue()
        for job in jobs:
            queue.put_nowait(job)
        with (
            (self.run.path / "log.txt").open("ab") as log,
            # All that workers put aside, so that a killed one leaves nothing behind.
            tempfile.TemporaryDirectory(prefix="conservator-eval-") as scratch,
        ):
            tasks = [asyncio.create_task(self._serve(queue, log, scratch)) for _ in range(count)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, queue: asyncio.Queue[Request], log: IO[bytes], scratch: str) -> None:
        worker = _Process(self.run.path, self.threads, log, scratch)
        try:
            while not queue.empty():
                await self._do(worker, queue.get_nowait())
            await worker.stop()
        finally:
            # Interrupted: its answer is owed again anyway, so nobody waits for it.
            await worker.kill()

    async def _do(self, worker: _Process, job: Request) -> None:
        """One sample: what a killed worker leaves open is asked again, without the system that it died of."""
        owed, deaths = dict(job.digests), 0
        while owed:
            running, since = "", time.monotonic()
            try:
                await worker.ask(job.model_copy(update={"digests": owed}))
                while True:
                    patience = self.seconds if running else LOADING_S
                    reply = await asyncio.wait_for(worker.listen(), patience)
                    if "begin" in reply:
                        running, since = reply["begin"], time.monotonic()
                    elif "record" in reply:
                        record = AnswerRecord.model_validate(reply["record"])
                        owed.pop(record.system, None)
                        running = ""
                        self._note(record)
                    else:
                        return
            except TimeoutError:
                await worker.kill()
                if not running:
                    self._fail(job, owed, f"the worker loaded for more than {LOADING_S:g} s")
                    return
                spent = time.monotonic() - since
                await self._stand_in(worker, job, running, owed.pop(running), spent)
            except _WorkerDiedError as death:
                deaths += 1
                if deaths > self.retries:
                    name = running or next(iter(owed))
                    self._fail(job, {name: owed.pop(name)}, str(death))
                    deaths = 0

    async def _stand_in(
        self, worker: _Process, job: Request, system: str, digest: str, spent: float
    ) -> None:
        reason = f"no answer within {self.seconds:g} s; scored as the untouched input"
        asked = {"digests": {system: digest}, "seconds": round(spent, 2), "stand_in": reason}
        try:
            await worker.ask(job.model_copy(update=asked))
            while "end" not in (reply := await asyncio.wait_for(worker.listen(), LOADING_S)):
                self._note(AnswerRecord.model_validate(reply["record"]))
        except (TimeoutError, _WorkerDiedError):
            await worker.kill()
            self._fail(job, {system: digest}, reason.split(";")[0])

    def _fail(self, job: Request, owed: Mapping[str, str], reason: str) -> None:
        for system, digest in owed.items():
            self._note(AnswerRecord.failed(job.spec, system, reason, digest))

    def _note(self, record: AnswerRecord) -> None:
        self.run.append([record])
        self.done += 1
        self.tell(self.done, self.total, record)


class _Process:
    """One worker process, started when first asked."""

    def __init__(self, run: Path, threads: int, log: IO[bytes], scratch: str) -> None:
        self.run, self.threads, self.log, self.scratch = run, threads, log, scratch
        self.process: asyncio.subprocess.Process | None = None

    async def ask(self, request: Request) -> None:
        if self.process is None:
            environment = os.environ | {
                "OMP_NUM_THREADS": str(self.threads),
                "MKL_NUM_THREADS": str(self.threads),
                "TMPDIR": self.scratch,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            }
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "conservator.evals.worker",
                str(self.run),
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self.log,
                env=environment,
                limit=2**24,
                start_new_session=True,  # Ctrl-C is for the runner, which then ends its workers
            )
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{request.model_dump_json()}\n".encode())
            await self.process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise _WorkerDiedError(await self._last_words()) from None

    async def listen(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line.endswith(b"\n"):
            raise _WorkerDiedError(await self._last_words())
        reply: dict[str, Any] = json.loads(line)
        return reply

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            # The whole session: a program under test may have children.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
        self.process = None

    async def stop(self) -> None:
        """Ask an idle worker to end."""
        if self.process is None or self.process.stdin is None:
            return
        self.process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), 10)

    async def _last_words(self) -> str:
        code = await self.process.wait() if self.process is not None else 0
        self.process = None
        if code < 0:
            name = signal.Signals(-code).name
            cause = " (perhaps out of memory)" if name == "SIGKILL" else ""
            return f"the worker was ended by {name}{cause}"
        return f"the worker ended with code {code}; see log.txt"
