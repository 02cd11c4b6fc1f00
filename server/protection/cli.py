"""`toprung protect`: titles encrypted for players that are given the key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from server.media.cli import library_option

if TYPE_CHECKING:
    from abr.media.content_keys import ContentKey


@click.command(no_args_is_help=True)
@click.argument("title_id", metavar="TITLE")
@library_option
@click.option("--id", "new_id", default="", help="Keep TITLE as it is, and add the protected one under this name.")
@click.option(
    "--scheme",
    type=click.Choice(["cenc", "cbcs"]),
    default="cenc",
    show_default=True,
    help="AES in CTR, which most ClearKey players take, or CBC of a part of the blocks, which Apple's devices want.",
)
@click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False), help="JSON Web Key set with one key.")
@click.option("--new-key", type=click.Path(path_type=Path, dir_okay=False), help="Make a key, and write it there.")
@click.option("--licence-url", default="", metavar="URL", help="Where players ask for the key; told in the manifests.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def protect(
    title_id: str,
    root: Path,
    new_id: str,
    scheme: str,
    key_file: Path | None,
    new_key: Path | None,
    licence_url: str,
    as_json: bool,
) -> None:
    """Encrypt the pictures and the sound of TITLE (Common Encryption), for players that are given the key (ClearKey).

    The key comes from --key-file, --new-key, or the environment's TOPRUNG_KEY (KID:KEY in hex). It is in no manifest,
    no log and no argument. Train first: nobody can lift frames that nobody can read.
    """
    from functools import partial

    import msgspec

    from abr.core.title import Protection
    from abr.progress import bars_reporting_to, show_progress
    from server.media.library import Library
    from server.protection.packager import find_packager
    from server.protection.protect import check_protectable, protect_title

    library = Library(root)
    check_protectable(library, title_id, new_id)
    find_packager()
    check_licence_url(licence_url)
    key = _key(key_file, new_key)
    told = msgspec.convert({"scheme": scheme, "key_id": key.key_id, "licence_url": licence_url}, Protection)
    with show_progress(transient=True) as listener:
        bars = bars_reporting_to(partial(listener, ""))
        title = protect_title(library, title_id, key, told, new_id=new_id, bars=bars)
    if as_json:
        said = {"title": title.id, "folder": str(library.root / title.id), "scheme": scheme, "key_id": key.key_id}
        click.echo(msgspec.json.encode(said).decode())
        return
    click.echo(library.root / title.id)
    click.echo(f"{title.id} is protected ({scheme}) with key {key.key_id}.", err=True)


def check_licence_url(url: str) -> None:
    """Raises InputError for what players could not ask."""
    import re

    from abr.core.title import LICENCE_URL
    from abr.errors import InputError

    if not re.fullmatch(LICENCE_URL, url):
        raise InputError(f"--licence-url {url[:200]!r} is no address; give https://… or a path such as /licence.")


def _key(key_file: Path | None, new_key: Path | None) -> ContentKey:
    """The one key. Raises InputError when there is none, or more than one."""
    from abr.errors import InputError
    from abr.media.content_keys import KEY_VARIABLE, known_keys, write_key
    from abr.media.content_keys import new_key as make_key

    if key_file and new_key:
        raise click.UsageError("Give --key-file or --new-key, not both.")
    if new_key:
        key = make_key()
        write_key(new_key, key)
        return key
    found = known_keys(key_file)
    if len(found) != 1:
        where = key_file or f"the environment ({KEY_VARIABLE})"
        raise InputError(f"There are {len(found)} keys in {where}; give one with --key-file, or make one: --new-key.")
    return found[0]
