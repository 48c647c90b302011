"""Structured logs: one JSON object a line on standard error; never a secret, never a whole record.

`logger("node.http")` is a name for where a line comes from; the configuration is made once, by the program that
starts (`configure`).
"""

import logging
import sys
from collections.abc import MutableMapping
from io import TextIOBase
from typing import Any, TextIO, cast

import orjson
import structlog

from node.config import LogsConfig

__all__ = ["configure", "logger"]

_SECRET = frozenset({"authorization", "password", "secret", "token", "cookie", "passphrase"})


class _Stderr(TextIOBase):
    """Standard error as it is when a line is written, not as it was when the logs were set up."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


_STDERR = cast("TextIO", _Stderr())
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def logger(name: str) -> Any:
    """Return a logger whose lines say where they come from."""
    return structlog.get_logger(source=name)


def configure(config: LogsConfig, *, process: str = "first") -> None:
    """Set up the logs of this process.

    Args:
        config: level and format.
        process: `first` or `worker-1` …; stands in every line.
    """
    level = _LEVELS.get(config.level, logging.INFO)
    renderer: Any = (
        structlog.dev.ConsoleRenderer(
            # No local variables in a traceback: one of them may be a secret.
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )
        if config.format == "text"
        else structlog.processors.JSONRenderer(
            serializer=lambda event, **_: orjson.dumps(event, default=str).decode()
        )
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_secrets,
        _with_process(process),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=_STDERR),
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard module; their lines take the same form.
    handler = logging.StreamHandler(_STDERR)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def _with_process(process: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("process", process)
        return event

    return add


def _without_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in _SECRET.intersection(event):
        event[key] = "…"
    return event
