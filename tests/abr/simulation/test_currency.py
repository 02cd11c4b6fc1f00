"""`--quality`: the same title, trace and device, counted by trusted quality and by VMAF."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from film import TITLE_ID, film_library, measured_device
from msgspec.structs import replace

from abr.cli import root
from abr.core.enhancement import ENHANCEMENTS_FILE, EnhancementTable
from abr.records import dumps, load

TRUSTED_POINTS = 1.0


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A title whose enhancer lifts VMAF by nine points, of which the panel attests one."""
    title = film_library(tmp_path_factory.mktemp("film")) / TITLE_ID
    table = load(title / ENHANCEMENTS_FILE, EnhancementTable)
    (entry,) = table.enhancers
    (offer,) = entry.offers
    plain = load(title / "title.json", dict)["plain_quality"]["180p"]["vmaf"]
    quality = replace(offer.quality, trusted=tuple(vmaf + TRUSTED_POINTS for vmaf in plain))
    entry = replace(entry, offers=(replace(offer, quality=quality),))
    (title / ENHANCEMENTS_FILE).write_bytes(dumps(replace(table, enhancers=(entry,))))
    return title


@pytest.mark.parametrize("command", ["simulate", "compare"])
def test_what_counts_is_chosen_and_vmaf_is_told_beside_it(film: Path, tmp_path: Path, command: str) -> None:
    measured_device(tmp_path)
    (profile,) = (tmp_path / "toprung").iterdir()
    trace = tmp_path / "slow.csv"
    trace.write_text("duration_ms,bandwidth_kbps,latency_ms\n100000,250,50\n")

    def figures(quality: str) -> dict[str, float]:
        which = {
            "simulate": ["--trace", str(trace), "--controller", "bola_greedy"],
            "compare": ["--traces", str(trace), "--controllers", "bola_greedy"],
        }[command]
        asked = [command, str(film), *which, "--profile", str(profile), "--quality", quality, "--json"]
        result = CliRunner().invoke(root, asked, catch_exceptions=False)
        (means,) = json.loads(result.stdout)["means"].values()
        return means

    trusted, vmaf = figures("trusted"), figures("vmaf")
    assert vmaf["quality"] == vmaf["vmaf"]
    assert trusted["enhanced_share"] > 0
    assert trusted["quality"] < trusted["vmaf"] - 1, "most of the lift is not attested"
