// The WGSL that shows a picture with what an earlier one was given: each block takes it from where it was then.

import { BLOCK_PX, UNKNOWN } from "./motion.js";
import { REACH, RESIDUAL, lanczos, range, weighted } from "./shader.js";
import { TILE } from "./webgpu_shaders.js";

/**
 * As `compose` of a plane, with residuals that are moved and weakened. One invocation makes the pixels of a position.
 *
 * part: the network, or its part for chroma. middle, channel0: as for `compose`.
 */
export function carryCode(part, place, middle, channel0) {
  const { squeeze, shuffle, scale, fold } = part;
  const { columns, rows, pitch, area, widthPx } = place;
  const { height, outWidth, outHeight } = plane(place, fold);
  const side = fold ?? squeeze; // pixels of the frame that a position stands for, along each side
  const quarters = (scale * squeeze) / side / 4; // samples of this plane as it is shown, to a quarter of a pixel
  const lines = [];
  for (const column of range(0, shuffle - 1)) {
    const sample = (d) => `n${column}_${d + REACH}`;
    for (const d of range(-REACH, squeeze - 1 + REACH))
      lines.push(`  let ${sample(d)} = widened(first + ${d}, x + ${column}u);`);
    for (const [row, bell] of lanczos(part).entries())
      lines.push(`  store(x + ${column}u, y + ${row}u, ${weighted(bell, 1, sample)}, from_);`);
  }
  return `
@group(0) @binding(0) var<storage, read> residual: array<vec4f>;
@group(0) @binding(1) var<storage, read> wide: array<f32>;
@group(0) @binding(2) var<storage, read_write> shown: array<u32>;
@group(0) @binding(3) var<storage, read> motion: array<vec2i>;
@group(0) @binding(4) var<uniform> share: f32;
fn widened(y: i32, x: u32) -> f32 { return wide[u32(clamp(y, 0, ${height - 1})) * ${outWidth}u + x]; }
fn given(x: i32, y: i32) -> f32 {
  let at = vec2u(clamp(vec2i(x, y), vec2i(), vec2i(${outWidth - 1}, ${outHeight - 1})));
  let channel = ${channel0}u + at.y % ${shuffle}u * ${shuffle}u + at.x % ${shuffle}u;
  let place = (at.y / ${shuffle}u + 1u) * ${pitch}u + at.x / ${shuffle}u + 1u;
  return clamp(round(residual[place + channel / 4u * ${area}u][channel % 4u]), ${RESIDUAL});
}
fn store(x: u32, y: u32, sum: f32, from_: vec3i) {
  if (x >= ${outWidth}u || y >= ${outHeight}u) { return; }
  let plain = clamp(round(sum + ${middle}.0), 0.0, 255.0);
  var more = 0.0;
  if (from_.z != 0) { more = round(share * given(i32(x) + from_.x, i32(y) + from_.y)); }
  shown[y * ${outWidth}u + x] = u32(clamp(plain + more, 0.0, 255.0)) | (u32(plain) << 8u);
}
@compute @workgroup_size(${TILE}) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= ${columns}u || id.y >= ${rows}u) { return; }
  let vector = motion[id.y * ${side}u / ${BLOCK_PX}u * ${Math.ceil(widthPx / BLOCK_PX)}u + id.x * ${side}u / ${BLOCK_PX}u];
  let known = vector.x != ${UNKNOWN} && share > 0.0;
  let from_ = select(vec3i(), vec3i(vec2i(round(vec2f(vector) * ${quarters.toFixed(6)})), 1), known);
  let first = i32(id.y * ${squeeze}u);
  let x = id.x * ${shuffle}u;
  let y = id.y * ${shuffle}u;
${lines.join("\n")}
}`;
}

/** Rows of a plane's samples, and its size as it is shown. */
function plane(place, fold) {
  if (!fold) return { height: place.heightPx, outWidth: place.outWidthPx, outHeight: place.outHeightPx };
  return { height: place.planeHeight, outWidth: place.outPlaneWidth, outHeight: place.outPlaneHeight };
}
