"""Log lines on stderr: one a record, for people by default, as JSON when asked."""

from __future__ import annotations

import logging
import sys
import time

from aiohttp.http_exceptions import HttpProcessingError

from abr.formats import dumps

ROOT = "toprung"


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO toprung.access request method=GET status=200`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items() if value != "")
        text = f"{_instant(record)} {record.levelname} {record.name} {record.getMessage()}{fields}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormatter(logging.Formatter):
    """The same as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _instant(record), "level": record.levelname.lower(), "logger": record.name}
        line |= {"message": record.getMessage()} | _fields(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return dumps(line).decode()


def configure(level: str, *, as_json: bool) -> None:
    """Send our own log, and the warnings of libraries, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(ROOT).setLevel(level.upper())
    logging.getLogger("aiohttp.server").addFilter(not_about_bad_http)


def not_about_bad_http(record: logging.LogRecord) -> bool:
    """False for the stack traces that aiohttp logs when somebody sends what is no HTTP; they are answered with 400."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _fields(record: logging.LogRecord) -> dict[str, str]:
    """What was given as `extra={"fields": …}`."""
    fields: dict[str, str] = getattr(record, "fields", {})
    return fields


def _instant(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
