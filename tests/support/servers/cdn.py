"""A CDN: a real nginx that fetches from a server what it has not got yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nginx import nginx

CONFIG = """
worker_processes 1; pid /tmp/pid; error_log /tmp/error.log;
events {{ worker_connections 256; }}
http {{
  log_format kept '$upstream_cache_status $uri';
  access_log /tmp/access.log kept;
  client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;
  uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
  proxy_cache_path /tmp/cache keys_zone=films:1m;
  server {{ listen 8080;
    location /titles/ {{
      proxy_pass {server};
      proxy_http_version 1.1;
      proxy_cache films;
      proxy_cache_lock on;
    }} }}
}}
"""


@contextmanager
def cdn(server: str, folder: Path) -> Iterator[str]:
    """What to give as `--media-base` to the server at the URL `server`, which need not run yet."""
    with nginx(CONFIG.format(server=server), folder) as url:
        yield f"{url}titles"


def asked(folder: Path) -> Counter[tuple[str, str]]:
    """How often the CDN was asked: by whether it had the file (HIT, MISS, …) and its path."""
    lines = (folder / "access.log").read_text().splitlines()
    return Counter((status, path) for status, path in (line.split(" ", 1) for line in lines))
