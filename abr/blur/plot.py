"""The kernel track as a picture: how wide the blur is over time, one SVG."""

from __future__ import annotations

from abr.blur.kernel import blur_of
from abr.blur.track import KernelTrack

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 860, 260, 52, 34, 40
_POINTS_MAX = 400
_MAJOR, _MINOR = "#c8553d", "#28536b"


def track_svg(track: KernelTrack, name: str) -> str:
    """Both axes of the Gaussian nearest to each code, in source pixels; a line at each cut. An SVG document."""
    from html import escape

    total = max(1, sum(shot.frames for shot in track.shots))
    fps = track.frame_rate[0] / track.frame_rate[1]
    lines = [_points_of(track, shot_index) for shot_index in range(len(track.shots))]
    top = max([1.0, *(major for line in lines for _, major, _ in line)])
    inner_w, inner_h = _WIDTH - _LEFT - 16, _HEIGHT - _TOP - _BOTTOM

    def at(frame: float, px: float) -> str:
        return f"{_LEFT + inner_w * frame / total:.1f},{_TOP + inner_h * (1 - px / top):.1f}"

    parts = []
    for shot, line in zip(track.shots, lines, strict=True):
        x = at(shot.start, 0).split(",")[0]
        told = "moves" if shot.moves else "stands still" if shot.codes else "nothing to tell"
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{_TOP + inner_h}" stroke="#ddd"><title>{told}, '
            f"{shot.movement:g} times its noise</title></line>"
        )
        for colour, column in ((_MAJOR, 1), (_MINOR, 2)):
            path = " ".join(at(point[0], point[column]) for point in line)
            parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{path}"/>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = at(share * total, share * top).split(",")
        parts.append(f'<text x="{x}" y="{_TOP + inner_h + 15}" text-anchor="middle">{share * total / fps:.1f}</text>')
        parts.append(f'<text x="{_LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{share * top:.2f}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'font-family="system-ui,sans-serif" font-size="11" fill="#222"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{_LEFT}" y="20" font-weight="600">Blur of {escape(name)}: deviation along its '
        f'<tspan fill="{_MAJOR}">wide</tspan> and its <tspan fill="{_MINOR}">narrow</tspan> axis, source pixels</text>'
        f"{''.join(parts)}"
        f'<text x="{_LEFT + inner_w / 2}" y="{_HEIGHT - 8}" text-anchor="middle">seconds</text></svg>\n'
    )


def _points_of(track: KernelTrack, index: int) -> list[tuple[float, float, float]]:
    """Frame, wide axis and narrow axis along one shot."""
    shot = track.shots[index]
    if not shot.codes:
        return []
    if not shot.moves:
        major, minor, _ = blur_of(shot.codes[0]).axes
        return [(shot.start, major, minor), (shot.start + shot.frames, major, minor)]
    step = max(1, shot.frames // _POINTS_MAX)
    axes = [(frame, blur_of(shot.codes[frame]).axes) for frame in range(0, shot.frames, step)]
    return [(shot.start + frame, major, minor) for frame, (major, minor, _) in axes]
