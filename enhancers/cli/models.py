"""`toprung export` and `import-model`: networks out to other programs, and other people's in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.core.enhancement import Tier
from abr.extras import require
from abr.progress import show_share
from abr.time_limit import Duration, time_limit

if TYPE_CHECKING:
    from enhancers.networks.checkpoint import Weights

_TIERS = click.Choice([tier.value for tier in (Tier.LOW, Tier.MEDIUM, Tier.HIGH)])
_SHOW_DEFAULT = {"show_default": True}


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("title", metavar="TITLE|generic")
@click.option("--onnx", "output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file.")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), help="Folder of titles.")
@click.option("--rung", help="Whose network of the TITLE, such as 180p.")
@click.option("--scale", type=click.Choice(["1.5", "2", "3", "4"]), default="2", help="Which of the generic networks.")
@click.option("--tier", type=_TIERS, default=Tier.HIGH.value)
@click.option("--chroma", is_flag=True, help="All three planes, where the network has a part for chroma.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(
    title: str, output: Path, library: Path | None, rung: str | None, scale: str, tier: str, chroma: bool, as_json: bool
) -> None:
    """Write a network as ONNX: a TITLE's own for one rung, or one of those that ship with the program.

    Takes luma ÷ 255, (N, 1, H, W); gives luma of the larger size, interpolation included. With --chroma it takes and
    gives u and v as well. The file is written only if ONNX Runtime shows what our own runtime shows, to three code
    values of 255.
    """
    if title != "generic" and (library is None or rung is None):
        raise click.UsageError("Give --library and --rung, to say which of the title's networks.")
    require("Exporting a network", "onnx", "train")
    from enhancers.interchange.onnx_export import export_onnx

    weights, sha256 = (
        _generic(float(scale), Tier(tier)) if title == "generic" else _own(library, title, rung, Tier(tier))
    )
    worst = export_onnx(weights if chroma else replace(weights, chroma=None), sha256, output)
    summary = {"architecture": str(weights.architecture), "file": str(output), "size_bytes": output.stat().st_size}
    if as_json:
        click.echo(json.dumps(summary | {"weights_sha256": sha256, "difference_max": worst}))
        return
    click.echo(f"{output}: {weights.architecture}, {summary['size_bytes']} bytes, within {worst} of 255 of our runtime")


def _generic(scale: float, tier: Tier) -> tuple[Weights, str]:
    from enhancers.networks import catalog
    from enhancers.networks.checkpoint import loads_chunks, weights_digest

    chunks = catalog.generic_chunks(catalog.architecture(scale, tier))
    return loads_chunks(chunks), weights_digest(chunks)


def _own(library: Path | None, title: str, rung: str | None, tier: Tier) -> tuple[Weights, str]:
    from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable, Family
    from abr.errors import StorageError, UnknownNameError
    from abr.records import load
    from enhancers.networks.checkpoint import loads_chunks, verify

    assert library is not None
    folder = library / title
    table = load(folder / ENHANCEMENTS_FILE, EnhancementTable)
    offers = {
        offer.rendition: offer
        for entry in table.enhancers
        for offer in entry.offers
        if (entry.family, entry.tier) == (Family.CONTENT, tier)
    }
    if rung not in offers:
        raise UnknownNameError(f"rendition with an enhancer content-{tier}", str(rung), offers)
    try:
        chunks = [verify((folder / c.file).read_bytes(), c.sha256, c.file) for c in offers[rung].chunks]
    except OSError as error:
        raise StorageError(f"Cannot read the weights of {title}: {error.strerror}.") from error
    return loads_chunks(chunks), offers[rung].weights_sha256


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("title")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of titles.")
@click.option("--source", type=click.Path(path_type=Path, dir_okay=False), help="What the title was prepared from.")
@click.option("--tier", type=_TIERS, default=Tier.HIGH.value, help="Under which it is offered.")
@click.option("--vmaf-every", type=click.IntRange(min=1), help="Score one frame in so many.  [default: as prepared]")
@click.option("--time-limit", "limit_s", type=Duration(), default="12h", help="For reading and measuring it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_model(
    model: Path,
    title: str,
    library: Path,
    source: Path | None,
    tier: str,
    vmaf_every: int | None,
    limit_s: float,
    as_json: bool,
) -> None:
    """Offer your own super-resolution network, MODEL, with a TITLE wherever it beats plain playback.

    MODEL is ONNX (luma or RGB, ×1.5 to ×4, any size of picture), or safetensors of a compact network (Real-ESRGAN's
    SRVGGNetCompact). It is measured against the source on every rung that it fits. Devices use it once they have
    measured it: toprung profile --model MODEL. Training the title again drops it; then import it again.
    """
    require("Importing a network", "onnx")
    from enhancers.interchange.import_network import attach_network, read_network
    from enhancers.prepared_title import open_title

    with time_limit(limit_s, f"Importing {model.name}"), show_share() as progress:
        prepared = open_title(library, title, source)
        network = read_network(model)
        every = vmaf_every or prepared.title.meter.every_frames
        result = attach_network(prepared, network, Tier(tier), every, progress)
    click.echo(json.dumps(result.as_json()) if as_json else result.as_text())
