"""The shell that asks DNS servers, run against servers of the test."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator

from roles.coredns.dns import Reply, ask, query, replies

# A label of ten letters: its length is a newline byte, at which a shell's own printf would cut the datagram in two.
NAMES = ("ten-letter.a", "later.a")


@contextlib.contextmanager
def dns_server(known: str) -> Iterator[tuple[int, list[bytes]]]:
    """Knows one name; answers NXDOMAIN for others, and does not answer other messages."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    question, client = server.recvfrom(512)
                    asked.append(question)
                    answers, code = (b"\0\1", 0) if question == query(known) else (b"\0\0", 3)
                    row = b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\xc0\0\2\1" if not code else b""
                    head = question[:2] + bytes([0x81, 0x80 | code]) + b"\0\1" + answers + b"\0\0\0\0"
                    server.sendto(head + question[12:] + row, client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], asked
        finally:
            ended.set()
            thread.join()


def _run(port: int) -> dict[str, Reply]:
    done = subprocess.run(["sh", "-c", ask(["127.0.0.1"], NAMES, port=port)], capture_output=True, text=True, check=False)
    return replies(done.stdout)


def test_a_question_arrives_whole_and_the_first_answer_ends_it() -> None:
    with dns_server(NAMES[0]) as (port, asked):
        assert [str(a) for a in _run(port)["127.0.0.1"].addresses] == ["192.0.2.1"]
    assert asked == [query(NAMES[0])]


def test_the_next_name_is_asked_when_the_first_is_not_known() -> None:
    with dns_server(NAMES[1]) as (port, asked):
        assert _run(port)["127.0.0.1"].addresses
    assert asked == [query(name) for name in NAMES]


def test_an_unknown_name_and_a_missing_server_are_reported() -> None:
    with dns_server("other") as (port, _):
        assert _run(port) == {"127.0.0.1": Reply(why="NXDOMAIN")}
    assert _run(port) == {"127.0.0.1": Reply(why="no answer")}
