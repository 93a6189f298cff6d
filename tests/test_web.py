"""The real server, spoken to byte by byte: slow clients, heads that are no heads, and its end."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

import psutil
import pytest

from admin_app.config import Settings
from admin_app.web import listen
from tests.security.responses import HEADERS
from tests.web_process import HEAD_SECONDS, LARGE_BYTES, PIECES, STALL_SECONDS

HOST = b"Host: localhost\r\n"
GET = b"GET /live HTTP/1.1\r\n" + HOST
READY = b"GET /ready HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
POST = b"POST /admin/login HTTP/1.1\r\nSec-Fetch-Site: none\r\n" + HOST
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
LONGEST_SECONDS = 8.0
"""Of anything here: far more than the server's patience, far less than for ever."""


def eventually(condition: Callable[[], object], seconds: float = LONGEST_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


class Web:
    """`tests.web_process` as a process."""

    def __init__(self, settings: Settings, listener: socket.socket | None = None) -> None:
        handed_down = [] if listener is None else [listener.fileno()]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.web_process", *map(str, handed_down)],
            pass_fds=handed_down,
            env={
                **os.environ,
                "DATABASE_URL": settings.database_url,
                "REDIS_URL": settings.redis_url,
                "SECRET_KEY": settings.secret_key.get_secret_value(),
                "DATA_DIR": str(settings.data_dir),
                "PUBLIC_URL": "https://localhost",
                "DRAIN_SECONDS": str(settings.drain_seconds),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.line())

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.settimeout(LONGEST_SECONDS)
        return connection

    def connections(self) -> int:
        found = psutil.Process(self.process.pid).net_connections(kind="tcp")
        return sum(1 for item in found if item.raddr and item.laddr.port == self.port)


@pytest.fixture(scope="module")
def web(settings: Settings) -> Iterator[Web]:
    web = Web(settings)
    yield web
    web.process.terminate()
    web.process.wait(LONGEST_SECONDS)


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server has closed the connection; TimeoutError if it does not."""
    received = b""
    with connection:
        while piece := connection.recv(1 << 20):
            received += piece
    return received


def answer(web: Web, sent: bytes) -> bytes:
    connection = web.connect()
    connection.sendall(sent)
    return rest_of(connection)


def status_of(received: bytes) -> int:
    return int(received.split(b" ", 2)[1])


def dripped(web: Web, first: bytes, drop: bytes) -> bytes:
    """What came of sending `first` and then a drop every tenth of a second, until the server had enough."""
    connection = web.connect()
    connection.sendall(first)
    connection.settimeout(0.1)
    received, deadline = b"", time.monotonic() + LONGEST_SECONDS
    with connection:
        while True:
            assert time.monotonic() < deadline, "the server goes on waiting"
            try:
                piece = connection.recv(1 << 16)
                if not piece:
                    return received
                received += piece
            except TimeoutError:
                pass
            except ConnectionResetError:
                return received
            try:
                connection.sendall(drop)
            except OSError:
                return received


def require_headers(received: bytes) -> None:
    head = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}
    assert {name: headers.get(name) for name in HEADERS} == HEADERS
    assert headers["cache-control"] == "no-store"
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert "server" not in headers
    assert len(headers) == len(head), "a header came twice"


def test_half_a_head_is_answered_and_dropped(web: Web) -> None:
    for half in (b"G", GET, GET + b"X-Name: va", b"\r\n"):
        received = answer(web, half)
        assert status_of(received) == 408, half
        require_headers(received)


def test_who_says_nothing_is_dropped_without_a_word(web: Web) -> None:
    assert answer(web, b"") == b""


def test_a_head_that_drips_is_dropped(web: Web) -> None:
    assert status_of(dripped(web, b"GET /", b"a")) == 408
    assert status_of(dripped(web, GET + b"X: ", b"a")) == 408


def test_a_connection_that_is_kept_is_dropped_too(web: Web) -> None:
    """Each empty line before a request counts as a sign of life for uvicorn, and begins no request."""
    first, _, second = dripped(web, GET + b"\r\n", b"\r\n").partition(b"ok")
    assert status_of(first) == 200
    assert status_of(second) == 408
    received = answer(web, GET + b"\r\n")
    assert status_of(received) == 200
    assert received.endswith(b"\r\n\r\nok")


def test_half_a_body_is_answered_and_dropped(web: Web) -> None:
    for half in (
        b"Content-Length: 100\r\n\r\nemail=a",
        b"Content-Length: 100\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    ):
        received = answer(web, POST + FORM + half)
        assert status_of(received) == 408, half
        assert b"This took too long to arrive" in received
        require_headers(received)


def test_a_body_that_drips_is_dropped(web: Web) -> None:
    announced = POST + FORM + b"Content-Length: 100000\r\n\r\n"
    assert status_of(dripped(web, announced, b"a")) == 408
    chunked = POST + FORM + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status_of(dripped(web, chunked, b"1\r\na\r\n")) == 408


def test_a_slow_but_steady_body_arrives(web: Web) -> None:
    """It takes longer than a body may stand still, at twice the least average."""
    pieces = 8
    connection = web.connect()
    connection.sendall(POST + FORM + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (pieces * 5_000))
    started = time.monotonic()
    for number in range(pieces):
        eventually(lambda due=started + number * 0.3: time.monotonic() >= due)
        connection.sendall(b"x" * 5_000)
    assert time.monotonic() - started > 2 * STALL_SECONDS
    assert status_of(rest_of(connection)) == 401  # it signs nobody in, but it was read


def test_a_body_that_goes_on_after_the_answer_is_dropped(web: Web) -> None:
    received = dripped(web, POST + FORM + b"Content-Length: 1000000\r\n\r\n", b"a")
    assert status_of(received) == 413
    require_headers(received)
    unread = b"POST /live HTTP/1.1\r\nSec-Fetch-Site: none\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    received = dripped(web, unread, b"no chunk")
    assert status_of(received) == 405
    assert received.count(b"HTTP/1.1") == 1, "nobody asked for a second answer"


def test_who_does_not_read_the_answer_is_dropped(web: Web) -> None:
    eventually(lambda: web.connections() == 0)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        connection.connect(("127.0.0.1", web.port))
        connection.sendall(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")
        eventually(lambda: web.connections() == 1)
        eventually(lambda: web.connections() == 0)


def test_who_reads_slowly_gets_all_of_the_answer(web: Web) -> None:
    for kept in (b"", b"Connection: close\r\n"):
        connection = web.connect()
        connection.sendall(b"GET /large HTTP/1.1\r\n" + kept + HOST + b"\r\n")
        received, started = 0, time.monotonic()
        with connection:
            while received < LARGE_BYTES:
                # At this pace the server waits for twice HEAD_SECONDS after it has handed over the answer.
                due = started + 2 * HEAD_SECONDS * received / LARGE_BYTES
                eventually(lambda due=due: time.monotonic() >= due)
                piece = connection.recv(1 << 20)
                assert piece, f"only {received} bytes came"
                received += len(piece)


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (200, GET + b"X: " + b"a" * 60_000 + b"\r\n"),
        (431, GET + b"X: " + b"a" * 65_536 + b"\r\n"),
        (431, GET + b"X: a\r\n" * 11_000),
        (431, GET + b"X: " + b"a" * 2_000_000 + b"\r\n"),
        (431, POST + FORM + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 1_000_000),
        (431, POST + FORM + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: a\r\n" * 200_000),
        (431, POST + FORM + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 1_000_000),
        (404, b"GET /" + b"a" * 15_000 + b" HTTP/1.1\r\n" + HOST),
        (414, b"GET /" + b"a" * 16_000 + b" HTTP/1.1\r\n" + HOST),
        (414, b"GET /?" + b"a" * 60_000 + b" HTTP/1.1\r\n" + HOST),
    ],
    ids=[
        "60 kB of headers",
        "one header of 64 kB",
        "11,000 headers",
        "one header of 2 MB",
        "a trailer of 1 MB",
        "200,000 trailers",
        "a chunk extension of 1 MB",
        "an address of 15 kB",
        "an address of 16 kB",
        "a query of 60 kB",
    ],
)
def test_a_head_has_a_largest_size(web: Web, status: int, head: bytes) -> None:
    connection = web.connect()
    with suppress(ConnectionError):  # the answer is there although not everything was taken
        connection.sendall(head + b"Connection: close\r\n\r\n")
    received = rest_of(connection)
    assert status_of(received) == status
    require_headers(received)


TWO_WAYS = {
    "both lengths": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other way round": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "a list of lengths": b"Content-Length: 4, 5\r\n\r\nabcde",
    "a length with a sign": b"Content-Length: +4\r\n\r\nabcd",
    "a negative length": b"Content-Length: -1\r\n\r\nabcd",
    "a length beyond 64 bits": b"Content-Length: 99999999999999999999\r\n\r\nabcd",
    "a hexadecimal length": b"Content-Length: 0x4\r\n\r\nabcd",
    "another encoding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, but not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked, but not alone": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a tab for the encoding": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a line that ends in CR": b"X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no number for a chunk": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk beyond 64 bits": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na",
    "a chunk longer than announced": b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "two hosts": b"Host: evil.example\r\nContent-Length: 0\r\n\r\n",
    "NUL in a header": b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", TWO_WAYS)
def test_what_two_servers_could_read_differently_is_refused(web: Web, name: str) -> None:
    """Whatever follows is not read either: it could be somebody else's request."""
    received = answer(web, POST + FORM + TWO_WAYS[name] + GET + b"\r\n")
    assert status_of(received) == 400
    assert received.count(b"HTTP/1.1") == 1
    require_headers(received)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /live HTTP/1.1\nHost: localhost\n\n",
        b"GET /live HTTP/1.1\r\n\r\n",
        b"POST /live HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET live HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
        b"NOTHING / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    ],
    ids=["LF", "no host", "1.0", "CONNECT", "HTTP/2", "no slash", "no UTF-8", "no method", "TLS"],
)
def test_what_is_no_request_is_refused(web: Web, sent: bytes) -> None:
    received = answer(web, sent)
    assert status_of(received) == 400
    require_headers(received)


def test_a_failure_and_a_page_that_is_not_there_carry_the_headers_over_the_wire(web: Web) -> None:
    for path, status in ((b"/boom", 500), (b"/nothing", 404), (b"/admin/", 302), (b"/live", 200)):
        received = answer(web, b"GET " + path + b" HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
        assert status_of(received) == status
        require_headers(received)


def test_requests_sent_together_are_answered_in_order_and_a_bad_one_ends_it(web: Web) -> None:
    slow = b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n"
    received = answer(web, slow + GET + b"\r\n" + GET + b"Connection: close\r\n\r\n")
    bodies = [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [b"done", b"ok", b"ok"]
    received = answer(web, slow + b"NOTHING / HTTP/1.1\r\n\r\n")
    assert received.count(b"HTTP/1.1") == 1
    assert received.endswith(b"done")


def test_a_client_that_leaves_takes_its_connection_along(web: Web) -> None:
    eventually(lambda: web.connections() == 0)
    connection = web.connect()
    connection.sendall(POST + FORM + b"Content-Length: 100\r\n\r\nemail=a")
    eventually(lambda: web.connections() == 1)
    connection.close()
    eventually(lambda: web.connections() == 0, HEAD_SECONDS)


def test_sigterm_lets_a_request_finish_and_waits_for_no_idle_client(settings: Settings) -> None:
    web = Web(settings.model_copy(update={"drain_seconds": 1}))
    busy = web.connect()
    busy.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
    assert web.line() == "slow"
    idle, half, kept = web.connect(), web.connect(), web.connect()
    half.sendall(GET)
    kept.sendall(GET + b"\r\n")
    eventually(lambda: kept.recv(1 << 16).endswith(b"ok"))
    eventually(lambda: web.connections() == 4)
    web.process.send_signal(signal.SIGTERM)
    # Whoever balances loads has a second to find out; meanwhile nobody is turned away.
    eventually(lambda: status_of(answer(web, READY)) == 503, 1)
    late = answer(web, GET + b"\r\n")
    assert status_of(late) == 200
    kept.sendall(GET + b"\r\n")
    for received in (late, rest_of(kept)):
        assert received.endswith(b"ok")
        assert b"connection: close\r\n" in received.lower()
    assert rest_of(busy).endswith(b"\r\n\r\ndone")
    for waiting in (idle, half):
        rest_of(waiting)
    with pytest.raises(ConnectionRefusedError):
        web.connect()
    assert web.process.wait(LONGEST_SECONDS) == 0


class Visitors:
    """Clients who ask all the time, each until it was answered by two processes, and never a second time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answered: dict[str, int] = {}
        self.closed = 0
        self.goes_on = True
        self.troubles: list[str] = []
        self._threads: list[threading.Thread] = []

    def send(self, name: str, method: str, path: str, body: Sequence[bytes] | None, expected: bytes) -> None:
        thread = threading.Thread(target=self._ask, args=(name, method, path, body, expected), daemon=True)
        self.answered[name] = 0
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        self.goes_on = False
        for thread in self._threads:
            thread.join(LONGEST_SECONDS)
            assert not thread.is_alive()

    def _ask(self, name: str, method: str, path: str, body: Sequence[bytes] | None, expected: bytes) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=4 * LONGEST_SECONDS)
        headers = {"Host": "localhost", "Sec-Fetch-Site": "none"}
        if body is not None:
            headers |= {"Content-Length": str(sum(map(len, body)))}
            headers |= {"Content-Type": "application/x-www-form-urlencoded"}
        while self.goes_on:
            try:
                # A connection is used until an answer says that it is closed, and only then a new one made.
                connection.request(method, path, body and dripping(body), headers)
                response = connection.getresponse()
                received = response.read()
                self.closed += response.getheader("Connection") == "close"
            except (OSError, HTTPException) as error:
                self.troubles.append(f"{name}: {error!r}")
                return
            if expected not in received:
                self.troubles.append(f"{name}: {received[:200]!r}")
            self.answered[name] += 1


def dripping(pieces: Sequence[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        time.sleep(0.1)  # as slow as the network of whoever uploads


def test_no_request_is_lost_while_one_web_process_ends_and_another_begins(settings: Settings) -> None:
    with listen("127.0.0.1", 0) as listener:
        one = Web(settings, listener)
        visitors = Visitors(one.port)
        for number in range(15):
            visitors.send(f"quick {number}", "GET", "/live", None, b"ok")
        for number in range(3):
            visitors.send(f"slow {number}", "GET", "/slow", None, b"done")
        visitors.send("stream", "GET", "/stream", None, b"piece" * PIECES)
        visitors.send("upload", "POST", "/admin/login", [b"x" * 5_000] * 10, b"E-mail or password is wrong")
        eventually(lambda: all(visitors.answered.values()))
        ended_in_time = threading.Timer(LONGEST_SECONDS, one.process.kill)
        ended_in_time.start()
        one.process.send_signal(signal.SIGTERM)
        eventually(lambda: visitors.closed)
        for number in (signal.SIGTERM, signal.SIGINT):  # impatience changes nothing
            one.process.send_signal(number)
        assert one.process.wait() == 0
        ended_in_time.cancel()
        before = dict(visitors.answered)
        two = Web(settings, listener)
        eventually(
            lambda: visitors.troubles or all(visitors.answered[name] > before[name] + 1 for name in before),
            4 * LONGEST_SECONDS,
        )
        visitors.end()
        assert visitors.troubles == []
        two.process.terminate()
        assert two.process.wait(LONGEST_SECONDS) == 0
