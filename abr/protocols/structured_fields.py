"""The bare items of HTTP structured fields (RFC 8941, 3.3) that CMCD and CMSD are made of: strict and bounded."""

from __future__ import annotations

import re

from abr.errors import FormatError

INTEGER_MAX = 999_999_999_999_999
LENGTH_MAX = 4096
"""Longest header or query value looked at, in characters."""

_STRING = r'("[ !#-\[\]-~]*(?:\\["\\][ !#-\[\]-~]*)*")'
_DECIMAL, _INTEGER, _BOOLEAN = r"(-?\d{1,12}\.\d{1,3})", r"(-?\d{1,15})", r"(\?[01])"
_WORD = r"([A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*)"
_ITEM = re.compile(f"{_STRING}|{_DECIMAL}|{_INTEGER}|{_BOOLEAN}|{_WORD}")
_TOKEN = re.compile(_WORD)
_PRINTABLE = re.compile(r"[ -~]*")
_KEY = re.compile(r"[A-Za-z*][A-Za-z0-9_.*-]{0,63}")

_PLAIN = re.compile(
    rf"({_KEY.pattern})(?:=(?:{_INTEGER}|{_STRING}|{_WORD}|{_DECIMAL}|{_BOOLEAN}))?[ \t]*(?:,[ \t]*(?=[^ \t])|\Z)|(.+)",
    re.DOTALL,
)
"""A member, its value by kind, most frequent first, and the comma behind it; or, where none begins, all the rest."""


class Token(str):
    """A short word written without quotes, such as `v` or `video/mp4`. Equal to the string it spells."""

    __slots__ = ()


Value = bool | int | float | str
"""What a key may hold; a `Token` where no quotes are wanted."""


class Cursor:
    """Reads one field value from left to right; every method raises FormatError naming `what` and the place."""

    def __init__(self, text: str, what: str) -> None:
        if len(text) > LENGTH_MAX:
            raise FormatError(f"{what} is {len(text)} characters long; at most {LENGTH_MAX} are read.")
        self.text, self.what, self.at = text, what, 0

    def fail(self, expected: str) -> FormatError:
        """The error to raise where `expected` was not found."""
        return FormatError(f"{self.what} is malformed at character {self.at + 1}: expected {expected}.")

    @property
    def done(self) -> bool:
        """Whether all is read."""
        return self.at >= len(self.text)

    def spaces(self) -> None:
        """Pass over spaces and tabs."""
        while not self.done and self.text[self.at] in " \t":
            self.at += 1

    def take(self, mark: str) -> bool:
        """Step over `mark` if it comes next."""
        found = self.text.startswith(mark, self.at)
        self.at += len(mark) if found else 0
        return found

    def key(self) -> str:
        """Read a key. Raises FormatError."""
        return self._match(_KEY, "a key").group()

    def item(self) -> Value:
        """Read a bare item. Raises FormatError."""
        match = self._match(_ITEM, "a number, a quoted string, a token or a boolean")
        return _value(*match.groups(""))

    def inner_list(self) -> list[tuple[Value, frozenset[str]]] | None:
        """The items of an inner list (RFC 8941, 3.1.1), each with the names of its parameters; None if none begins."""
        if not self.take("("):
            return None
        items: list[tuple[Value, frozenset[str]]] = []
        self.spaces()
        while not self.take(")"):
            if items and self.text[self.at - 1] not in " \t":
                raise self.fail("a space between items")
            items.append((self.item(), self._parameters()))
            self.spaces()
        return items

    def _parameters(self) -> frozenset[str]:
        names = []
        while self.take(";"):
            self.spaces()
            names.append(loads_pair(self)[0])
        return frozenset(names)

    def comma(self) -> bool:
        """Step over the comma before a further member; False at the end."""
        self.spaces()
        if self.done:
            return False
        if not self.take(","):
            raise self.fail("a comma")
        self.spaces()
        if self.done:
            raise self.fail("a member after the comma")
        return True

    def _match(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise self.fail(expected)
        self.at = match.end()
        return match


def dumps_item(value: Value) -> str:
    """One bare item as text. Raises FormatError for what RFC 8941 cannot carry."""
    if isinstance(value, bool):
        return "?1" if value else "?0"
    if isinstance(value, Token):
        if not _TOKEN.fullmatch(value):
            raise FormatError(f"{str(value)!r} is not a token: give it as a plain string.")
        return str(value)
    if isinstance(value, str):
        if not _PRINTABLE.fullmatch(value):
            raise FormatError(f"{value!r} has characters outside printable ASCII: percent-encode them.")
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if not abs(value) <= (INTEGER_MAX if isinstance(value, int) else 999_999_999_999):
        raise FormatError(f"{value} is too large (or no number) for a structured field.")
    if isinstance(value, int):
        return str(value)
    text = f"{value:.3f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def plain_members(text: str) -> list[tuple[str, Value]] | None:
    """The members of a list of keys and bare items, all at once: several times as quick as with a Cursor.

    None when there is anything else in it, for a Cursor to tell.
    """
    members: list[tuple[str, Value]] = []
    for key, integer, string, token, decimal, boolean, rest in _PLAIN.findall(text):
        if integer:
            members.append((key, int(integer)))
        elif rest:
            return None
        elif not (string or decimal or boolean or token):
            members.append((key, True))
        else:
            members.append((key, _value(string, decimal, "", boolean, token)))
    return members


def _value(string: str, decimal: str, integer: str, boolean: str, token: str) -> Value:
    """What a match of _ITEM says."""
    if integer:
        return int(integer)
    if string:
        return re.sub(r"\\(.)", r"\1", string[1:-1]) if "\\" in string else string[1:-1]
    if token:
        return Token(token)
    return boolean == "?1" if boolean else float(decimal)


def loads_pair(cursor: Cursor) -> tuple[str, Value]:
    """`key` (meaning true) or `key=item`."""
    key = cursor.key()
    return key, cursor.item() if cursor.take("=") else True


def dumps_pair(key: str, value: Value) -> str:
    """A key and its value; true is the key alone. Raises FormatError for what is no key."""
    if not _KEY.fullmatch(key):
        raise FormatError(f"{key!r} is not a key: letters, digits, '-', '_', '.' and '*', starting with a letter.")
    return key if value is True else f"{key}={dumps_item(value)}"
