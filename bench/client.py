"""A lean HTTP client: so little time of its own that the difference between two servers is theirs."""

import gzip
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode

HOST = "127.0.0.1"
MAX_IDLE_SECONDS = 3
"""Servers close a connection that nobody used for longer; uvicorn after five."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    wire_bytes: int
    """Head and body as they were sent."""
    milliseconds: float

    @property
    def page(self) -> bytes:
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body


class Client:
    """One connection, kept. Asks as a browser does: signed in, from the same site, for gzip."""

    def __init__(self, port: int, token: str = "") -> None:
        self._port = port
        self._connect()
        self._head = (
            f"Host: {HOST}:{port}\r\nCookie: session_{port}={token}\r\n"
            "Accept-Encoding: gzip\r\nSec-Fetch-Site: same-origin\r\n"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def get(self, path: str) -> Answer:
        return self._ask(f"GET {path} HTTP/1.1\r\n{self._head}\r\n")

    def post(self, path: str, fields: Mapping[str, str]) -> Answer:
        body = urlencode(fields)
        kind = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        return self._ask(f"POST {path} HTTP/1.1\r\n{self._head}{kind}\r\n{body}")

    def _connect(self) -> None:
        self._socket = socket.create_connection((HOST, self._port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._used = time.monotonic()

    def _ask(self, request: str) -> Answer:
        if time.monotonic() - self._used > MAX_IDLE_SECONDS:
            self._socket.close()
            self._connect()
        started = time.perf_counter()
        self._socket.sendall(request.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        while len(body) < int(headers["content-length"]):
            body += self._receive()
        elapsed = (time.perf_counter() - started) * 1000
        self._used = time.monotonic()
        return Answer(int(first.split()[1]), headers, body, len(head) + 4 + len(body), elapsed)

    def _receive(self) -> bytes:
        part = self._socket.recv(1 << 18)
        if not part:
            raise ConnectionError("the server closed the connection")
        return part
