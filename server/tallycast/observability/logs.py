"""How log lines look and where they go: standard error, for people on a terminal, JSON otherwise.

Owns the one configuration of structlog and of the standard library's logging beneath the libraries. Whatever
comes from outside is escaped here, in both forms, so that no place that logs has to.
Must not know what is logged. Every module logs through ``structlog.get_logger()``; only the entries of
processes call ``configure``.
"""

import io
import logging
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from tallycast.domain.printable import printable, printable_lines

# Their INFO lines repeat what ours say, or say it once per connection.
CHATTY = ("uvicorn", "websockets", "asyncio", "redis", "httpx")

# The key under which a line says whose request it is about: the one place for an address.
CLIENT = "client"

_render_json = structlog.processors.JSONRenderer(ensure_ascii=False)


def configure(
    context: Mapping[str, object] | None = None, *, addresses: bool = False, stream: TextIO | None = None
) -> None:
    """Send every log line of this process to ``stream``, with ``context`` (who is speaking) in each.

    ``addresses``: a line may say which ``client``, by its address, it is about.
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
                *_ending(terminal=stream.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Query strings are in uvicorn's access log, and clients put into them what they like.
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


def _ending(*, terminal: bool) -> list[Processor]:
    # Plain tracebacks in both: the others print local variables, tokens and passwords among them.
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
    """A line as JSON. The escapes are JSON's own, so a machine that reads it has the text as it was."""
    return printable(str(_render_json(logger, method, event)))


def _escape(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape the texts of a line before it is coloured."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    """Print a traceback, whose messages may quote anything."""
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, exc_info)
    stream.write(printable_lines(plain.getvalue()))
