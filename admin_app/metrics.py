"""What this process counts of itself, and what is known of the installation, for Prometheus."""

import asyncio
import hmac
import logging
import time
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from itertools import chain
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import ExceptionContext, event
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin_app.database import Database
from admin_app.health import TOLD_BY_DATABASE, Health, Part, Question
from admin_app.installation_metrics import read_database, read_queue
from admin_app.outbox import describe
from admin_app.request_log import route_of

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
KEPT_SECONDS = 5.0
UNMATCHED = "unmatched"
"""The route of what no route answers; whoever guesses addresses makes no labels."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
SQL_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2)

ENGINE, GLANCES = "engine", "glances"

logger = logging.getLogger(__name__)

disable_created_metrics()  # type: ignore[no-untyped-call]  # of every histogram, a gauge that nobody reads


class Metrics:
    """Of one web process; each has its own. What is of the installation is the same in all of them."""

    def __init__(self, token: str, database: Database, health: Health) -> None:
        self._token = token.encode()
        self._health = health
        self._questions = {
            Part.DATABASE: Question(lambda: read_database(health.database), KEPT_SECONDS),
            Part.QUEUE: Question(lambda: read_queue(health.redis), KEPT_SECONDS),
        }
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        requests = Histogram(
            "admin_app_request_seconds",
            "From a request to the end of its answer. Alert on the share of 5xx and on the 95th percentile.",
            ("route", "method", "status"),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self.labelled = cache(requests.labels)  # its own look-up takes as long as all the rest
        self.under_way = 0
        under_way = Gauge(
            "admin_app_requests_under_way",
            "Requests that are being answered, exports and other large files among them.",
            registry=registry,
        )
        under_way.set_function(lambda: self.under_way)
        info = Gauge("admin_app_info", "1; the version of the application.", ("version",), registry=registry)
        info.labels(version("admin-app")).set(1)
        self._watch(database)

    def _watch(self, database: Database) -> None:
        seconds = Histogram(
            "admin_app_sql_seconds",
            "Time of a statement as this process waits for it; glances are reads in one round trip.",
            ("pool",),
            buckets=SQL_BUCKETS,
            registry=self._registry,
        )
        _time_statements(database, seconds.labels(ENGINE))
        database.glances.on_answer = seconds.labels(GLANCES).observe
        in_use = Gauge(
            "admin_app_pool_connections_in_use",
            "Connections to PostgreSQL in use. Alert when all of them are for minutes: requests wait.",
            ("pool",),
            registry=self._registry,
        )
        size = Gauge(
            "admin_app_pool_connections_max",
            "How many there may be.",
            ("pool",),
            registry=self._registry,
        )
        pool: Any = database.engine.pool
        in_use.labels(ENGINE).set_function(pool.checkedout)
        size.labels(ENGINE).set_function(pool.size)
        in_use.labels(GLANCES).set_function(lambda: database.glances.in_use)
        size.labels(GLANCES).set_function(lambda: database.glances.size)

    def opens(self, authorization: str) -> bool:
        """Whether a header of this value lets somebody read them."""
        scheme, _, given = authorization.partition(" ")
        return hmac.compare_digest(given.strip().encode(), self._token) and scheme.lower() == "bearer"

    async def text(self) -> bytes:
        """All of them as they are now. What cannot be read is left out, and said to be down."""
        reading = asyncio.gather(*map(self._read, self._questions))
        ailing, readings = await asyncio.gather(self._health.ailing(), reading)
        unread = [part for part, families in zip(self._questions, readings, strict=True) if families is None]
        families = [family for found in readings for family in found or ()]
        down = {*ailing, *unread}
        shown = _Families(self._registry, [_up(down), *families])
        return await asyncio.to_thread(generate_latest, shown)

    async def _read(self, part: Part) -> Sequence[Metric] | None:
        try:
            return await self._questions[part].answer()
        except Exception as error:  # whatever a driver raises: the rest is still to be told
            logger.debug("metrics of the %s: %s", part, describe(error))
            return None


class _Families(Collector):
    """Those of a registry, and some more."""

    def __init__(self, registry: CollectorRegistry, more: Sequence[Metric]) -> None:
        self._registry = registry
        self._more = more

    def collect(self) -> Iterable[Metric]:
        return chain(self._registry.collect(), self._more)


def _up(down: set[Part]) -> Metric:
    family = GaugeMetricFamily(
        "admin_app_up",
        "Whether a part of the installation is well, as /ready sees it. Alert on 0 for minutes.",
        labels=("part",),
    )
    unknown = set(TOLD_BY_DATABASE if Part.DATABASE in down else ()) - down
    for part in Part:
        if part not in unknown:
            family.add_metric((part,), float(part not in down))
    return family


def _time_statements(database: Database, seconds: Histogram) -> None:
    """Those that fail, too."""
    engine = database.engine.sync_engine

    def begin(
        _connection: Any, _cursor: Any, _statement: Any, _values: Any, context: Any, _many: bool
    ) -> None:
        context.began = time.perf_counter()

    def end(_connection: Any, _cursor: Any, _statement: Any, _values: Any, context: Any, _many: bool) -> None:
        seconds.observe(time.perf_counter() - context.began)

    def fail(error: ExceptionContext) -> None:
        began = getattr(error.execution_context, "began", None)
        if began is not None:
            seconds.observe(time.perf_counter() - began)

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail, insert=True)  # before the one that raises


class MetricsMiddleware:
    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        metrics = self._metrics
        metrics.under_way += 1
        try:
            await self._app(scope, receive, noting_send)
        finally:
            metrics.under_way -= 1
            method = scope["method"] if scope["method"] in METHODS else "other"
            labels = (route_of(scope) or UNMATCHED, method, f"{status // 100}xx")
            metrics.labelled(*labels).observe(time.perf_counter() - began)
