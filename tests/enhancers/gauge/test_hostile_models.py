"""Damaged and hostile files cost themselves: no crash, no file outside, no end of memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from damaged_models import damaged_copies
from model_files import (
    ir_segmenter,
    onnx_classifier,
    onnx_upscaler,
    tflite_filter,
    torchscript_filter,
    weights_alone,
    zipped,
)
from onnx import numpy_helper

from abr.core.energy import assumed_power
from enhancers.gauge import discovery
from enhancers.gauge.discovery import Search
from enhancers.gauge.gauge import GaugeRequest, gauge
from enhancers.gauge.records import Format, GaugeReport

COPIES = 36


def gauged(folder: Path, *, run: bool = True) -> GaugeReport:
    request = GaugeRequest(paths=(folder,), power=assumed_power(2), seconds=0.05, run=run)
    return gauge(request, lambda *_: None)


def test_damaged_copies_are_told_of_and_the_sound_ones_beside_them_are_measured(tmp_path: Path) -> None:
    xml, weights = ir_segmenter()
    sound = {
        "a.onnx": onnx_classifier(),
        "b.tflite": tflite_filter(),
        "c.xml": xml,
        "d.pt": torchscript_filter(),
        "e.safetensors": weights_alone(),
        "f.apk": zipped({"assets/upscaler.onnx": onnx_upscaler(), "assets/g.tflite": tflite_filter(2)}),
    }
    for name, data in [*sound.items(), *damaged_copies(sound, COPIES)]:
        (tmp_path / name).write_bytes(data)
        if name.endswith(".xml"):
            (tmp_path / name).with_suffix(".bin").write_bytes(weights)
    report = gauged(tmp_path)
    whole = {place.rpartition("/")[2]: model for model in report.models for place in model.file.places}
    for name in ("a.onnx", "b.tflite", "c.xml", "d.pt", "e.safetensors", "upscaler.onnx", "g.tflite"):
        assert not whole[name].failure
        assert all(not run.failure for run in whole[name].runs)
    damaged = [model for model in report.models if model.failure or any(run.failure for run in model.runs)]
    assert len(damaged) + len(report.skipped) > COPIES / 3
    assert all(str(tmp_path) in place or "!/" in place for model in damaged for place in model.file.places)
    assert not any("toprung-gauge" in model.failure for model in damaged), "where it was unpacked is nobody's business"


def test_weights_in_other_files_are_not_opened(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(onnx_classifier())
    outside = tmp_path / "secret"
    outside.write_bytes(b"x" * 4 * 3072 * 10)
    tensor = numpy_helper.from_array(np.zeros((3072, 10), np.float32), "weights")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(outside))
    model.graph.initializer[0].CopyFrom(tensor)
    (tmp_path / "reaching.onnx").write_bytes(model.SerializeToString())
    (found,) = gauged(tmp_path).models
    assert found.failure and not found.runs


def test_an_archive_writes_nowhere_but_into_the_scratch_folder(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    package = tmp_path / "escape.zip"
    package.write_bytes(zipped({"../../evil.onnx": onnx_upscaler(), "/etc/evil2.onnx": onnx_upscaler(16)}))
    found = list(Search(scratch=scratch).find(package))
    assert len(found) == 2 and all(each.path.parent == scratch for each in found)
    assert {path.name for path in tmp_path.iterdir()} == {"scratch", "escape.zip"}


def test_what_unpacks_to_too_much_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MODEL_MAX_BYTES", 1 << 20)
    package = tmp_path / "bomb.apk"
    package.write_bytes(zipped({"bomb.onnx": bytes(8 << 20), "fine.tflite": tflite_filter()}))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    search = Search(scratch=scratch)
    assert [each.format for each in search.find(package)] == [Format.TFLITE]
    assert len(search.skipped) == 1 and "bomb.onnx" in search.skipped[0] and "unpacks" in search.skipped[0]
    assert sum(path.stat().st_size for path in scratch.iterdir()) < 4 << 20


def test_archives_in_archives_are_opened_a_few_levels_deep(tmp_path: Path) -> None:
    data = zipped({"core.onnx": onnx_upscaler()})
    for level in range(6):
        data = zipped({f"{level}.zip": data})
    (tmp_path / "onion.zip").write_bytes(data)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    search = Search(scratch=scratch)
    assert list(search.find(tmp_path / "onion.zip")) == []
    assert "inside of each other" in search.skipped[0]


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.onnx").write_bytes(onnx_upscaler())
    folder, scratch = tmp_path / "folder", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    (folder / "link.onnx").symlink_to(tmp_path / "outside.onnx")
    (folder / "all").symlink_to(tmp_path)
    assert list(Search(scratch=scratch).find(folder)) == []
