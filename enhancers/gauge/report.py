"""The report of `toprung gauge`: lines for a terminal, and one self-contained HTML page, drawn by report.html.j2."""

from __future__ import annotations

from collections.abc import Iterator

import jinja2

from enhancers.gauge.flops import BACKEND, measured
from enhancers.gauge.records import GaugedModel, GaugeReport, Run


def as_html(report: GaugeReport) -> bytes:
    """One page, nothing loaded from elsewhere."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("enhancers.gauge", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"big": _big, "mib": _mib, "percent": lambda share: f"{share:.0%}"}
    sound = [model for model in report.models if not model.failure]
    longest_ms = max((measured(model) or 0.0 for model in sound), default=0.0)
    page = environment.get_template("report.html.j2").render(
        report=report,
        sound=sorted(sound, key=lambda model: measured(model) or 0.0, reverse=True),
        damaged=[model for model in report.models if model.failure],
        duplicates=[model for model in report.models if len(model.file.places) > 1],
        estimated=_is_estimated(report),
        measured=measured,
        longest_ms=longest_ms,
        backend=BACKEND,
    )
    return page.encode()


def as_text(report: GaugeReport) -> str:
    """A line for each model, and what was found of all."""
    return "\n".join([*map(_line, report.models), *_summary(report)])


def _line(model: GaugedModel) -> str:
    anatomy, place = model.anatomy, model.file.places[0]
    what = f"{model.file.format:<12}{_mib(model.file.size_bytes):>10}  "
    if model.failure:
        return f"{what}{place}: {model.failure}"
    counts = f"{_big(anatomy.parameters)} parameters, {_big(anatomy.macs)} MACs" if anatomy else ""
    if anatomy and anatomy.quantised_share:
        counts += f", {anatomy.quantised_share:.0%} of them quantised"
    ran = [_run(run) for run in model.runs]
    return f"{what}{place}: {', '.join(filter(None, [model.task, counts, *ran]))}"


def _run(run: Run) -> str:
    if run.failure:
        return f"{run.backend} refuses it"
    energy = ""
    if run.energy_source is not None:
        energy = f" {'~' if run.energy_source.is_estimate else ''}{run.energy_mj:.1f} mJ"
    return f"{run.backend} {run.p50_ms:.2f} ms{energy} {run.memory_bytes / 1e6:.0f} MB"


def _summary(report: GaugeReport) -> Iterator[str]:
    copies = sum(len(model.file.places) - 1 for model in report.models)
    damaged = sum(bool(model.failure) for model in report.models)
    yield (
        f"Models: {len(report.models)}, in {report.files} files; further copies of them: {copies}; "
        f"damaged or unreadable: {damaged}."
    )
    if report.flops:
        yield (
            f"FLOPs alone would have told the latency of {report.flops.models} models to {report.flops.error_p50:.0%} "
            f"(95th percentile {report.flops.error_p95:.0%})."
        )
    if _is_estimated(report):
        yield f"Energy (~) is an estimate: {report.power.idle_w:g} W at rest, {report.power.full_w:g} W at full load."
    yield from (f"Not looked into: {each}" for each in report.skipped)


def _is_estimated(report: GaugeReport) -> bool:
    sources = (run.energy_source for model in report.models for run in model.runs)
    return any(source is not None and source.is_estimate for source in sources)


def _big(count: float | None) -> str:
    if count is None:
        return "?"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:g}"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.2f} MiB"
