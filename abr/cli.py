"""The one command, `toprung`. Subcommands are imported when they run, so that `--help` stays quick."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from importlib.metadata import version

import click

from abr.errors import ToprungError


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a subcommand lives (`module:attribute`) and the line that `--help` shows for it."""

    where: str
    summary: str


class LazyGroup(click.Group):
    """A click group that knows its subcommands' names and summaries without importing them."""

    def __init__(self, lazy: dict[str, Lazy], **attrs: object) -> None:
        super().__init__(**attrs)  # type: ignore[arg-type]
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The subcommands in the order of the table."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand, or None for an unknown name."""
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name].where.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write names and summaries without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in self.lazy.items()])


bench = LazyGroup(
    {
        "prepare": Lazy("server.ingest.bench:bench_prepare", "Our ladder encode against the ffmpeg command line."),
        "emulator": Lazy("client_player.emulate.bench:bench_emulator", "The link emulator against its own traces."),
        "enhance": Lazy("enhancers.cli.train:bench_enhance", "What enhancers buy a clip: each rung, and BD-rate."),
        "runtime": Lazy("enhancers.cli.train:bench_runtime", "Enhancers: frames a second and share of the peak."),
        "serve": Lazy("server.bench.cli:bench_serve", "Plain and decided segments against nginx, on one core."),
        "experiment": Lazy(
            "server.bench.experiment:bench_experiment", "Simulated viewers through a real server's experiment."
        ),
        "soak": Lazy("server.bench.soak:bench_soak", "Thousands of sessions through one server: what stays behind?"),
        "reuse": Lazy("enhancers.cli.train:bench_reuse", "Anchors and motion against enhancing every frame."),
        "derive": Lazy("enhancers.cli.derive:bench_derive", "Derived networks against simpler ways to be small."),
        "plan": Lazy("enhancers.cli.plans:bench_plan", "Quality against computing: tiers and frame plans."),
        "plan-qoe": Lazy("abr.evaluation.bench_plan_qoe:bench_plan_qoe", "Simulated sessions with and without plans."),
        "pairs": Lazy(
            "enhancers.cli.ratings:bench_pairs", "Blind pairs of lifted and plain clips, for people to rate."
        ),
        "ratings": Lazy(
            "enhancers.cli.ratings:bench_ratings", "What people preferred: shares and Bradley–Terry scores."
        ),
        "abr": Lazy(
            "abr.evaluation.bench_abr:bench_abr", "Every controller on every trace set, against the offline optimum."
        ),
        "opinions": Lazy(
            "abr.evaluation.bench_opinions:bench_opinions", "Learning from raters who disagree, on contents unseen."
        ),
        "qoe": Lazy("abr.evaluation.bench_qoe:bench_qoe", "Controllers planned on what people say against VMAF."),
        "group": Lazy(
            "abr.evaluation.bench_group:bench_group", "Viewers on one link: decided together, alone, and by dash.js."
        ),
        "simulator": Lazy(
            "abr.evaluation.bench_simulator:bench_simulator", "The simulator against a Sabre-style event loop."
        ),
        "live": Lazy("client_player.bench.live:bench_live", "Real sessions against the simulator's forecast of each."),
        "deadline": Lazy("client_player.bench.deadline:bench_deadline", "Late frames when half the processor goes."),
    },
    name="bench",
    help="Measure Toprung against named peers, in one run.",
)

qoe = LazyGroup(
    {
        "fit": Lazy("abr.evaluation.qoe_fit:qoe_fit", "Learn from people's opinions what a picture is worth to them."),
    },
    name="qoe",
    help="A quality of experience learnt from people.",
)

federate = LazyGroup(
    {
        "serve": Lazy("server.cli:federate_serve", "Keep a network's versions, and hold rounds in which it is tuned."),
        "join": Lazy(
            "client_player.federation.cli:join", "Tune the network with other players, on films as they came."
        ),
        "report": Lazy(
            "enhancers.cli.federation:report", "Say whether devices may train at all, and what stands against it."
        ),
    },
    name="federate",
    help="A network that players tune together, without showing anybody what they watch.",
)

root = LazyGroup(
    {
        "prepare": Lazy("server.ingest.cli:prepare", "Encode a source once into a bitrate ladder: a title."),
        "live": Lazy("server.live.cli:live", "Take a live source and make it watchable while it runs."),
        "list": Lazy("server.media.cli:list_titles", "List the titles of a library."),
        "show": Lazy("server.media.cli:show", "Show one title: renditions, quality, enhancers."),
        "set": Lazy("server.ingest.cli:set_title", "Say whether titles may be enhanced."),
        "remove": Lazy("server.media.cli:remove", "Remove titles from a library."),
        "train": Lazy("enhancers.cli.train:train", "Train a title's own enhancers and measure what they buy."),
        "import-model": Lazy(
            "enhancers.cli.models:import_model", "Offer your own network (ONNX, safetensors) with a title."
        ),
        "derive": Lazy("enhancers.cli.derive:derive", "Make a network for a device, within its budget."),
        "export": Lazy("enhancers.cli.models:export", "Write a network as ONNX or as an mpv shader."),
        "plan-ladder": Lazy("enhancers.cli.train:plan_ladder", "Plan the ladder that pays once rungs are lifted."),
        "profile": Lazy("enhancers.cli.profile:profile", "Measure what enhancers take of this device."),
        "gauge": Lazy("enhancers.cli.gauge:gauge", "Find models in files and packages; measure them here."),
        "kernels": Lazy("abr.blur.cli:kernels", "Tell the blur that a source was made with, shot by shot."),
        "restore": Lazy("enhancers.cli.restore:restore", "Lift a blurred source above its own size: a master."),
        "serve": Lazy("server.cli:serve", "Serve a library of titles, choosing per segment and viewer."),
        "protect": Lazy("server.protection.cli:protect", "Encrypt a title, for players that are given the key."),
        "publish": Lazy("server.publishing.cli:publish", "Bring titles to a folder or a bucket that a CDN sends."),
        "embed": Lazy("server.cli:embed", "Write the module that lifts videos on your own pages."),
        "play": Lazy("client_player.cli:play", "Play a title headless over a network trace; write a report."),
        "emulate": Lazy("client_player.emulate.cli:emulate", "Put a network link in front of a server, by a trace."),
        "simulate": Lazy("abr.evaluation.compare:simulate", "Run one controller over traces in the simulator."),
        "compare": Lazy("abr.evaluation.compare:compare", "Compare controllers over traces in the simulator."),
        "qoe": Lazy("abr.cli:qoe", "A quality of experience learnt from people."),
        "federate": Lazy("abr.cli:federate", "A network that players tune together, in private."),
        "edge": Lazy("client_player.edge.cli:edge", "Mirror an origin over a thin line, lift here, serve any player."),
        "report": Lazy("client_player.cli:report", "Make the HTML report of a session log."),
        "doctor": Lazy("client_player.doctor:doctor", "Check that this machine has all that Toprung needs."),
        "demo": Lazy("client_player.demo:demo", "Prepare, train, serve and play a real clip, and compare."),
        "bench": Lazy("abr.cli:bench", "Measure Toprung against named peers, in one run."),
    },
    name="toprung",
    help="Neural-enhanced adaptive video streaming: low rungs look better.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
root = click.version_option(version("toprung"), prog_name="toprung")(root)


def main() -> None:
    """Entry point: runs the command, turns deliberate errors into one sentence and their exit code."""
    # Before numpy is there. Its products are small here, and the cores are shared: threads that wait for each other
    # within one burn several times what it takes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        # click catches Exit itself here and returns its code; a command that succeeds returns something else or 0.
        sys.exit(code if isinstance(code := root(standalone_mode=False), int) else 0)
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ToprungError as error:
        click.echo(f"toprung: {error}", err=True)
        sys.exit(error.exit_code)
