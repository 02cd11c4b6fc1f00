"""Where titles are published to: a folder, or a bucket of an S3 service."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from abr.errors import InputError, StorageError
from abr.extras import require
from abr.files import write_atomically
from server.publishing.title_objects import TitleObject

_S3 = "s3://"


class Destination(Protocol):
    """A place for objects. Each is there whole or not at all."""

    def sizes_bytes(self, below: str) -> dict[str, int]:
        """The objects whose keys begin with `below`, which ends with a slash. Raises StorageError."""
        ...

    def put(self, each: TitleObject) -> None:
        """Store one object, in place of an older one of that key. Raises StorageError."""
        ...

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects. Raises StorageError."""
        ...


def destination_of(url: str, library: Path) -> Destination:
    """A folder, or `s3://BUCKET/PREFIX`. library: the folder of titles, into which nothing is published.

    Raises InputError for that, for another kind of URL, and when a package is missing.
    """
    if url.startswith(_S3):
        require("Publishing to a bucket", "publish")
        return Bucket(url)
    if "://" in url:
        raise InputError(f"{url!r} is no place to publish to: give a folder, or s3://BUCKET/PREFIX.")
    if Path(url).resolve().is_relative_to(library.resolve()):
        raise InputError(f"{url!r} is in the library itself, whose titles it would spoil: give another folder.")
    if Path(url).exists() and not Path(url).is_dir():
        raise InputError(f"{url!r} is a file; give a folder, or s3://BUCKET/PREFIX.")
    return Folder(Path(url))


class Folder:
    """A folder that a web server sends. Headers are that server's business."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def sizes_bytes(self, below: str) -> dict[str, int]:
        """Dot-names, such as what a stopped run was writing, are none."""
        found = (self.root / below).rglob("*")
        try:
            return {
                path.relative_to(self.root).as_posix(): path.stat().st_size
                for path in found
                if path.is_file() and not path.name.startswith(".")
            }
        except OSError as error:
            raise StorageError(f"Cannot read {self.root}: {error.strerror}.") from error

    def put(self, each: TitleObject) -> None:
        """See Destination."""
        write_atomically(self.root / each.key, each.read(), durable=False)

    def remove(self, keys: Iterable[str]) -> None:
        """Folders that are empty then go too."""
        try:
            for key in keys:
                path = self.root / key
                path.unlink(missing_ok=True)
                while (path := path.parent) != self.root and not any(path.iterdir()):
                    path.rmdir()
        except OSError as error:
            raise StorageError(f"Cannot remove from {self.root}: {error.strerror}.") from error


class Bucket:
    """A bucket, by fsspec. Credentials, region and endpoint are those that the AWS tools use: variables, or files."""

    def __init__(self, url: str) -> None:
        """url: `s3://BUCKET/PREFIX`. Raises InputError when it names no bucket."""
        import fsspec

        self._root = url.removeprefix(_S3).strip("/")
        if not self._root:
            raise InputError(f"{url!r} names no bucket: give s3://BUCKET/PREFIX.")
        self._files: Any = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)

    def sizes_bytes(self, below: str) -> dict[str, int]:
        """See Destination."""
        with _Refusals(f"Cannot list s3://{self._root}/{below}"):
            found = self._files.find(f"{self._root}/{below}", detail=True)
        return {path.removeprefix(f"{self._root}/"): int(each["size"]) for path, each in found.items()}

    def put(self, each: TitleObject) -> None:
        """See Destination."""
        headers = {"ContentType": each.content_type, "CacheControl": each.cache_control}
        with _Refusals(f"Cannot write s3://{self._root}/{each.key}"):
            self._files.pipe_file(f"{self._root}/{each.key}", each.read(), **headers)

    def remove(self, keys: Iterable[str]) -> None:
        """See Destination."""
        with _Refusals(f"Cannot remove from s3://{self._root}"):
            self._files.rm([f"{self._root}/{key}" for key in keys])


class _Refusals:
    """Turns what the service or the network says into StorageError."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from botocore.exceptions import BotoCoreError

        if isinstance(error, (OSError, BotoCoreError)):
            raise StorageError(f"{self._what}: {error}.") from error
