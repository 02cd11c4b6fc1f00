"""Settings of the server: typed, layered (defaults < TOML file < environment < flags) and closed."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from abr.core.enhancement import Currency
from abr.errors import FormatError, InputError
from abr.secure_aggregation.degree import MEMBERS_MAX, MEMBERS_MIN
from server.redis_url import without_password

ENVIRONMENT_PREFIX = "TOPRUNG_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that can be set. Each field is a TOML key, `TOPRUNG_<FIELD>` in the environment, and mostly a flag."""

    library: str = ""
    """Folder of prepared titles."""
    host: str = "127.0.0.1"
    port: int = 8080
    """0 lets the system choose; the line on stdout tells which."""
    redis_url: str = ""
    """Where sessions live; empty keeps them in this process."""
    state: str = ""
    """Folder in which a Valkey of our own keeps the sessions, so that they outlive a restart."""
    worker_count: int = 1
    """Processes that share the port and, through Redis, the sessions."""
    redis_timeout_s: float = 0.25
    """A viewer does not wait longer for Redis: the decision is then taken from what this process remembers."""
    secret: str = ""
    """Signs session ids; servers that share sessions share it. Empty: one made at random, kept in Redis if there is
    one, so that sessions outlive a restart."""
    operator_token: str = ""
    """Opens the pages that tell of all viewers to who brings it (HTTP Basic's password, or Bearer). Empty: only
    trusted_peers see them."""
    controller: str = "toprung"
    """Chosen when a viewer names none."""
    experiment: str = ""
    """Arms among which viewers who name no controller are drawn, such as `a=toprung,b=bola` (server.experiments).
    Empty: no experiment."""
    viewer_events: bool = True
    """Whether what players post of what their viewers saw is kept and counted. Off, it is thrown away unread: private
    telemetry is then all that tells of viewers."""
    private_telemetry: bool = False
    """Take in private telemetry: sums over cohorts of players that opted in. In one process: with workers, run a server
    of its own for it."""
    private_period_s: float = 300.0
    """For this long players may join a cohort."""
    private_cohort: int = 20
    """Players that a cohort needs to begin, at least 5. Fewer than 5 are never summed, whoever stays."""
    private_cohort_max: int = 200
    """A cohort of so many is full and begins at once: what a player sends and computes grows with the cohort."""
    private_stage_s: float = 10.0
    """A player that does not answer a step of the protocol for this long is left out."""
    quality: str = "trusted"
    """What decisions and QoE count: trusted, the part of a lift that the panel attests, or vmaf."""
    qoe: str = ""
    """File of a QoE learnt from people (`toprung qoe fit`): quality then counts in its points. Empty: in VMAF's."""
    rate: str = ""
    """Folder in which /rate keeps what people think, without who they were; with the clips of `toprung bench pairs`, if
    these are to be rated. Empty: the page is closed."""
    group_by: str = ""
    """Which viewers are decided for as sharing one link, beside those who tell their group: `address`, those at one
    IPv4 address or in one IPv6 /64, as behind a household's router; `block`, those in one IPv4 /24 or IPv6 /48. Empty:
    none. Never trusted_peers, behind whom may be anybody."""
    controllers: tuple[str, ...] = ()
    """The operator's own controllers, `path/to/file.py:Class`, offered under the class's name.
    Separated by commas in the environment."""
    session_ttl_s: float = 3600.0
    """A session unheard of for this long is forgotten."""
    sessions_max: int = 20_000
    """Sessions kept in memory; the one unheard of for longest goes first."""
    log_events_max: int = 4096
    """Events kept of one session, the newest."""
    log_session_bytes_max: int = 2 << 20
    """Bytes of events kept of one session, the newest."""
    log_bytes_max: int = 64 << 20
    """Bytes of all session logs kept in memory."""
    profile_bytes_max: int = 64 << 20
    """Bytes of all device profiles kept in memory."""
    state_bytes_max: int = 512 << 20
    """Memory of the Valkey that `state` runs; beyond it, what would expire first is forgotten."""
    body_bytes_max: int = 256 << 10
    """Largest request body."""
    request_timeout_s: float = 30.0
    """A request not answered by then gets 503."""
    header_timeout_s: float = 10.0
    """A connection that has sent only a part of a request's head by then, or nothing at all, is closed."""
    keepalive_timeout_s: float = 75.0
    """An idle connection is closed after this long: longer than viewers pause between segments."""
    head_bytes_max: int = 32 << 10
    """Largest head of a request."""
    connections_max: int = 8192
    """Connections of one process; more are turned away. Fewer where the system's limit of open files is low."""
    peer_connections_max: int = 256
    """Connections that one address may have at once."""
    peer_requests_per_s: float = 200.0
    """Requests that one address may make, with a burst of five seconds' worth; 0 for no limit."""
    peer_sessions_per_s: float = 10.0
    """Sessions that one address may open, with a burst of five seconds' worth; 0 for no limit."""
    peer_opinions_per_s: float = 1.0
    """Opinions that one address may hand in, with a burst of five seconds' worth; 0 for no limit."""
    peer_posted_bytes_per_s: float = 256 << 10
    """Bytes of request bodies that one address may send, with a burst of five seconds' worth; 0 for no limit."""
    trusted_peers: tuple[str, ...] = ("127.0.0.1", "::1")
    """Addresses without limits, that see the operator's pages: this machine, reverse proxies that limit for themselves.
    Separated by commas in the environment."""
    shutdown_timeout_s: float = 5.0
    """How long requests under way may take when the server is told to stop."""
    cache_bytes_max: int = 64 << 20
    """Memory for small files."""
    cache_file_bytes_max: int = 64 << 10
    """Files up to this size are served from memory, larger ones by sendfile: of 200 kB that takes 15 % less."""
    fast_path: bool = True
    """Whether a playing viewer's requests are answered without going through aiohttp, at a fraction of the processor
    time (server.connection). Off, all of them go through aiohttp, with the same answers; a proxy is then sent
    files' bytes even if it could send them by itself."""
    accel_location: str = ""
    """Location, such as `/library/`, under which a reverse proxy of ours has the library, to send files by itself
    (X-Accel-Redirect). It says so in X-Accel-Location, and is believed when it is a trusted peer. Empty: never."""
    media_base: str = ""
    """URL, such as `https://cdn.example.com/titles`, below which a CDN has what is below `/titles` here. Decided
    segments are answered with a redirect to it, and a session's manifests lead there for sound. Empty: all bytes come
    from here."""
    path_prefix: str = ""
    """Path, such as `/video`, under which a reverse proxy shows this server, having taken it off. URLs in answers begin
    with it. A proxy that says X-Forwarded-Prefix need not be set here."""
    allow_origin: str = "*"
    """Access-Control-Allow-Origin."""
    log_level: str = "info"
    log_json: bool = False

    def __post_init__(self) -> None:
        self._check_numbers()
        for peer in self.trusted_peers:
            if not _is_address(peer):
                raise InputError(f"Setting trusted_peers has {peer!r}; it takes single addresses, such as 10.0.0.7.")
        if not _ORIGIN.fullmatch(self.allow_origin):
            raise InputError(f"Setting allow_origin is {self.allow_origin!r}; it looks like https://example.com, or *.")
        if self.accel_location and not _LOCATION.fullmatch(self.accel_location):
            raise InputError(f"Setting accel_location is {self.accel_location!r}; it looks like /library/.")
        if self.media_base and not _MEDIA_BASE.fullmatch(self.media_base):
            raise InputError(
                f"Setting media_base is {self.media_base!r}; it looks like https://cdn.example.com/titles."
            )
        if self.path_prefix and not _PREFIX.fullmatch(self.path_prefix):
            raise InputError(f"Setting path_prefix is {self.path_prefix!r}; it looks like /video.")
        if self.quality not in list(Currency):
            raise InputError(f"Setting quality is {self.quality!r}; it is one of {', '.join(Currency)}.")
        if self.group_by not in GROUPINGS:
            raise InputError(f"Setting group_by is {self.group_by!r}; it is empty, {' or '.join(GROUPINGS[1:])}.")
        if self.log_level not in LOG_LEVELS:
            raise InputError(f"Setting log_level is {self.log_level!r}; it is one of {', '.join(LOG_LEVELS)}.")

    def _check_numbers(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise InputError(f"Setting {name} is {getattr(self, name)}; it must be above zero.")
        for name in _RATES:
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"Setting {name} is {getattr(self, name)}; it must be 0, for no limit, or above.")
        if not MEMBERS_MIN <= self.private_cohort <= self.private_cohort_max <= MEMBERS_MAX:
            raise InputError(
                f"Settings private_cohort and private_cohort_max are {self.private_cohort} and "
                f"{self.private_cohort_max}; a cohort is {MEMBERS_MIN} to {MEMBERS_MAX} players."
            )
        if not max(self.private_period_s, self.private_stage_s) < math.inf:
            raise InputError("Settings private_period_s and private_stage_s are seconds, not for ever.")
        if self.private_telemetry and self.worker_count > 1:
            raise InputError(
                "Settings private_telemetry and worker_count: private telemetry needs all of a cohort in one process;"
                " run a server of its own for it, with worker_count 1."
            )
        if not 0 <= self.port <= 65535:
            raise InputError(f"Setting port is {self.port}; a port is 0 to 65535.")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


_RATES = ("peer_requests_per_s", "peer_sessions_per_s", "peer_opinions_per_s", "peer_posted_bytes_per_s")
_ORIGIN = re.compile(r"[!-~]*")
_LOCATION = re.compile(r"/[A-Za-z0-9._-]{1,64}/")
_MEDIA_BASE = re.compile(r"https?://[A-Za-z0-9._:\[\]-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]{1,64}){0,8}/?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}/?")
GROUPINGS = ("", "address", "block")
LOG_LEVELS = ("debug", "info", "warning", "error")
_POSITIVE = (
    *("session_ttl_s", "sessions_max", "log_events_max", "log_bytes_max", "body_bytes_max"),
    *("log_session_bytes_max", "profile_bytes_max", "state_bytes_max"),
    *("worker_count", "redis_timeout_s", "private_period_s", "private_stage_s"),
    *(
        "request_timeout_s",
        "shutdown_timeout_s",
        "cache_bytes_max",
        "cache_file_bytes_max",
    ),
    *("header_timeout_s", "keepalive_timeout_s", "head_bytes_max", "connections_max", "peer_connections_max"),
)
_NAMES = tuple(field.name for field in fields(Settings))
_LISTS = ("controllers", "trusted_peers")


def layered(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Settings from all layers; flags that are None were not given. Raises InputError, FormatError."""
    values: dict[str, Any] = {}
    values |= {} if file is None else _from_toml(file)
    values |= _from_environment(environment)
    values |= {name: value for name, value in flags.items() if value is not None}
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise FormatError(f"A setting is not valid: {error}.") from error


def dumps_toml(settings: Settings) -> str:
    """The settings as a TOML file that `layered` reads back; secrets are left out."""
    shown = asdict(replace(settings, redis_url=without_password(settings.redis_url)))
    shown |= {name: "***" for name in ("secret", "operator_token") if shown[name]}
    return "".join(f"{name} = {_toml(value)}\n" for name, value in shown.items())


def _from_toml(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read the settings file {file}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"The settings file {file} is not TOML: {error}.") from error
    for name in values:
        if name not in _NAMES:
            raise InputError(f"{file} sets {name!r}, which is no setting.{_guess(name)} All: {', '.join(_NAMES)}.")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Other commands have TOPRUNG_ variables of their own, so only what looks like a slip is refused."""
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name in _NAMES:
            values[name] = text.split(",") if name in _LISTS else text
        elif guess := _guess(name):
            raise InputError(f"{variable} is set in the environment, but there is no setting {name!r}.{guess}")
    return values


def _guess(name: str) -> str:
    close = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.75)
    return f" Did you mean {close[0]!r}?" if close else ""


def _toml(value: Any) -> str:
    """TOML of a setting: JSON's strings (but for DEL), booleans, numbers and lists are TOML too."""
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
