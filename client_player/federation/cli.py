"""`toprung federate join`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from abr.finite_range import FiniteRange

if TYPE_CHECKING:
    from client_player.federation.joining import Tuner


@click.command(context_settings={"show_default": True})
@click.argument("url")
@click.option(
    "--came",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    required=True,
    help="A film as it came: an MP4 file, or a rendition's folder of segments; may be given again.",
)
@click.option("--crf", type=FiniteRange(0, 51), help="Of the ladder that it is from.  [default: as its title says]")
@click.option(
    "--rounds", type=click.IntRange(1, 10_000), default=1, help="Stop after so many sums have what we learnt."
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, help="To train with.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the newest version's weights here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def join(
    url: str,
    came: tuple[Path, ...],
    crf: float | None,
    rounds: int,
    threads: int,
    out: Path | None,
    as_json: bool,
) -> int:
    """Tune the generic network together with other players, on films as they came. URL is the server's.

    The films stay here. What is learnt from them goes into a sum over five players or more; nobody sees it alone.
    """
    import asyncio
    from contextlib import suppress

    from abr.extras import require
    from abr.secure_aggregation.secrets import load_libraries

    require("Federated tuning", "private", "train")
    load_libraries()
    from abr.files import check_output
    from client_player.federation.came import read_came
    from client_player.federation.joining import Tuner
    from client_player.transport.http import check_url

    check_url(url)
    if out is not None:
        check_output(out, *came)
    tuner = Tuner(
        url if url.endswith("/") else url + "/",
        lambda scale: read_came(came, scale, crf),
        lambda said: click.echo(said, err=True),
        threads,
        fetches_newest=out is not None,
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(tuner.take_part(rounds))
    return _tell(tuner, out, as_json=as_json)


def _tell(tuner: Tuner, out: Path | None, *, as_json: bool) -> int:
    """The exit code: 1 where no sum has an update of ours."""
    from dataclasses import asdict

    from abr.files import write_atomically
    from abr.records import dumps

    result = tuner.result
    if out is not None and tuner.newest is not None:
        write_atomically(out, tuner.newest.network.dumps())
    if as_json:
        click.echo(dumps(asdict(result)).decode())
    else:
        click.echo(
            f"{result.rounds} rounds, the last over {result.survivors} players; version {result.version} is the best; "
            f"{result.train_s:.0f} s of training, {result.sent_bytes / 1e3:.0f} kB sent, "
            f"{result.received_bytes / 1e3:.0f} kB received"
        )
    if result.problem:
        click.echo(f"toprung: It ended early: {result.problem}", err=True)
    return 0 if result.rounds else 1
