"""Content keys of protected titles: from a file as the W3C writes ClearKey licences, or from the environment.

The file is a JWK set (W3C Encrypted Media Extensions, 9.1.4): `{"keys":[{"kty":"oct","kid":"…","k":"…"}]}`, both in
base64url without padding. The environment holds `KID:KEY`, 32 hex digits each. No key is ever part of a message.
"""

from __future__ import annotations

import binascii
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from abr.errors import FormatError, InputError, StorageError
from abr.files import read_bounded
from abr.records import loads

KEY_VARIABLE = "TOPRUNG_KEY"
KEY_BYTES = 16
_FILE_BYTES_MAX = 64 << 10
_EXPECTED = f"give {KEY_VARIABLE} as KID:KEY, 32 hex digits each"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentKey:
    """A key of AES-128 and its name. key_id: 32 hex digits, which anybody may know. key: of the same form."""

    key_id: str
    key: str = field(repr=False)


class _Jwk(msgspec.Struct, frozen=True):
    kty: Literal["oct"]
    kid: Annotated[str, Meta(max_length=64)]
    k: Annotated[str, Meta(max_length=64)]


class _JwkSet(msgspec.Struct, frozen=True):
    keys: Annotated[tuple[_Jwk, ...], Meta(min_length=1, max_length=256)]
    type: str = "temporary"


def new_key() -> ContentKey:
    """One that nobody has had before."""
    return ContentKey(key_id=secrets.token_hex(KEY_BYTES), key=secrets.token_hex(KEY_BYTES))


def dumps_keys(keys: tuple[ContentKey, ...]) -> bytes:
    """The file of some keys, which is also the licence that a ClearKey server answers."""
    return msgspec.json.encode(_JwkSet(keys=tuple(_Jwk("oct", _base64(key.key_id), _base64(key.key)) for key in keys)))


def write_key(path: Path, key: ContentKey) -> None:
    """Write a new file that its owner alone may read. Raises InputError when there is one, StorageError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(dumps_keys((key,)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise InputError(f"There is a file {path} already; give it with --key-file to use its key.") from error
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise StorageError(f"Cannot write {path}: {error.strerror}.") from error


def read_keys(path: Path) -> tuple[ContentKey, ...]:
    """The keys of a file. Raises InputError (FormatError), StorageError; neither tells what is in it."""
    what = f"{path} is no file of content keys: expected a JSON Web Key set of AES-128 keys, as ClearKey licences are."
    try:
        found = loads(read_bounded(path, _FILE_BYTES_MAX, what="file of content keys"), _JwkSet, what=str(path))
        return tuple(ContentKey(key_id=_hex(each.kid), key=_hex(each.k)) for each in found.keys)
    except (FormatError, ValueError) as error:
        raise FormatError(what) from error


def known_keys(path: Path | None) -> tuple[ContentKey, ...]:
    """Those of a file; without one that of the environment, if it holds any. Raises as `read_keys`."""
    if path is not None:
        return read_keys(path)
    written = os.environ.get(KEY_VARIABLE, "")
    if not written:
        return ()
    key_id, _, key = written.strip().partition(":")
    if not all(_is_hex(each) for each in (key_id, key)):
        raise InputError(f"The environment's {KEY_VARIABLE} is no content key: {_EXPECTED}.")
    return (ContentKey(key_id=key_id.lower(), key=key.lower()),)


def _is_hex(text: str) -> bool:
    return len(text) == 2 * KEY_BYTES and all(letter in "0123456789abcdefABCDEF" for letter in text)


def _hex(text: str) -> str:
    try:
        decoded = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("no base64url") from error
    if len(decoded) != KEY_BYTES:
        raise ValueError("no key of 16 bytes")
    return decoded.hex()


def _base64(digits: str) -> str:
    return urlsafe_b64encode(bytes.fromhex(digits)).rstrip(b"=").decode()
