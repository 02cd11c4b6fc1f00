"""`toprung export` and `import-model`: networks out to other programs, and other people's in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.core.enhancement import Tier
from abr.extras import require
from abr.finite_range import FiniteRange
from abr.progress import show_share
from abr.time_limit import Duration, time_limit

if TYPE_CHECKING:
    from enhancers.networks.checkpoint import Weights

_TIERS = click.Choice([tier.value for tier in (Tier.LOW, Tier.MEDIUM, Tier.HIGH)])
_FILE = click.Path(path_type=Path, dir_okay=False)
_SHOW_DEFAULT = {"show_default": True}


@click.command(context_settings=_SHOW_DEFAULT)
@click.argument("title", metavar="TITLE|generic|FILE")
@click.option("--onnx", "onnx_file", type=_FILE, help="Write this ONNX file.")
@click.option("--mpv", "mpv_file", type=_FILE, help="Write this mpv user shader, usually *.glsl.")
@click.option("--library", type=click.Path(path_type=Path, file_okay=False), help="Folder of titles.")
@click.option("--rung", help="Whose network of the TITLE, such as 180p.")
@click.option("--scale", type=click.Choice(["1.5", "2", "3", "4"]), default="2", help="Which of the generic networks.")
@click.option("--tier", type=_TIERS, default=Tier.HIGH.value)
@click.option(
    "--strength",
    type=FiniteRange(0, 1, min_open=True),
    help="How much of what the network adds is shown.  [default: as the TITLE offers it; generic: 1]",
)
@click.option("--chroma", is_flag=True, help="All three planes, where the network has a part for chroma: ONNX alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(
    title: str,
    onnx_file: Path | None,
    mpv_file: Path | None,
    library: Path | None,
    rung: str | None,
    scale: str,
    tier: str,
    strength: float | None,
    chroma: bool,
    as_json: bool,
) -> None:
    """Write a network for other programs: a TITLE's own for one rung, or one of those that ship with this one.

    FILE is one that toprung derive or toprung federate has written (safetensors).

    ONNX takes luma ÷ 255, (N, 1, H, W); it gives luma of the larger size, interpolation included. With --chroma it
    takes and gives u and v as well. The file is written only if ONNX Runtime shows what our own runtime shows, to three
    code values of 255.

    An mpv user shader lifts luma in mpv (--glsl-shaders=FILE) and in other players on libplacebo. It is held against
    our own runtime, to two code values, where this machine has Vulkan.
    """
    file = Path(title) if title.endswith(".safetensors") and library is None else None
    if title != "generic" and file is None and (library is None or rung is None):
        raise click.UsageError("Give --library and --rung, to say which of the title's networks.")
    if (onnx_file is None) == (mpv_file is None):
        raise click.UsageError("Give --onnx FILE or --mpv FILE.")
    if chroma and mpv_file:
        raise click.UsageError("A shader lifts luma alone: leave --chroma out.")
    require("Exporting a network", *(["onnx"] if onnx_file else []), "train")
    if file is not None:
        found = _from_file(file)
    else:
        found = _generic(float(scale), Tier(tier)) if title == "generic" else _own(library, title, rung, Tier(tier))
    weights, sha256, offered = found
    weights = weights if chroma else replace(weights, chroma=None)
    weights = _weakened(weights, offered if strength is None else strength)
    worst, output = _write(weights, sha256, onnx_file, mpv_file)
    summary = {"architecture": str(weights.architecture), "file": str(output), "size_bytes": output.stat().st_size}
    if as_json:
        click.echo(json.dumps(summary | {"weights_sha256": sha256, "difference_max": worst}))
        return
    checked = (
        "not held against our runtime: no Vulkan here" if worst is None else f"within {worst} of 255 of our runtime"
    )
    click.echo(f"{output}: {weights.architecture}, {summary['size_bytes']} bytes, {checked}")


def _weakened(weights: Weights, strength: float) -> Weights:
    from enhancers.networks.checkpoint import weaken

    return weights if strength == 1 else weaken(weights, strength)


def _write(weights: Weights, sha256: str, onnx_file: Path | None, mpv_file: Path | None) -> tuple[int | None, Path]:
    """How far the file's picture is from ours, None when that could not be seen; and the file."""
    if onnx_file is not None:
        from enhancers.interchange.onnx_export import export_onnx

        return export_onnx(weights, sha256, onnx_file), onnx_file
    from enhancers.interchange.mpv_export import export_mpv

    assert mpv_file is not None
    return export_mpv(weights, f"weights {sha256}", mpv_file), mpv_file


def _generic(scale: float, tier: Tier) -> tuple[Weights, str, float]:
    """Weights, their digest, and the strength that they are shown at."""
    from enhancers.networks import catalog
    from enhancers.networks.checkpoint import loads_chunks, weights_digest

    chunks = catalog.generic_chunks(catalog.architecture(scale, tier))
    return loads_chunks(chunks), weights_digest(chunks), 1.0


def _from_file(path: Path) -> tuple[Weights, str, float]:
    """The same of a file with one whole network of ours."""
    from abr.files import read_bounded
    from enhancers.networks.checkpoint import CHUNK_BYTES_MAX, digest, loads_chunks

    data = read_bounded(path, CHUNK_BYTES_MAX, what="network")
    return loads_chunks([data], what=path.name), digest(data), 1.0


def _own(library: Path | None, title: str, rung: str | None, tier: Tier) -> tuple[Weights, str, float]:
    """The same of a title's own."""
    from abr.core.enhancement import Family
    from abr.errors import StorageError, UnknownNameError
    from enhancers.networks.checkpoint import loads_chunks, verify
    from enhancers.prepared_title import find_table, find_title

    assert library is not None
    found = find_title(library, title)
    folder, table = found.folder, find_table(found)
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
    return loads_chunks(chunks), offers[rung].weights_sha256, offers[rung].strength


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

    MODEL is ONNX (luma or RGB, ×1.5 to ×4, any size of picture), safetensors of a compact network (Real-ESRGAN's
    SRVGGNetCompact), or what toprung derive or toprung federate has written. It is measured against the source on
    every rung that it fits. Devices use it once they have measured it: toprung profile --model MODEL. Training the
    title again drops it; then import it again.
    """
    require("Importing a network", "onnx")
    from enhancers.interchange.import_network import attach_network, read_own
    from enhancers.prepared_title import open_title

    with time_limit(limit_s, f"Importing {model.name}"), show_share() as progress:
        prepared = open_title(library, title, source)
        network = read_own(model)
        every = vmaf_every or prepared.title.meter.every_frames
        result = attach_network(prepared, network, Tier(tier), every, progress)
    click.echo(json.dumps(result.as_json()) if as_json else result.as_text())
