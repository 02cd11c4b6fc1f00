"""`toprung publish`: titles to a folder or a bucket that a CDN sends."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from server.media.cli import library_option


@click.command()
@click.argument("titles", nargs=-1, required=True, metavar="TITLE...")
@library_option
@click.option("--to", "url", required=True, metavar="FOLDER|s3://BUCKET/PREFIX", help="Where to publish them.")
@click.option("--prune", is_flag=True, help="Remove older versions of these titles there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a title.")
def publish(titles: tuple[str, ...], root: Path, url: str, prune: bool, as_json: bool) -> None:
    """Publish each TITLE to a folder or a bucket, for a CDN to send: `toprung serve --media-base` leads viewers there.

    What is there already is not sent again. Manifests come last, so that players never find half a title. Standard
    manifests play from there without any server.
    """
    import time

    import msgspec

    from abr.progress import show_progress
    from server.media.library import Library
    from server.publishing.destinations import destination_of
    from server.publishing.publish import publish_title
    from server.publishing.title_objects import objects_of

    library, destination = Library(root), destination_of(url, root)
    found = {name: objects_of(library, name, time.time()) for name in dict.fromkeys(titles)}
    for name, objects in found.items():
        with show_progress(transient=True) as listener:
            done = publish_title(name, objects, destination, prune=prune, listener=listener)
        if as_json:
            click.echo(msgspec.json.encode(asdict(done)).decode())
            continue
        removed = f", {done.removed} of older versions removed" if done.removed else ""
        click.echo(f"{name}: {done.sent} of {done.objects} objects sent, {done.sent_bytes / 1e6:.1f} MB{removed}.")
