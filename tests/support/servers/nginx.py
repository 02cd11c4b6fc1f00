"""A real nginx with a configuration of ours."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection

from ports import free_port
from prometheus import program
from waiting import wait_until


@contextmanager
def nginx(configuration: str, folder: Path) -> Iterator[str]:
    """Its URL, which ends in a slash. It listens on a free port in place of 8080, and writes to `folder`, not /tmp."""
    port = free_port()
    config = folder / "nginx.conf"
    here = re.sub(r"/tmp/(?=[\w.]+[; ])", f"{folder}/", configuration)
    config.write_text(here.replace("listen 8080", f"listen 127.0.0.1:{port}"))
    command = [program("nginx"), "-c", str(config), "-e", str(folder / "error.log"), "-g", "daemon off; user root;"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def listens() -> bool:
        assert process.poll() is None, (folder / "error.log").read_text()
        try:
            create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return False
        return True

    try:
        wait_until(listens, "nginx to listen")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(timeout=120)
