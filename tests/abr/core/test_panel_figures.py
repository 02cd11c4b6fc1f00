"""Offers are keys of what a player knows of them, whatever a panel told of their pictures."""

from __future__ import annotations

from abr.core.title import PanelFigures, Quality


def quality(ssimulacra2: float) -> Quality:
    panel = PanelFigures(segment=(0,), figures={"ssimulacra2": (ssimulacra2,)})
    return Quality(vmaf=(1.0,), vmaf_neg=(1.0,), ssim=(0.5,), psnr_y_db=(30.0,), panel=panel)


def test_what_a_panel_told_can_be_a_key_and_equal_ones_are_one():
    assert {quality(1.0): "one", quality(2.0): "two"}[quality(1.0)] == "one"
