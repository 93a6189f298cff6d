"""What a Meilisearch server is sent, written down by a server here that answers as its documented API.

A stand-in, for no such server can be installed where these tests run: it holds what our client sends and
what it makes of the answers, not what Meilisearch does with them. tests/search/test_contract.py runs
against a real one, where there is one.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

NOW = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    key: str | None
    body: Any


@dataclass
class RecordingServer:
    """`status`, `raw` and `delay_seconds` make it answer everything like that."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    indexes: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    failing: dict[str, str] = field(default_factory=dict)
    """Kind of task -> the message it fails with."""
    status: int | None = None
    raw: bytes | None = None
    delay_seconds: float = 0

    def sent(self, method: str, path: str) -> list[Any]:
        """The bodies of such requests."""
        return [request.body for request in self.requests if (request.method, request.path) == (method, path)]

    @property
    def lines(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.requests]

    def answer(self, request: Request) -> tuple[int, Any]:
        if self.status is not None:
            return self.status, {"message": "It is so.", "code": "so", "type": "x", "link": ""}
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["version"]:
                return 200, {"commitSha": "", "commitDate": NOW, "pkgVersion": "1.41.0"}
            case "GET", ["tasks"]:
                return 200, self._found(request.query)
            case "GET", ["tasks", uid]:
                return 200, self.tasks[int(uid)]
            case "POST", ["swap-indexes"]:
                [[one, other]] = [pair["indexes"] for pair in request.body]
                self.indexes[one], self.indexes[other] = self.indexes[other], self.indexes[one]
                return self._task("indexSwap", None)
            case "DELETE", ["indexes", uid]:
                is_there = self.indexes.pop(uid, None) is not None
                return self._task("indexDeletion", uid, None if is_there else "index_not_found")
            case "PATCH", ["indexes", uid, "settings"]:
                self.indexes.setdefault(uid, {})
                return self._task("settingsUpdate", uid)
            case "POST", ["indexes", uid, "documents"]:
                documents = {document["id"]: document for document in request.body}
                self.indexes.setdefault(uid, {}).update(documents)
                return self._task("documentAdditionOrUpdate", uid)
            case _, ["indexes", uid, *_] if uid not in self.indexes:
                missing = {"message": "Not found.", "code": "index_not_found", "type": "", "link": ""}
                return 404, missing
            case method, ["indexes", uid, *rest]:
                return self._on_index(method, rest, self.indexes[uid], uid, request)
        raise AssertionError(f"not in the API: {request}")

    def _on_index(
        self, method: str, rest: list[str], documents: dict[str, Any], uid: str, request: Request
    ) -> tuple[int, Any]:
        match method, rest:
            case "POST", ["documents", "delete-batch"]:
                for row_id in request.body:
                    documents.pop(row_id, None)
                return self._task("documentDeletion", uid)
            case "GET", ["stats"]:
                count = len(documents)
                return 200, {"numberOfDocuments": count, "isIndexing": False, "fieldDistribution": {}}
            case "POST", ["documents", "fetch"]:
                found = [documents[row_id] for row_id in request.body["ids"] if row_id in documents]
                return 200, {"results": found, "offset": 0, "limit": len(found), "total": len(found)}
            case "GET", ["documents"]:
                offset, limit = int(request.query["offset"]), int(request.query["limit"])
                found = list(documents.values())[offset : offset + limit]
                return 200, {"results": found, "offset": offset, "limit": limit, "total": len(documents)}
            case "POST", ["search"]:
                ids = list(documents)[: request.body["limit"]]
                hits = [
                    {"id": row_id, "_rankingScore": 0.9 - number / 10} for number, row_id in enumerate(ids)
                ]
                total = {"estimatedTotalHits": len(documents), "limit": request.body["limit"], "offset": 0}
                return 200, {"hits": hits, "query": request.body["q"], "processingTimeMs": 0, **total}
        raise AssertionError(f"not in the API: {request}")

    def _found(self, query: dict[str, str]) -> dict[str, Any]:
        """Newest first."""
        found = [
            task
            for task in reversed(self.tasks)
            if task["indexUid"] in query["indexUids"].split(",")
            and task["type"] in query.get("types", task["type"]).split(",")
            and task["status"] in query.get("statuses", task["status"]).split(",")
        ]
        limit = int(query["limit"])
        return {"results": found[:limit], "total": len(found), "limit": limit, "from": None, "next": None}

    def _task(self, kind: str, index: str | None, code: str | None = None) -> tuple[int, Any]:
        """Done at once."""
        message = self.failing.get(kind) or (code and "No such index.")
        task = {
            "uid": len(self.tasks),
            "indexUid": index,
            "status": "failed" if message else "succeeded",
            "type": kind,
            "error": {"message": message, "code": code or "internal"} if message else None,
            "enqueuedAt": NOW,
        }
        self.tasks.append(task)
        return 202, {
            "taskUid": task["uid"],
            "indexUid": index,
            "status": "enqueued",
            "type": kind,
            "enqueuedAt": NOW,
        }


@asynccontextmanager
async def recording_server() -> AsyncIterator[RecordingServer]:
    recording = RecordingServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await _read(reader)
                recording.requests.append(request)
                await asyncio.sleep(recording.delay_seconds)
                status, body = recording.answer(request)
                content = json.dumps(body).encode() if recording.raw is None else recording.raw
                head = (
                    f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
                )
                writer.write(f"{head}\r\n\r\n".encode() + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client has gone, or the test has ended
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    recording.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield recording
    finally:
        server.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    if headers.get("content-encoding") == "gzip":
        content = gzip.decompress(content)
    [key] = [line.split(" ")[-1] for line in head if line.lower().startswith("authorization")] or [None]
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return Request(method, parts.path, query, key, json.loads(content) if content else None)
