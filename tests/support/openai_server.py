"""A server that speaks enough of OpenAI's and vLLM's protocol for a client to be tested, or to be started in vLLM's place.

As a program it takes vLLM's arguments, ignores most of them, and serves until it is stopped.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


def says(text: str, *, finish: str = "stop", tokens: tuple[int, int] = (10, 5)) -> Reply:
    message = {"role": "assistant", "content": text}
    return lambda request: (200, completion(message, finish, tokens))


def fails(status: int) -> Reply:
    return lambda request: (status, {"error": {"message": "busy", "type": "server_error"}})


def completion(
    message: dict[str, Any], finish: str = "stop", tokens: tuple[int, int] = (10, 5)
) -> dict[str, Any]:
    asked, answered = tokens
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "seer",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": answered,
            "total_tokens": asked + answered,
        },
    }


@dataclass
class Spoken:
    """A running server.

    Attributes:
        replies: what it answers, in order; the last one again and again.
        requests: what it was asked.
        keys: the keys it was shown.
        most: the most requests it had at once.
    """

    replies: list[Reply]
    models: tuple[str, ...] = ("seer",)
    key: str | None = None
    delay_s: float = 0.0
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    most: int = 0
    now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def openai_server(
    *replies: Reply,
    models: tuple[str, ...] = ("seer",),
    key: str | None = None,
    delay_s: float = 0.0,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[Spoken]:
    spoken = Spoken(list(replies or (says("yes"),)), models, key, delay_s)
    server = ThreadingHTTPServer((host, port), _handler(spoken))
    spoken.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield spoken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(spoken: Spoken) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/health":
                self.send(200, {})
            elif self.path == "/v1/models":
                allowed = spoken.key is None or self.shown() == spoken.key
                data = {"data": [{"id": name} for name in spoken.models]}
                self.send(200 if allowed else 401, data)
            elif self.path == "/strange/models":
                self.send(200, {"objects": []})
            else:
                self.send(404, {})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with spoken.lock:
                spoken.now += 1
                spoken.most = max(spoken.most, spoken.now)
                spoken.requests.append(request)
                spoken.keys.append(self.shown())
                reply = spoken.replies[0] if len(spoken.replies) == 1 else spoken.replies.pop(0)
            time.sleep(spoken.delay_s)
            with spoken.lock:
                spoken.now -= 1
            self.send(*reply(request))

        def shown(self) -> str | None:
            return (self.headers["Authorization"] or "").removeprefix("Bearer ") or None

        def send(self, status: int, data: dict[str, Any]) -> None:
            body = json.dumps(data).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                # The client would not wait.
                self.close_connection = True

    return Handler


if __name__ == "__main__":
    words = argparse.ArgumentParser(allow_abbrev=False)
    words.add_argument("--served-model-name")
    words.add_argument("--host")
    words.add_argument("--port", type=int)
    words.add_argument("--die", action="store_true")
    words.add_argument("--deaf", action="store_true")
    given, _ = words.parse_known_args()
    print("arguments:", json.dumps(sys.argv[1:]), flush=True)
    if given.die:
        sys.exit("RuntimeError: Failed to infer device type")
    if given.deaf:
        time.sleep(600)
    with openai_server(models=(given.served_model_name,), host=given.host, port=given.port):
        time.sleep(600)
