"""Where a Redis (or Valkey) is and how it is reached, read from its URL. Options that are not known are refused."""

from __future__ import annotations

import difflib
import ssl
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from abr.errors import InputError

SSL_OPTIONS = (
    *("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_cert_reqs", "ssl_check_hostname"),
    *("ssl_certfile", "ssl_keyfile", "ssl_password"),
)
OPTIONS = ("db", "username", "password", "client_name", *SSL_OPTIONS)
"""As redis-py names them."""
_CERT_REQS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout", "timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """One Redis. path: its Unix socket; where there is none, host and port count."""

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    username: str = ""
    password: str = ""
    db: int = 0
    client_name: str = ""
    tls: ssl.SSLContext | None = None


def read_redis_url(url: str) -> RedisAddress:
    """The address that a URL means: redis://, rediss:// or unix://. Raises InputError, which never tells passwords."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        options = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    except ValueError as error:
        raise InputError(
            f"The URL of Redis cannot be read ({error}); it looks like redis://localhost:6379/0."
        ) from error
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise InputError(
            f"The URL of Redis begins with {parts.scheme[:20]!r}; it takes redis://, rediss:// or unix://."
        )
    _check_options(parts.scheme, options)
    is_socket = parts.scheme == "unix"
    in_path = "" if is_socket else parts.path.strip("/")
    return RedisAddress(
        host=host or "localhost",
        port=port or 6379,
        path=unquote(parts.path) if is_socket else "",
        username=options.get("username", unquote(parts.username or "")),
        password=options.get("password", unquote(parts.password or "")),
        db=_read_db(options.get("db") or in_path or "0"),
        client_name=options.get("client_name", ""),
        tls=_make_context(options) if parts.scheme == "rediss" else None,
    )


def without_password(url: str) -> str:
    """The URL with its password as `***`, fit for logs."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user_and_host = parts.netloc.replace(f":{parts.password}@", ":***@")
    return urlunsplit(parts._replace(netloc=user_and_host))


def _check_options(scheme: str, options: dict[str, str]) -> None:
    for name in options:
        if name in _TIMEOUTS:
            raise InputError(f"The URL of Redis has the option {name!r}; use the setting redis_timeout_s instead.")
        if name not in OPTIONS:
            close = difflib.get_close_matches(name, OPTIONS, n=1)
            guess = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(f"The URL of Redis has no option {name[:40]!r}.{guess} All: {', '.join(OPTIONS)}.")
        if name in SSL_OPTIONS and scheme != "rediss":
            raise InputError(f"The URL of Redis has the option {name!r}, which needs rediss://.")
        if name in ("ssl_keyfile", "ssl_password") and "ssl_certfile" not in options:
            raise InputError(f"The URL of Redis has the option {name!r}, which needs ssl_certfile.")


def _read_db(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InputError(f"The URL of Redis names the database {text[:20]!r}; it takes a number.")
    return int(text)


def _make_context(options: dict[str, str]) -> ssl.SSLContext:
    """Of the ssl_ options. Hosts and certificates are checked unless they say otherwise."""
    wanted = options.get("ssl_cert_reqs", "required").lower()
    checks_host = _YES_NO.get(options.get("ssl_check_hostname", str(wanted != "none")).lower())
    if wanted not in _CERT_REQS or checks_host is None:
        raise InputError(
            "The URL of Redis takes ssl_cert_reqs=none, optional or required, ssl_check_hostname=true or false."
        )
    if checks_host and wanted == "none":
        raise InputError(
            "The URL of Redis says ssl_check_hostname=true and ssl_cert_reqs=none; hosts have certificates."
        )
    try:
        context = ssl.create_default_context(
            cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path"), cadata=options.get("ssl_ca_data")
        )
        if certificate := options.get("ssl_certfile"):
            context.load_cert_chain(certificate, options.get("ssl_keyfile"), options.get("ssl_password", ""))
    except (OSError, ValueError) as error:
        files = [
            options[name] for name in ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile") if name in options
        ]
        raise InputError(f"The certificates of Redis cannot be used ({error}): {', '.join(files)}.") from error
    context.check_hostname = checks_host
    context.verify_mode = _CERT_REQS[wanted]
    return context
