"""Logging: to standard error, readable on a terminal, JSON otherwise.

Owns the configuration of structlog, and of the standard library's logging that libraries use. Untrusted text
is escaped here, in both formats. Does not depend on what is logged: every module logs through
``structlog.get_logger()``; only entry points of processes call ``configure``.
"""

import io
import logging
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from tallycast.domain.printable import printable, printable_lines

# Their INFO lines repeat ours, or are written once per connection.
VERBOSE = ("uvicorn", "websockets", "asyncio", "redis", "httpx")

# The only key that may hold a client's address.
CLIENT = "client"

_render_json = structlog.processors.JSONRenderer(ensure_ascii=False)


def configure(
    context: Mapping[str, object] | None = None, *, addresses: bool = False, stream: TextIO | None = None
) -> None:
    """Write every log line of this process to ``stream``, by default standard error.

    Args:
        context: Keys of every line, such as the number of the worker.
        addresses: Whether lines may hold the client's address.
        stream: Where to write.
    """
    stream = stream or sys.stderr
    shared = _shared(dict(context or {}), addresses)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(terminal=stream.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in VERBOSE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # uvicorn's access log has query strings, which may hold anything.
    logging.getLogger("uvicorn.access").disabled = True
    logging.captureWarnings(True)


def _shared(context: dict[str, object], addresses: bool) -> list[Processor]:
    def add_context(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if not addresses:
            event.pop(CLIENT, None)
        return {**context, **event}

    return [
        add_context,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]


def _renderers(*, terminal: bool) -> list[Processor]:
    # Plain tracebacks in both formats: others print local variables, which may be tokens and passwords.
    if terminal:
        return [
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            _escape,
            structlog.dev.ConsoleRenderer(pad_event_to=0, exception_formatter=_traceback),
        ]
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _json,
    ]


def _json(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """A line as JSON. The escapes are JSON's own, so a parser gets the original text."""
    return printable(str(_render_json(logger, method, event)))


def _escape(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape the values of a line before colours are added."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    """Print a traceback, escaped: its messages may quote untrusted text."""
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, exc_info)
    stream.write(printable_lines(plain.getvalue()))
