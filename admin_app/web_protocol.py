"""uvicorn's HTTP, with an end to waiting for a request, a bound on its head, and strict framing."""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_SECONDS = 20.0
"""From the first moment the server waits for a request until its head is complete."""

LINGER_SECONDS = 5.0
"""How long what is left of a request is read after its answer: closing at once may destroy the answer."""

LAST_SECONDS = 1.0
"""How long a server that ends waits for a request on an open connection: it may be on its way."""

MAX_HEAD_BYTES = 64 * 1024
MAX_TARGET_BYTES = 16_000

SENTENCES = {
    HTTPStatus.BAD_REQUEST: "This request cannot be read.",
    HTTPStatus.REQUEST_TIMEOUT: "This request took too long to arrive. Try again.",
    HTTPStatus.REQUEST_URI_TOO_LONG: f"This address is too long: at most {MAX_TARGET_BYTES:,} characters.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The headers of this request are too large: send at most "
    "64 kB. Removing the cookies of this site may help.",
}


class _Refused(Exception):
    """Raised where the parser calls back, which makes uvicorn send its answer to what it cannot parse."""


class WebProtocol(HttpToolsProtocol):
    """One connection. What it refuses itself carries the same headers as the application's answers."""

    def __init__(
        self,
        *args: Any,
        refusal_headers: Mapping[str, str],
        is_stopping: Callable[[], bool],
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._refusal_headers = refusal_headers
        self._is_stopping = is_stopping
        self._refusal = HTTPStatus.BAD_REQUEST
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        self._unparsed = 0
        """Bytes since the parser last found a head, a piece of a body or the end of a request: half a head,
        the trailers after a body or the extension of a chunk."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_HEAD_BYTES and not self._is_over:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        self._stop_waiting()
        if len(self.url) > MAX_TARGET_BYTES:
            self._raise(HTTPStatus.REQUEST_URI_TOO_LONG)
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._raise(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if not self._is_unambiguous():
            self._raise(HTTPStatus.BAD_REQUEST)
        super().on_headers_complete()
        if self._is_stopping():
            self.cycle.keep_alive = False

    def _is_unambiguous(self) -> bool:
        """Whether any proxy before us understood the same: RFC 9112, 3.2 and 6.1; llhttp holds the rest."""
        hosts = [value for name, value in self.headers if name == b"host"]
        encodings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        is_current = self.parser.get_http_version() == "1.1"
        return len(hosts) <= 1 and (not encodings or (encodings == [b"chunked"] and is_current))

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        is_next_there = bool(self.pipeline)
        super().on_response_complete()
        if not is_next_there and not self.transport.is_closing():
            kept = LAST_SECONDS if self._is_stopping() else HEAD_SECONDS
            self._wait(LINGER_SECONDS if self.cycle.more_body else kept)

    def shutdown(self) -> None:
        """Closes when an answer has said so, and after LAST_SECONDS without a request."""
        if self._is_over:
            return
        if self.cycle is None or self.cycle.response_complete:
            self._wait(LAST_SECONDS)
        elif not self.cycle.response_started:  # else its client was told to go on here
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal)

    def _raise(self, status: HTTPStatus) -> None:
        self._refusal = status
        raise _Refused

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self._unparsed:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        self._is_over = True
        self._stop_waiting()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self.pipeline or cycle.response_started or not cycle.more_body:
                cycle.keep_alive = False  # the answer under way is the last one
                return
            cycle.disconnected = True
            cycle.message_event.set()
        is_answered = cycle is not None and cycle.response_complete and cycle.more_body
        if not is_answered:
            self.transport.write(self._answer(status))
        self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _answer(self, status: HTTPStatus) -> bytes:
        body = SENTENCES[status].encode()
        headers = {
            **{name.decode(): value.decode() for name, value in self.server_state.default_headers},
            **self._refusal_headers,
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return STATUS_LINE[status] + lines.encode() + b"\r\n" + body
