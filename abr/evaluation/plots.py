"""Self-contained SVG plots, small enough to read: distributions side by side, and curves through points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

COLOURS = ("#0b6e4f", "#c8553d", "#28536b", "#f2a541", "#7b4b94", "#5c8001", "#d1495b", "#2e86ab", "#8d6a9f", "#555555")
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 420, 300, 44, 34, 40


def cdf_panels(panels: Mapping[str, Mapping[str, Sequence[float]]], *, axis: str) -> str:
    """One panel for each name, in it one cumulative distribution for each series. Returns an SVG document.

    panels: panel → series → values (any order, at least one each).
    """
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    legend_px = 18 * (-(-len(names) // 4)) + 10
    parts = [
        _panel(title, series, colours, axis, _WIDTH * (i % columns), legend_px + _HEIGHT * (i // columns))
        for i, (title, series) in enumerate(panels.items())
    ]
    width, height = max(_WIDTH * columns, 640), legend_px + _HEIGHT * rows
    legend = "".join(
        f'<rect x="{12 + 155 * (i % 4)}" y="{8 + 18 * (i // 4)}" width="12" height="4" fill="{colours[name]}"/>'
        f'<text x="{30 + 155 * (i % 4)}" y="{14 + 18 * (i // 4)}">{escape(name)}</text>'
        for i, name in enumerate(names)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui,sans-serif" font-size="11" fill="#222">'
        f'<rect width="100%" height="100%" fill="#fff"/>{legend}{"".join(parts)}</svg>\n'
    )


def _panel(
    title: str, series: Mapping[str, Sequence[float]], colours: Mapping[str, str], axis: str, x_px: int, y_px: int
) -> str:
    every = np.concatenate([np.asarray(values, dtype=np.float64) for values in series.values()])
    low, high = float(np.percentile(every, 2)), float(every.max())
    span = max(high - low, 1e-9)
    inner_w, inner_h = _WIDTH - _LEFT - 16, _HEIGHT - _TOP - _BOTTOM

    def at(value: float, share: float) -> str:
        x = _LEFT + inner_w * min(max((value - low) / span, 0.0), 1.0)
        return f"{x:.1f},{_TOP + inner_h * (1 - share):.1f}"

    curves = []
    for name, values in series.items():
        ordered = np.sort(np.asarray(values, dtype=np.float64))
        points = [at(ordered[0], 0.0)]
        for i, value in enumerate(ordered):
            points += [at(value, i / len(ordered)), at(value, (i + 1) / len(ordered))]
        points.append(at(high, 1.0))
        curves.append(
            f'<polyline fill="none" stroke="{colours[name]}" stroke-width="1.8" points="{" ".join(points)}">'
            f"<title>{escape(name)}: mean {ordered.mean():.2f}</title></polyline>"
        )
    ticks = "".join(
        f'<text x="{at(value, 0).split(",")[0]}" y="{_TOP + inner_h + 15}" text-anchor="middle">{value:.4g}</text>'
        for value in np.linspace(low, high, 5)
    )
    shares = "".join(
        f'<line x1="{_LEFT}" x2="{_LEFT + inner_w}" y1="{_TOP + inner_h * (1 - s)}" y2="{_TOP + inner_h * (1 - s)}" '
        f'stroke="#ddd"/><text x="{_LEFT - 6}" y="{_TOP + inner_h * (1 - s) + 4}" text-anchor="end">{s:.0%}</text>'
        for s in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return (
        f'<g transform="translate({x_px},{y_px})"><text x="{_LEFT}" y="{_TOP - 12}" font-weight="600">{escape(title)}'
        f"</text>{shares}{ticks}{''.join(curves)}"
        f'<text x="{_LEFT + inner_w / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(axis)}</text></g>'
    )


def curves(series: Mapping[str, Sequence[tuple[float, float]]], *, across: str, up: str, log: bool = False) -> str:
    """Points (x, y) joined in order of x, one line for each series. Returns an SVG document.

    across, up: names of the axes. log: a logarithmic x axis, for which every x must be above 0.
    """
    points = [point for line in series.values() for point in line]
    place = np.log if log else np.asarray
    xs, ys = np.asarray(place([x for x, _ in points]), dtype=np.float64), np.array([y for _, y in points])
    (left, right), (low, high) = (xs.min(), xs.max()), (ys.min(), ys.max())
    inner_w, inner_h = 2 * _WIDTH - _LEFT - 170, 2 * _HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        share = (float(place(x)) - left) / max(right - left, 1e-9)
        return _LEFT + inner_w * share, _TOP + inner_h * (1 - (y - low) / max(high - low, 1e-9))

    parts = []
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        placed = [at(x, y) for x, y in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{path}"/>{dots}')
        y_px = _TOP + 14 + 18 * number
        parts.append(f'<text x="{_LEFT + inner_w + 12}" y="{y_px}" fill="{colour}">{escape(name)}</text>')
    for share in np.linspace(0, 1, 6):
        x, y = left + (right - left) * share, low + (high - low) * share
        x_px, y_px = _LEFT + inner_w * share, _TOP + inner_h * (1 - share)
        shown = np.exp(x) if log else x
        parts.append(f'<text x="{x_px:.1f}" y="{_TOP + inner_h + 15}" text-anchor="middle">{shown:.4g}</text>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y_px + 4:.1f}" text-anchor="end">{y:.3g}</text>')
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + inner_w}" y1="{y_px:.1f}" y2="{y_px:.1f}" stroke="#ddd"/>')
    width, height = 2 * _WIDTH, 2 * _HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui,sans-serif" font-size="11" fill="#222"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{_LEFT}" y="{_TOP - 12}" font-weight="600">{escape(up)}</text>{"".join(parts)}'
        f'<text x="{_LEFT + inner_w / 2}" y="{height - 8}" text-anchor="middle">{escape(across)}</text></svg>\n'
    )
