"""A network of ours as an mpv user shader: what mpv, and every player on libplacebo, can lift pictures with.

mpv's manual, "User shaders" (`--glsl-shaders`), says what the lines that begin with `//!` mean. Luma is lifted when the
picture is shown at more than SHOWN_MIN of its size. The player scales chroma.

Each convolution is one compute pass over the network's grid, and saves its channels as texels, four each, that lie side
by side. The last pass interpolates luma as we do, and adds what the network found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from enhancers.networks.checkpoint import Floats32, Weights, is_tail
from enhancers.networks.lanczos import LOBES, lanczos_rows
from enhancers.networks.plain import KERNEL_PX, Layer, PlainArchitecture
from enhancers.runtime.backends.residual import RESIDUAL_MAX, RESIDUAL_MIN

SHOWN_MIN = 1.2
_THREADS = 8
"""Along each side of a work group."""
_TEXEL = 4
"""Channels of a texel."""
_TEXTURES = ("TOPRUNG_A", "TOPRUNG_B")
"""Saved by turns: a pass reads what the one before it has saved."""
_TAPS = tuple((row, column) for row in range(KERNEL_PX) for column in range(KERNEL_PX))


def dumps_mpv_shader(weights: Weights, note: str = "") -> str:
    """The deepest exit of `weights` as GLSL. note: a line for people, such as what it was trained on.

    Luma has an even width and height where the network works at half resolution.
    """
    architecture = weights.architecture
    head = [f"// {architecture} by Toprung, for luma shown at x{architecture.scale:g} or thereabouts."]
    head += [f"// {line}" for line in note.splitlines()]
    passes = [_convolution(weights, number) for number in range(len(architecture.layers))]
    return "\n\n".join(["\n".join(head), *passes, _composition(architecture)]) + "\n"


def _texels(channels: int) -> tuple[int, int]:
    """How the texels of one position lie: columns and rows, as near to a square as they fill."""
    count = -(-channels // _TEXEL)
    rows = next(rows for rows in (2, 1) if count % rows == 0)
    return count // rows, rows


def _directives(architecture: PlainArchitecture, *lines: str) -> list[str]:
    larger = f"OUTPUT.w LUMA.w {SHOWN_MIN} * > OUTPUT.h LUMA.h {SHOWN_MIN} * > *"
    return [f"//!DESC Toprung {architecture}", "//!HOOK LUMA", "//!BIND LUMA", f"//!WHEN {larger}", *lines]


def _convolution(weights: Weights, number: int) -> str:
    architecture = weights.architecture
    layer, squeeze = architecture.layers[number], architecture.squeeze
    columns, rows = _texels(layer.outputs)
    source, target = _TEXTURES[(number + 1) % 2], _TEXTURES[number % 2]
    is_head = number == 0
    lines = _directives(
        architecture,
        *([] if is_head else [f"//!BIND {source}"]),
        f"//!SAVE {target}",
        f"//!WIDTH LUMA.w {squeeze} / {columns} *",
        f"//!HEIGHT LUMA.h {squeeze} / {rows} *",
        "//!COMPONENTS 4",
        f"//!COMPUTE {_THREADS * columns} {_THREADS * rows} {_THREADS} {_THREADS}",
    )
    lines += _luma_cells(squeeze) if is_head else _saved_cells(source, layer.inputs)
    kernels, bias = _by_texel(weights, layer)
    lines += ["void hook() {", "    ivec2 at = ivec2(gl_GlobalInvocationID.xy);"]
    lines += [f"    vec4 o{index} = {_vector(part)};" for index, part in enumerate(bias)]
    lines += [f"    vec4 t{tap};" for tap in range(len(_TAPS))]
    lines += [f"    {line}" for line in _products(kernels)]
    for index in range(len(bias)):
        shown = f"o{index}" if is_tail(layer) else f"max(o{index}, 0.0)"
        place = f"at * ivec2({columns}, {rows}) + ivec2({index % columns}, {index // columns})"
        lines.append(f"    imageStore(out_image, {place}, {shown});")
    return "\n".join([*lines, "}"])


def _luma_cells(squeeze: int) -> list[str]:
    """`read(texel, position)`: pixels folded into channels, as pixel unshuffle orders them; 0 beyond the picture."""
    offsets = [(index % squeeze, index // squeeze) for index in range(squeeze**2)]
    parts = [f"luma(at * {squeeze} + ivec2({x}, {y}))" for x, y in offsets] + ["0.0"] * (-(squeeze**2) % _TEXEL)
    return [
        "float luma(ivec2 px) { return LUMA_tex((vec2(px) + 0.5) * LUMA_pt).x; }",
        "vec4 read(int texel, ivec2 at) {",
        f"    ivec2 size = ivec2(LUMA_size) / {squeeze};",
        "    if (any(lessThan(at, ivec2(0))) || any(greaterThanEqual(at, size))) return vec4(0.0);",
        f"    return vec4({', '.join(parts)});",
        "}",
    ]


def _saved_cells(source: str, channels: int) -> list[str]:
    """The same of what the pass before has saved."""
    columns, rows = _texels(channels)
    return [
        "vec4 read(int texel, ivec2 at) {",
        f"    ivec2 cell = ivec2({columns}, {rows}), size = ivec2({source}_size) / cell;",
        "    if (any(lessThan(at, ivec2(0))) || any(greaterThanEqual(at, size))) return vec4(0.0);",
        f"    return texelFetch({source}_raw, at * cell + ivec2(texel % {columns}, texel / {columns}), 0);",
        "}",
    ]


def _by_texel(weights: Weights, layer: Layer) -> tuple[Floats32, Floats32]:
    """Kernels (outputs/4, inputs/4, taps, 4, 4) and biases (outputs/4, 4), filled up with zeros."""
    outputs, inputs = -(-layer.outputs // _TEXEL), -(-layer.inputs // _TEXEL)
    kernel = np.zeros((_TEXEL * outputs, _TEXEL * inputs, len(_TAPS)), np.float32)
    kernel[: layer.outputs, : layer.inputs] = weights.tensors[f"{layer.name}.weight"].reshape(
        layer.outputs, layer.inputs, len(_TAPS)
    )
    bias = np.zeros(_TEXEL * outputs, np.float32)
    bias[: layer.outputs] = weights.tensors[f"{layer.name}.bias"]
    parts = kernel.reshape(outputs, _TEXEL, inputs, _TEXEL, len(_TAPS)).transpose(0, 2, 4, 1, 3)
    return parts, bias.reshape(outputs, _TEXEL)


def _products(kernels: Floats32) -> Iterator[str]:
    """Each texel around the position is read once, and multiplied into all outputs."""
    outputs, inputs, _, _, _ = kernels.shape
    margin = KERNEL_PX // 2
    for texel in range(inputs):
        for tap, (row, column) in enumerate(_TAPS):
            yield f"t{tap} = read({texel}, at + ivec2({column - margin}, {row - margin}));"
        for output in range(outputs):
            for tap in range(len(_TAPS)):
                columns = ", ".join(_number(value) for value in kernels[output, texel, tap].T.reshape(-1))
                yield f"o{output} += mat4({columns}) * t{tap};"


def _composition(architecture: PlainArchitecture) -> str:
    """Luma interpolated, and the residual on top."""
    squeeze, shuffle = architecture.squeeze, architecture.shuffle
    tail = _TEXTURES[(len(architecture.layers) - 1) % 2]
    columns, _ = _texels(architecture.tail.outputs)
    taps = lanczos_rows(architecture.scale, squeeze)
    count = taps.shape[1]
    table = ", ".join(_number(value) for value in taps.reshape(-1))
    lines = _directives(
        architecture,
        f"//!BIND {tail}",
        f"//!WIDTH LUMA.w {architecture.scale:g} *",
        f"//!HEIGHT LUMA.h {architecture.scale:g} *",
    )
    lines += [
        f"const float TAPS[{shuffle * count}] = float[]({table});",
        "vec4 hook() {",
        f"    ivec2 px = ivec2(LUMA_pos * LUMA_size * {_number(architecture.scale)});",
        f"    ivec2 cell = px / {shuffle}, inside = px % {shuffle};",
        "    float shown = 0.0;",
        f"    for (int y = 0; y < {count}; y++) {{",
        f"        for (int x = 0; x < {count}; x++) {{",
        f"            float share = TAPS[inside.y * {count} + y] * TAPS[inside.x * {count} + x];",
        f"            vec2 near = clamp(vec2(cell * {squeeze} + ivec2(x, y) - {LOBES}) + 0.5,",
        "                              vec2(0.5), LUMA_size - 0.5);",
        "            if (share != 0.0) shown += share * LUMA_tex(near * LUMA_pt).x;",
        "        }",
        "    }",
        f"    int channel = inside.y * {shuffle} + inside.x, texel = channel / {_TEXEL};",
        f"    ivec2 place = cell * ivec2({columns}, {_texels(architecture.tail.outputs)[1]});",
        f"    place += ivec2(texel % {columns}, texel / {columns});",
        f"    float residual = texelFetch({tail}_raw, place, 0)[channel % {_TEXEL}];",
        f"    residual = clamp(residual, {_number(RESIDUAL_MIN / 255)}, {_number(RESIDUAL_MAX / 255)});",
        "    return vec4(clamp(shown + residual, 0.0, 1.0), 0.0, 0.0, 1.0);",
        "}",
    ]
    return "\n".join(lines)


def _vector(values: Sequence[float] | Floats32) -> str:
    return f"vec4({', '.join(_number(value) for value in values)})"


def _number(value: float) -> str:
    """As GLSL reads a float: to the precision that half floats of textures leave."""
    text = f"{float(value):.6g}"
    return text if any(mark in text for mark in ".e") else f"{text}.0"
