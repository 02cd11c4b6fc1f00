"""The optional extras of the package (`pip install 'toprung[player]'`): what each brings, and what of it is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from abr.errors import InputError

_PROJECT = "toprung"


class MissingExtraError(InputError):
    """A command needs packages that the base install leaves out; the message says how to get them."""

    def __init__(self, purpose: str, extras: Sequence[str], packages: Sequence[str]) -> None:
        *others, last = packages
        which = f"{', '.join(others)} and {last}, which are" if others else f"{last}, which is"
        super().__init__(f"{purpose} needs {which} missing here: pip install '{_PROJECT}[{','.join(extras)}]'.")


def require(purpose: str, *extras: str) -> None:
    """Raises MissingExtraError when a package of some extra is not installed. `purpose` begins its sentence."""
    if lacking := [extra for extra in extras if missing(extra)]:
        raise MissingExtraError(purpose, lacking, sorted({name for extra in lacking for name in missing(extra)}))


def missing(extra: str = "") -> tuple[str, ...]:
    """The packages of an extra, or of the base install, that are not installed. Their versions are pip's business."""
    return tuple(name for name in packages_of(extra) if not _is_installed(name))


def packages_of(extra: str = "") -> tuple[str, ...]:
    """The packages that an extra adds to the base install, or those of the base install, sorted."""
    return tuple(sorted(set(_packages(extra))))


def _packages(extra: str) -> Iterator[str]:
    for requirement in map(Requirement, requires(_PROJECT) or ()):
        if not _belongs(requirement, extra):
            continue
        if requirement.name == _PROJECT:
            for other in requirement.extras:
                yield from _packages(other)
        else:
            yield requirement.name


def _belongs(requirement: Requirement, extra: str) -> bool:
    """Whether `extra` is what brings this requirement to this machine. The base install is the extra without a name."""
    if requirement.marker is None:
        return extra == ""
    in_base = requirement.marker.evaluate({"extra": ""})
    return in_base if extra == "" else requirement.marker.evaluate({"extra": extra}) and not in_base


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
