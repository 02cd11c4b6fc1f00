"""What a stream has learnt outlives it: as the prior of later streams, and in the title that it is kept as."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from abr.core.live.learning import STREAM_WEIGHTS_FILE, LearntNetwork, StreamWeights
from abr.errors import FormatError, InputError, StorageError
from abr.files import write_atomically
from abr.records import dumps_pretty, load
from server.media.library import IDENTIFIER

TAKE_OVER = (sys.executable, "-m", "enhancers.workflows.live_keeping")
_SAID_MAX = 300


def prior_folder(root: Path, name: str) -> Path:
    """Where the library keeps a prior. Raises InputError for what is no name."""
    if not IDENTIFIER.fullmatch(name):
        raise InputError(f"{name!r} cannot name a prior; use up to 64 letters, digits, dots, dashes and underscores.")
    return root / f".prior-{name}"


def check_prior(folder: Path) -> str:
    """Whose prior it is; nothing where there is none yet. Raises FormatError, StorageError for what cannot be read."""
    if not (folder / STREAM_WEIGHTS_FILE).is_file():
        return ""
    kept = load(folder / STREAM_WEIGHTS_FILE, StreamWeights)
    for offer in kept.offers:
        for chunk in offer.chunks:
            path = folder / PurePosixPath(chunk.file).name
            if not path.is_file() or path.stat().st_size != chunk.size_bytes:
                raise FormatError(f"{path} is not what {STREAM_WEIGHTS_FILE} says.")
    return kept.stream


def keep_weights(folder: Path, stream: str, networks: Sequence[LearntNetwork], published: Path) -> None:
    """Copy the networks of a stream, which lie in its folder `published`; the table that names them is written last.

    What an earlier one left there goes then. Raises StorageError.
    """
    names = set()
    for chunk in (chunk for each in networks for chunk in each.offer.chunks):
        name = PurePosixPath(chunk.file).name
        names.add(name)
        try:
            write_atomically(folder / name, (published / chunk.file).read_bytes(), durable=False)
        except OSError as error:
            raise StorageError(f"Cannot keep {chunk.file} in {folder}: {error.strerror}.") from error
    kept = StreamWeights(stream=stream, offers=tuple(each.offer for each in networks))
    write_atomically(folder / STREAM_WEIGHTS_FILE, dumps_pretty(kept), durable=True)
    for path in folder.iterdir():
        if path.name not in names | {STREAM_WEIGHTS_FILE}:
            with suppress(OSError):
                path.unlink()


def take_over(root: Path, title: str, recording: Path, networks: Path, command: Sequence[str] = TAKE_OVER) -> str:
    """Measure them on the kept title and publish them with it; why not, or nothing when it has them."""
    given = ["--library", str(root), "--title", title, "--recording", str(recording), "--networks", str(networks)]
    done = subprocess.run([*command, *given], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or ["its process has ended"])[-1][:_SAID_MAX]
