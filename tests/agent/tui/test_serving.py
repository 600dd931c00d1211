"""The UI in a browser: only its own page may connect, and it says that nobody is asked who they are."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession, WSMsgType, WSServerHandshakeError

from conservator.agent.errors import UsageError
from conservator.agent.tui import serving
from conservator.agent.tui.serving import own_page

SOURCE = str(Path(__file__).parents[3] / "src")
HERE = ("127.0.0.1", 8000)


@pytest.mark.parametrize(
    ("listens", "asked", "origin", "own"),
    [
        (HERE, "127.0.0.1:8000", None, True),
        (HERE, "127.0.0.1:8000", "http://127.0.0.1:8000", True),
        (HERE, "localhost:8000", "http://localhost:8000", True),
        # Another page in the same browser, and a name that somebody gave to this address.
        (HERE, "127.0.0.1:8000", "http://evil.example", False),
        (HERE, "127.0.0.1:8000", "http://127.0.0.1:9000", False),
        (HERE, "evil.example:8000", "http://evil.example:8000", False),
        (HERE, "evil.example:8000", None, False),
        (HERE, "127.0.0.1:8000", "null", False),
        (HERE, "", None, False),
        (("0.0.0.0", 8000), "box.lan:8000", "http://box.lan:8000", True),
        (("0.0.0.0", 8000), "box.lan:8000", "http://evil.example", False),
    ],
)
def test_who_may_connect(listens, asked: str, origin: str | None, own: bool) -> None:
    assert own_page(*listens, asked=asked, origin=origin) is own


@contextmanager
def served(port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The command as a user starts it."""
    program = [sys.executable, "-m", "conservator.agent.cli.main", "tui", "--serve"]
    process = subprocess.Popen(
        [*program, "--port", str(port), str(folder)],
        env={**os.environ, "PYTHONPATH": SOURCE, "CONSERVATOR_STATE_DIR": str(folder / "state")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert process.stderr is not None
        process.stderr.close()


async def answered(browser: ClientSession, url: str) -> str:
    end = time.monotonic() + 100
    while True:
        try:
            async with browser.get(url) as page:
                assert page.status == 200
                return await page.text()
        except ClientConnectorError:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)


async def test_the_page_and_its_connection(tmp_path: Path, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with served(unused_tcp_port, tmp_path) as process:
        async with ClientSession() as browser:
            text = await answered(browser, url)
            assert "Conservator" in text
            # Nothing is fetched from elsewhere.
            assert not [u for u in re.findall(r"https?://[^\"' ]+", text) if not u.startswith(url)]
            async with browser.get(url, headers={"Host": "evil.example"}) as stranger:
                assert stranger.status == 403
            for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
                with pytest.raises(WSServerHandshakeError):
                    await browser.ws_connect(f"{url}/ws", headers=headers)
            where = f"{url}/ws?width=80&height=24"
            async with browser.ws_connect(where, headers={"Origin": url}) as socket:
                seen = b""
                while b"Conservator" not in seen:
                    message = await asyncio.wait_for(socket.receive(), 100)
                    assert message.type in (WSMsgType.BINARY, WSMsgType.TEXT), (message, seen)
                    seen += message.data if message.type is WSMsgType.BINARY else b""
                # Ctrl-Q ends the process behind the connection, and with it the connection.
                await socket.send_str(json.dumps(["stdin", "\x11"]))
                closed = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)
                while (await asyncio.wait_for(socket.receive(), 100)).type not in closed:
                    pass
        assert process.poll() is None
        assert process.stderr is not None
        assert url in process.stderr.readline()
        assert "no authentication" in process.stderr.readline()


def test_a_port_that_is_taken(unused_tcp_port_factory) -> None:
    import socket

    port = unused_tcp_port_factory()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            serving.serve([], host="127.0.0.1", port=port)
