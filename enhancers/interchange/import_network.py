"""A user's own network as an enhancer of a title: checked, measured on every rung that it fits, and offered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from abr.core.enhancement import (
    ENHANCEMENTS_FILE,
    Chunk,
    Currency,
    EnhancementTable,
    EnhancerEntry,
    Family,
    Offer,
    Tier,
)
from abr.core.options import counted_quality
from abr.core.title import Quality
from abr.errors import FormatError, InputError, StorageError
from abr.progress import ShareListener
from abr.records import load
from enhancers.interchange.compact import compact_as_onnx
from enhancers.interchange.onnx_layout import as_float_nchw, refuse_fixed_size
from enhancers.measurement.offers import OfferCandidate, find_refusals, measure_candidates, select_worthwhile
from enhancers.measurement.publish import FOLDER, publish
from enhancers.measurement.strengths import choose_strengths
from enhancers.networks import catalog
from enhancers.networks.checkpoint import CHUNK_BYTES_MAX, digest, dumps_chunks
from enhancers.networks.derived import SUFFIX as DERIVED_SUFFIX
from enhancers.networks.derived import DerivedNetwork, is_derived, is_int8, loads_derived
from enhancers.networks.imported import ImportedNetwork
from enhancers.prepared_title import PreparedTitle
from enhancers.runtime.onnx_check import loads_onnx
from enhancers.work_folder import hold_work_folder

OwnNetwork = ImportedNetwork | DerivedNetwork
_PICKLES = (b"PK\x03\x04", b"\x80")
"""How files of torch.save begin."""


def read_own(path: Path) -> OwnNetwork:
    """A network that `toprung derive` or `federate` wrote, or one as `read_network` takes it.

    One that is kept in floats is taken in eight bits, as viewers download it. Raises FormatError or StorageError.
    """
    data = _read(path)
    if not is_derived(data):
        return read_network(path)
    try:
        network = loads_derived(data)
        return network if is_int8(data) else loads_derived(dumps_chunks(network.weights, storage="I8")[0])
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(CHUNK_BYTES_MAX + 1)
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error


def read_network(path: Path) -> ImportedNetwork:
    """An `.onnx` file, or a `.safetensors` one of a compact network. Raises FormatError or StorageError."""
    data = _read(path)
    try:
        if data.startswith(_PICKLES):
            raise FormatError("this is a pickle, which can run anything: save it as safetensors or export it as ONNX.")
        if path.suffix == ".safetensors" or len(data) > CHUNK_BYTES_MAX:
            return loads_onnx(compact_as_onnx(data) if path.suffix == ".safetensors" else data)
        usual = as_float_nchw(data)
        network = loads_onnx(usual)
        if usual != data:
            refuse_fixed_size(usual, network.channels)
        return network
    except ImportError as error:
        raise InputError("Imported networks need the package onnx: pip install 'toprung[onnx]'.") from error
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRung:
    """Quality of one rung, plain and by the network. offered: whether the title's table now holds it.

    refused: who of the panel says that its picture is worse than plain.
    """

    rendition: str
    plain: Quality
    reached: Quality
    offered: bool
    refused: Sequence[str]

    def as_json(self) -> dict[str, object]:
        """The figures, as `--json` prints them."""
        plain, reached = _means(self.plain), _means(self.reached)
        return {"rendition": self.rendition, "plain": plain, "enhanced": reached, "offered": self.offered} | {
            "refused": list(self.refused)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What was measured. name: of the enhancer in the title's table."""

    name: str
    network: OwnNetwork
    rungs: Sequence[MeasuredRung]

    def as_json(self) -> dict[str, object]:
        """The figures, as `--json` prints them."""
        return {
            "enhancer": self.name,
            "architecture": str(self.network.architecture),
            "weights_bytes": len(self.network.data),
            "macs_per_output_px": round(self.network.macs_per_output_px, 1),
            "rungs": [rung.as_json() for rung in self.rungs],
        }

    def as_text(self) -> str:
        """The same as lines for a terminal."""
        lines = [
            f"{self.network.architecture}: {len(self.network.data) / 1000:.0f} kB, "
            f"{self.network.macs_per_output_px:.0f} multiplications a pixel",
            f"{'rendition':<10}{'quality':>8}{'gain':>8}{'VMAF':>8}{'gain':>8}{'NEG':>8}{'gain':>8}",
        ]
        for rung in self.rungs:
            plain, reached = _means(rung.plain), _means(rung.reached)
            gains = "".join(
                f"{reached[name]:8.2f}{reached[name] - plain[name]:+8.2f}" for name in ("trusted", "vmaf", "vmaf_neg")
            )
            why = f"worse by {', '.join(rung.refused)}" if rung.refused else "it must win on quality and NEG"
            verdict = f"offered as {self.name}" if rung.offered else f"not offered: {why}"
            lines.append(f"{rung.rendition:<10}{gains}  {verdict}")
        return "\n".join(lines)


def attach_network(
    prepared: PreparedTitle, network: OwnNetwork, tier: Tier, every_frames: int, progress: ShareListener
) -> ImportResult:
    """Measure `network` on every rung that it fits; offer it, beside what the title offers already, where it pays.

    Raises InputError when it fits none.
    """
    fitting = [
        OfferCandidate(
            family=Family.OWN,
            tier=tier,
            rendition=rendition,
            architecture=str(network.architecture),
            chunks=(network.data,),
        )
        for rendition in prepared.title.renditions
        if catalog.scale_for(rendition.height_px, prepared.title.display_height_px) == network.architecture.scale
    ]
    if not fitting:
        raise InputError(
            f"This network makes pictures {network.architecture.scale:g} times larger: no rendition of "
            f"{prepared.title.id} is that much smaller than its display."
        )
    with hold_work_folder(prepared) as work:
        fitting = choose_strengths(prepared, fitting, work, progress)
        qualities = measure_candidates(prepared, fitting, every_frames, work, progress)
    kept = select_worthwhile(fitting, qualities, prepared.title)
    refused = find_refusals(fitting, qualities, prepared.title)
    entry = EnhancerEntry(
        name=f"{Family.OWN}-{tier}",
        family=Family.OWN,
        tier=tier,
        offers=tuple(_offer(candidate, network, qualities[candidate.key]) for candidate in kept),
    )
    _publish(prepared, entry, network, every_frames)
    return ImportResult(
        name=entry.name,
        network=network,
        rungs=[
            MeasuredRung(
                rendition=each.rendition.id,
                plain=prepared.title.plain_quality[each.rendition.id],
                reached=qualities[each.key],
                offered=each in kept,
                refused=refused.get(each.key, ()),
            )
            for each in fitting
        ],
    )


def _offer(candidate: OfferCandidate, network: OwnNetwork, quality: Quality) -> Offer:
    return Offer(
        rendition=candidate.rendition.id,
        architecture=candidate.architecture,
        weights_sha256=digest(network.data),
        chunks=(_chunk(network),),
        macs_per_output_px=round(network.macs_per_output_px, 1),
        quality=quality,
        strength=candidate.strength,
    )


def _chunk(network: OwnNetwork) -> Chunk:
    sha256, suffix = digest(network.data), DERIVED_SUFFIX if isinstance(network, DerivedNetwork) else ".onnx"
    return Chunk(file=f"{FOLDER}/own-{sha256[:12]}{suffix}", size_bytes=len(network.data), sha256=sha256)


def _publish(prepared: PreparedTitle, entry: EnhancerEntry, network: OwnNetwork, every_frames: int) -> None:
    meter = msgspec.structs.replace(prepared.title.meter, every_frames=every_frames)
    try:
        table = load(prepared.folder / ENHANCEMENTS_FILE, EnhancementTable)
    except StorageError:
        table = EnhancementTable(title=prepared.title.id, meter=meter, enhancers=())
    others = [each for each in table.enhancers if each.name != entry.name]
    enhancers = (*others, *([entry] if entry.offers else []))
    order = sorted(enhancers, key=lambda each: (list(Family).index(each.family), list(Tier).index(each.tier)))
    chunks = {_chunk(network).file: network.data} if entry.offers else {}
    publish(prepared.folder, msgspec.structs.replace(table, enhancers=tuple(order)), chunks)


def _means(quality: Quality) -> dict[str, float]:
    return {
        "trusted": round(float(np.mean(counted_quality(quality, Currency.TRUSTED))), 3),
        "vmaf": round(float(np.mean(quality.vmaf)), 3),
        "vmaf_neg": round(float(np.mean(quality.vmaf_neg)), 3),
        "ssim": round(float(np.mean(quality.ssim)), 5),
        "psnr_y_db": round(float(np.mean(quality.psnr_y_db)), 3),
    }
