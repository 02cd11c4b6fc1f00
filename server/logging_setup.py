"""Log lines on stderr: one a record, for people by default, as JSON when asked."""

from __future__ import annotations

import logging
import re
import sys
import time

from aiohttp.http_exceptions import HttpProcessingError

from abr.records import dumps

ROOT = "toprung"
_PLAIN_VALUE = re.compile(r"[!#-<>-~]*")


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO toprung.access request method=GET status=200`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line for people."""
        fields = "".join(f" {name}={_quoted(value)}" for name, value in _fields(record).items() if value != "")
        text = f"{_instant(record)} {record.levelname} {record.name} {_on_one_line(record.getMessage())}{fields}"
        if not record.exc_info:
            return text
        lines = self.formatException(record.exc_info).splitlines()
        return "\n".join([text, *(f"    {_on_one_line(line)}" for line in lines)])


class JsonFormatter(logging.Formatter):
    """The same as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one JSON object."""
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


def _on_one_line(text: str) -> str:
    """What strangers send may hold line ends and terminal codes: shown as escapes, they forge no line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _quoted(value: object) -> str:
    """A field's value, in quotes where it would look like several."""
    text = str(value)
    return text if _PLAIN_VALUE.fullmatch(text) else f'"{_on_one_line(text.replace(chr(34), chr(39)))}"'


def _fields(record: logging.LogRecord) -> dict[str, str]:
    """What was given as `extra={"fields": …}`."""
    fields: dict[str, str] = getattr(record, "fields", {})
    return fields


def _instant(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
