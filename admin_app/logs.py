"""What the processes say of their work, on standard error: a JSON object a line, or text for people."""

import logging
import sys
import threading
import traceback
from collections.abc import Callable, MutableMapping, Sequence
from types import TracebackType
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter

from admin_app.outbox import describe

CHATTY = ("uvicorn", "saq", "httpx", "httpx2")
"""They announce each start, stop and request at length; SAQ with all it knows of its connection."""

MEASURED = ("status", "milliseconds", "bytes")
"""What a line may carry as `extra`: that of our own, not whatever libraries add."""

MAX_FRAMES = 100

Said = MutableMapping[str, Any]

logger = logging.getLogger(__name__)


def configure(process: str, level: str = "INFO", form: str = "") -> None:
    """From now on this process says what happens as `form` ("json" or "text") wants it.

    Without one it is text on a terminal. Every line names the process, and what is bound by
    `structlog.contextvars` where it is said.
    """
    is_terminal = sys.stderr.isatty()
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(process, form or ("text" if is_terminal else "json"), colours=is_terminal))
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
    root.addHandler(handler)
    # What libraries say below INFO repeats what passes through them: rows, forms, headers.
    root.setLevel(max(logging.getLevelNamesMapping()[level], logging.INFO))
    logging.getLogger("admin_app").setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING if level == "INFO" else logging.NOTSET)
    logging.captureWarnings(True)
    sys.excepthook = _say_uncaught
    threading.excepthook = _say_uncaught_in_thread


def formatter(process: str, form: str, *, colours: bool = False) -> logging.Formatter:
    """Of the records of our modules and of libraries alike."""

    def name_process(_logger: Any, _method: str, said: Said) -> Said:
        said["process"] = process
        return said

    renderer: Any = structlog.processors.JSONRenderer(default=str)
    if form == "text":
        renderer = structlog.dev.ConsoleRenderer(
            colors=colours, timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
        )
    return _Formatter(
        [
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ExtraAdder(MEASURED),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            name_process,
            tell_exception,
            ProcessorFormatter.remove_processors_meta,
            renderer,
        ]
    )


class _Formatter(logging.Formatter):
    """As structlog's ProcessorFormatter does for records of `logging`, but quicker: it copies none."""

    def __init__(self, processors: Sequence[Callable[[Any, str, Any], Any]]) -> None:
        super().__init__()
        self._processors = processors

    def format(self, record: logging.LogRecord) -> str:
        said: Any = {"event": record.getMessage(), "_record": record, "_from_structlog": False}
        if record.exc_info:
            said["exc_info"] = record.exc_info
        for processor in self._processors:
            said = processor(None, record.levelname.lower(), said)
        return str(said)


def tell_exception(_logger: Any, _method: str, said: Said) -> Said:
    """In place of `exc_info`, what was raised and where: no variables, and no value of a statement or row."""
    info = said.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        said["exception"] = "\n".join(_lines(error, set()))
    return said


def _lines(error: BaseException, told: set[int]) -> list[str]:
    """As Python would print it, what came first being first; messages as `describe` tells them."""
    told.add(id(error))
    lines: list[str] = []
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in told:
        how = "which led to" if error.__cause__ else "and in the course of handling that"
        lines += [*_lines(before, told), f"{how}:"]
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
    lines.append(describe(error))
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            lines += [f"  | {line}" for line in _lines(inner, told)]
    return lines


def _say_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.critical("this process ends by an error", exc_info=error)


def _say_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None:
        logger.critical("a thread ends by an error", exc_info=arguments.exc_value)
