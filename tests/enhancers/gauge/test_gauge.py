"""`toprung gauge`: models in folders and packages, found, taken apart, run and told of."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from click.testing import CliRunner
from model_files import ir_segmenter, onnx_upscaler, write_wild_folder, zipped
from msgspec import structs

from abr.core.energy import assumed_power
from abr.errors import InputError
from abr.records import load, loads
from enhancers.cli.gauge import gauge as command
from enhancers.gauge.flops import predict_by_flops
from enhancers.gauge.gauge import GaugeRequest, gauge
from enhancers.gauge.records import Anatomy, Format, FoundFile, GaugedModel, GaugeReport, Port, Run
from enhancers.gauge.report import as_html, as_text


def quietly(_what: str, _done: float) -> None: ...


def gauged(*paths: Path, run: bool = False) -> GaugeReport:
    request = GaugeRequest(paths=paths, power=assumed_power(2), seconds=0.05, run=run)
    return gauge(request, quietly)


@cache
def wild() -> GaugeReport:
    return gauged(write_wild_folder(Path(mkdtemp())), run=True)


def named(report: GaugeReport, name: str) -> GaugedModel:
    (found,) = [model for model in report.models if any(place.endswith(name) for place in model.file.places)]
    return found


def test_models_are_found_wherever_they_are_and_copies_are_merged() -> None:
    report = wild()
    assert sorted(model.file.format for model in report.models) == sorted(
        [*["onnx"] * 5, *["tflite"] * 3, "openvino", "torchscript", "safetensors", "pickle"]
    )
    twice = {model.file.places[0].rpartition("/")[2]: len(model.file.places) for model in report.models}
    assert {name for name, count in twice.items() if count == 2} == {"upscaler.onnx", "segmenter.xml", "filter.lite"}
    assert not any(model.failure for model in report.models) and report.skipped == ()
    assert named(report, "bundle.zip!/inner/split.apk!/assets/many.onnx")


@pytest.mark.parametrize(
    ("name", "task", "parameters", "macs"),
    [
        ("upscaler.onnx", "super-resolution", 8 * 9 + 8 * 4 * 9, 224 * 224 * (8 * 9 + 8 * 4 * 9)),
        ("classify.onnx", "classification or embedding", 3072 * 10, 3072 * 10),
        ("segmenter.xml", "segmentation or heat maps", 5 * 27, 32 * 48 * 5 * 27),
        ("filter.tflite", "picture to picture", 3 * 27 + 3, 24 * 32 * 3 * 27),
        ("program.pt", "unknown", 4 * 27 + 4, None),
        ("weights.safetensors", "weights alone", 40, None),
    ],
)
def test_each_is_taken_apart(name: str, task: str, parameters: int, macs: float | None) -> None:
    model = named(wild(), name)
    assert model.task == task and (model.why or task == "unknown")
    assert model.anatomy is not None
    assert (model.anatomy.parameters, model.anatomy.macs) == (parameters, macs)


def test_what_is_quantised_is_told() -> None:
    small, large = (named(wild(), name).anatomy for name in ("small.onnx", "classify.onnx"))
    assert small is not None and large is not None
    assert small.quantised_share > 0.99 and large.quantised_share == 0.0


def test_each_runs_on_every_backend_that_takes_it() -> None:
    backends = {"onnx": {"openvino", "onnxruntime"}, "tflite": {"openvino"}, "openvino": {"openvino"}}
    for model in wild().models:
        expected = backends | {"torchscript": {"torch"}, "safetensors": set(), "pickle": set()}
        assert {run.backend for run in model.runs} == expected[model.file.format]
        for run in model.runs:
            assert not run.failure and 0 < run.p50_ms <= run.p95_ms and run.runs >= 4
            assert run.memory_bytes > 1 << 24 and run.energy_source


def test_a_pickle_is_found_and_never_opened(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    call = f"c__builtin__\neval\n(S'open({str(trap)!r}, \"w\")'\ntR."  # what opening it would run
    (tmp_path / "model.pth").write_bytes(b"\x80\x02" + call.encode())
    (model,) = gauged(tmp_path, run=True).models
    assert model.file.format is Format.PICKLE and "not opened" in model.why
    assert not trap.exists()


def test_an_ir_without_its_weights_says_so(tmp_path: Path) -> None:
    (tmp_path / "alone.xml").write_bytes(ir_segmenter()[0])
    (model,) = gauged(tmp_path).models
    assert ".bin" in model.failure


def test_nothing_to_gauge_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="No model was found in 1 files"):
        gauged(tmp_path)
    with pytest.raises(InputError, match="nothing at"):
        gauged(tmp_path / "gone")


def test_the_command_writes_a_page_and_json(tmp_path: Path) -> None:
    package = tmp_path / "<b>bold.apk"
    package.write_bytes(zipped({"a/<script>.onnx": onnx_upscaler()}))
    options = [str(package), "--out", str(tmp_path / "out"), "--seconds", "0.05", "--json"]
    ended = CliRunner().invoke(command, options, catch_exceptions=False)
    report = loads(ended.stdout, GaugeReport, what="stdout")
    assert report == load(tmp_path / "out" / "gauge.json", GaugeReport)
    page = (tmp_path / "out" / "gauge.html").read_text()
    assert "&lt;script&gt;.onnx" in page and "<script>" not in page and "<b>bold" not in page
    assert "http" not in page, "nothing is loaded from elsewhere"
    assert "super-resolution" in page and "~" in page and "estimate" in page


def test_the_page_and_the_lines_tell_of_copies_damage_and_flops() -> None:
    report = wild()
    broken = GaugedModel(file=found("torn.onnx"), failure="It is no sound ONNX file")
    told = structs.replace(report, models=(*report.models, broken), skipped=("deep.zip: too deep",))
    for text in (as_html(told).decode(), as_text(told)):
        for said in ("torn.onnx", "no sound ONNX", "deep.zip", "FLOPs alone"):
            assert said in text
    assert "further copies" in as_text(told) and "several places" in as_html(told).decode()


def found(place: str) -> FoundFile:
    return FoundFile(sha256="0" * 64, format=Format.ONNX, size_bytes=1, path="", places=(place,))


def test_flops_alone_are_judged_by_models_they_were_not_fitted_to() -> None:
    def model(gmacs: float, ms: float) -> GaugedModel:
        run = Run(backend="openvino", threads=1, p50_ms=ms, p95_ms=ms, runs=9)
        return GaugedModel(
            file=found("a"),
            anatomy=Anatomy(macs=gmacs * 1e9, inputs=(Port(name="", dtype="f32", shape=()),)),
            runs=(run,),
        )

    honest = [model(gmacs, 2 + 10 * gmacs) for gmacs in (0.1, 0.5, 1.0, 2.0, 4.0)]
    told, fit = predict_by_flops([*honest, model(1.0, 120.0)])
    assert fit is not None and fit.models == 6
    assert told[-1].flops_ms is not None and told[-1].flops_ms == pytest.approx(12.0, rel=0.01), "ten times off"
    assert fit.error_p95 > 0.6
    assert predict_by_flops(honest[:3]) == (honest[:3], None)
