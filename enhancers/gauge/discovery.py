"""Finds models in files, folders and packages: by their first bytes where a format has some, else by their name.

APK, IPA, wheels and JARs are ZIP archives, and so are TorchScript files. Archives inside of archives are looked into a
few levels deep. All of it may be hostile: this runs in a bounded process, and sizes are counted while they are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from enhancers.gauge.records import Format

MODEL_MAX_BYTES = 1 << 30
EXTRACTED_MAX_BYTES = 4 << 30
"""Of one file or folder that was asked for: all that is taken out of its packages."""
FILES_MAX = 100_000
MODELS_MAX = 4096
DEPTH_MAX = 3
_HEAD_BYTES = 512
_BLOCK_BYTES = 1 << 20
_SAFETENSORS_HEADER_MAX = 100 << 20
_PICKLES = (".pt", ".pth", ".ckpt", ".bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model file. place: as a person would name it, `app.apk!/assets/a.tflite`. companion: the weights of an IR."""

    path: Path
    place: str
    format: Format
    companion: Path | None = None


@dataclass(slots=True, kw_only=True)
class Search:
    """Looks through one path. scratch: a folder for what is taken out of packages."""

    scratch: Path
    files: int = 0
    skipped: list[str] = field(default_factory=list)
    _extracted_bytes: int = 0
    _models: int = 0

    def find(self, root: Path) -> Iterator[Found]:
        """Every model in a file, or in a folder and all below it. Links are not followed out of a folder."""
        for path in [root] if root.is_file() else _files_below(root):
            if self.files >= FILES_MAX or self._models >= MODELS_MAX:
                self._skip(str(root), f"stopped after {self.files} files and {self._models} models")
                return
            try:
                for found in self._look(path, str(path), 0):
                    self._models += 1
                    yield found
            except Exception as error:  # noqa: BLE001 (of a damaged archive, zipfile raises anything)
                self._skip(str(path), str(error) or type(error).__name__)

    def _look(self, path: Path, place: str, depth: int) -> Iterator[Found]:
        self.files += 1
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head.startswith(b"PK\x03\x04"):
            yield from self._look_into(path, place, depth)
            return
        kind = sniff(head, path.name, path.stat().st_size)
        if kind is None:
            return
        if path.stat().st_size > MODEL_MAX_BYTES:
            self._skip(place, f"larger than {MODEL_MAX_BYTES >> 20} MiB")
            return
        weights = path.with_suffix(".bin") if kind is Format.OPENVINO else None
        yield Found(
            path=self._by_its_name(path, kind),
            place=place,
            format=kind,
            companion=weights if weights and weights.is_file() else None,
        )

    def _by_its_name(self, path: Path, kind: Format) -> Path:
        """OpenVINO goes by the ending of a name; in packages, that may be any."""
        if kind is not Format.TFLITE or path.suffix == ".tflite":
            return path
        link = self.scratch / f"{sum(1 for _ in self.scratch.iterdir())}.tflite"
        link.symlink_to(path.absolute())
        return link

    def _look_into(self, path: Path, place: str, depth: int) -> Iterator[Found]:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if (kind := _torch_kind([member.filename for member in members])) is not None:
                yield Found(path=path, place=place, format=kind)
                return
            if depth >= DEPTH_MAX:
                self._skip(place, f"more than {DEPTH_MAX} archives inside of each other")
                return
            by_name = {member.filename: member for member in members}
            for member in members[: FILES_MAX - self.files]:
                yield from self._look_at_member(archive, member, by_name, f"{place}!/{member.filename}", depth)

    def _look_at_member(
        self,
        archive: zipfile.ZipFile,
        member: zipfile.ZipInfo,
        by_name: dict[str, zipfile.ZipInfo],
        place: str,
        depth: int,
    ) -> Iterator[Found]:
        """A member that cannot be read costs itself."""
        try:
            with archive.open(member) as file:
                head = file.read(_HEAD_BYTES)
            kind = sniff(head, member.filename, member.file_size)
            if kind is None and not head.startswith(b"PK\x03\x04"):
                self.files += 1
                return
            taken = self._take_out(archive, member)
            if kind is Format.OPENVINO:
                beside = by_name.get(str(PurePosixPath(member.filename).with_suffix(".bin")))
                if beside is not None:
                    self._take_out(archive, beside).rename(taken.with_suffix(".bin"))
            yield from self._look(taken, place, depth + 1)
        except Exception as error:  # noqa: BLE001 (as in find)
            self._skip(place, str(error) or type(error).__name__)

    def _take_out(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Path:
        """Into the scratch folder, under a name of our own. Raises OSError when it grows too large."""
        number = sum(1 for _ in self.scratch.iterdir())
        target = self.scratch / f"{number}{_safe_suffix(member.filename)}"
        with archive.open(member) as source, target.open("wb") as copy:
            self._copy(source, copy)
        return target

    def _copy(self, source: IO[bytes], copy: IO[bytes]) -> None:
        size = 0
        while block := source.read(_BLOCK_BYTES):
            size, self._extracted_bytes = size + len(block), self._extracted_bytes + len(block)
            if size > MODEL_MAX_BYTES or self._extracted_bytes > EXTRACTED_MAX_BYTES:
                raise OSError("it unpacks to more bytes than are taken")
            copy.write(block)

    def _skip(self, place: str, why: str) -> None:
        if len(self.skipped) < 256:
            self.skipped.append(f"{place[-700:]}: {why[:200]}")


def sniff(head: bytes, name: str, size_bytes: int) -> Format | None:
    """The format of a file that begins with `head`; None for what is no model."""
    suffix = PurePosixPath(name).suffix.lower()
    if head[4:8] == b"TFL3":
        return Format.TFLITE
    if suffix == ".onnx":
        return Format.ONNX
    if suffix == ".xml" and b"<net " in head:
        return Format.OPENVINO
    if suffix == ".safetensors" or _is_safetensors(head, size_bytes):
        return Format.SAFETENSORS
    if suffix in _PICKLES and head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return Format.PICKLE
    return None


def _is_safetensors(head: bytes, size_bytes: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:10] == b'{"' and 2 < length <= min(size_bytes - 8, _SAFETENSORS_HEADER_MAX)


def _torch_kind(names: list[str]) -> Format | None:
    """PyTorch writes archives with one folder: code beside the data makes a program of it, else it is a checkpoint."""
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or not any(name.count("/") == 1 and name.endswith("/data.pkl") for name in names):
        return None
    is_program = any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names)
    return Format.TORCHSCRIPT if is_program else Format.PICKLE


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def _safe_suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix[1:].isalnum() and len(suffix) <= 16 else ".model"


def digest_of(found: Found) -> tuple[str, int]:
    """sha256 and size of a model: of an IR both its files. Raises OSError."""
    hasher, size = hashlib.sha256(), 0
    for path in filter(None, (found.path, found.companion)):
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                hasher.update(block)
                size += len(block)
    return hasher.hexdigest(), size


def search(root: Path, scratch: Path) -> bytes:
    """All that is found in `root`, for another process: JSON of files, skipped and models."""
    looking = Search(scratch=scratch)
    models = []
    for found in looking.find(root):
        try:
            sha256, size_bytes = digest_of(found)
        except OSError as error:
            looking.skipped.append(f"{found.place}: {error.strerror}")
            continue
        companion = str(found.companion or "")
        models.append((sha256, found.format, size_bytes, str(found.path), found.place[-1024:], companion))
    return json.dumps({"files": looking.files, "skipped": looking.skipped, "models": models}).encode()
