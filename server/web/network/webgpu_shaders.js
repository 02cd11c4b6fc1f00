// The WGSL of a network: layers, the plain scaler with the residuals on top, and what draws the result.

import { chromaChannel } from "./picture.js";
import { isTail } from "./plain.js";
import { REACH, RESIDUAL, biases, chromaShift, convolution, lanczos, range, weighted } from "./shader.js";

export const TILE = [8, 8];

/** A pass over `count` groups of outputs of one layer, from `first` on, for rows from `first_row` on. */
export function layerCode(layer, tensors, first, count, { columns, rows, area, pitch }) {
  const scalar = layer.inputs === 1;
  const tail = isTail(layer);
  const load = (quad, dx, dy) => {
    const value = `source[at + ${quad * area + dy * pitch + dx + pitch + 1}u]`;
    return scalar ? `vec4f(${value}, 0.0, 0.0, 0.0)` : value;
  };
  const kernel = tensors.get(`${layer.name}.weight`);
  const bias = tensors.get(`${layer.name}.bias`);
  const stores = Array.from({ length: count }, (_, index) => {
    const value = tail ? `a${index} * 255.0` : `max(a${index}, vec4f())`;
    return `  target_[at + ${(first + index) * area + pitch + 1}u] = ${value};`;
  });
  return `
@group(0) @binding(0) var<storage, read> source: array<${scalar ? "f32" : "vec4f"}>;
@group(0) @binding(1) var<storage, read_write> target_: array<vec4f>;
@group(0) @binding(2) var<uniform> first_row: u32;
@compute @workgroup_size(${TILE}) fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.y + first_row;
  if (id.x >= ${columns}u || row >= ${rows}u) { return; }
  let at = row * ${pitch}u + id.x;
  var v: vec4f;
${biases(layer, bias, first, count, "vec4f", "var")}
${convolution(layer, kernel, first, count, { matrix: "mat4x4f", load })}
${stores.join("\n")}
}`;
}

/** Where a plane's samples lie in a buffer of inputs: `sample` is WGSL for one of them at (x, y). */
function lumaSource({ squeeze }, { pitch }) {
  const group = `source[(y / ${squeeze}u + 1u) * ${pitch}u + x / ${squeeze}u + 1u]`;
  return { scalar: squeeze === 1, sample: squeeze === 1 ? group : `${group}[(y % 2u) * 2u + x % 2u]` };
}

function chromaSource(chroma, { pitch, area }, plane) {
  const { squeeze } = chroma;
  const first = chromaChannel(chroma, plane);
  const lane = squeeze === 1 ? `${first % 4}` : "(y % 2u) * 2u + x % 2u";
  const group = `source[${(first >> 2) * area}u + (y / ${squeeze}u + 1u) * ${pitch}u + x / ${squeeze}u + 1u]`;
  return { scalar: false, sample: `${group}[${lane}]` };
}

/** The passes that scale the luma as plain playback does and add the residuals: {widen, compose}. */
export function lumaCode(architecture, place) {
  const { widthPx, heightPx, outWidthPx, outHeightPx } = place;
  const sizes = { width: widthPx, height: heightPx, outWidth: outWidthPx, outHeight: outHeightPx, ...place };
  const widen = widenCode(architecture, sizes, lumaSource(architecture, place), 0);
  return { widen, compose: composeCode(architecture, sizes, 0, 0) };
}

/** The same for a plane of chroma: 0 for u, 1 for v. */
export function chromaCode(chroma, place, plane) {
  const { planeWidth, planeHeight, outPlaneWidth, outPlaneHeight } = place;
  const sizes = {
    width: planeWidth,
    height: planeHeight,
    outWidth: outPlaneWidth,
    outHeight: outPlaneHeight,
    ...place,
  };
  const widen = widenCode(chroma, sizes, chromaSource(chroma, place, plane), chromaShift(chroma));
  return { widen, compose: composeCode(chroma, sizes, 128, plane * chroma.shuffle ** 2) };
}

/** One invocation makes the outputs of one position in one row of samples. */
function widenCode({ squeeze, shuffle }, { width, height, columns, outWidth }, { scalar, sample }, shift) {
  const near = range(-REACH, squeeze - 1 + REACH).map(
    (d) => `  let n${d + REACH} = sample(u32(clamp(first + ${d}, 0, ${width - 1})), id.y);`,
  );
  const stores = lanczos({ squeeze, shuffle }, shift).map(
    (bell, output) =>
      `  if (x + ${output}u < ${outWidth}u) { wide[id.y * ${outWidth}u + x + ${output}u] = ${weighted(bell, 255, (d) => `n${d + REACH}`)}; }`,
  );
  return `
@group(0) @binding(0) var<storage, read> source: array<${scalar ? "f32" : "vec4f"}>;
@group(0) @binding(1) var<storage, read_write> wide: array<f32>;
fn sample(x: u32, y: u32) -> f32 { return ${sample}; }
@compute @workgroup_size(${TILE}) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= ${columns}u || id.y >= ${height}u) { return; }
  let first = i32(id.x * ${squeeze}u);
  let x = id.x * ${shuffle}u;
${near.join("\n")}
${stores.join("\n")}
}`;
}

/**
 * One invocation scales the widened rows around one position to its outputs, and adds the residuals.
 *
 * middle: the code value that samples are counted from. channel0: the first of this plane's residuals.
 */
function composeCode(architecture, sizes, middle, channel0) {
  const { height, columns, rows, pitch, area, outWidth, outHeight } = sizes;
  const { squeeze, shuffle } = architecture;
  const lines = range(channel0 >> 2, Math.ceil((channel0 + shuffle ** 2) / 4) - 1).map(
    (group) => `  let r${group} = residual[at + ${group * area}u];`,
  );
  for (const column of range(0, shuffle - 1)) {
    const sample = (d) => `n${column}_${d + REACH}`;
    for (const d of range(-REACH, squeeze - 1 + REACH))
      lines.push(`  let ${sample(d)} = widened(first + ${d}, x + ${column}u);`);
    for (const [row, bell] of lanczos(architecture).entries()) {
      const channel = channel0 + row * shuffle + column;
      lines.push(
        `  store(x + ${column}u, y + ${row}u, ${weighted(bell, 1, sample)}, r${channel >> 2}.${"xyzw"[channel & 3]});`,
      );
    }
  }
  return `
@group(0) @binding(0) var<storage, read> residual: array<vec4f>;
@group(0) @binding(1) var<storage, read> wide: array<f32>;
@group(0) @binding(2) var<storage, read_write> shown: array<u32>;
fn widened(y: i32, x: u32) -> f32 { return wide[u32(clamp(y, 0, ${height - 1})) * ${outWidth}u + x]; }
fn store(x: u32, y: u32, sum: f32, more: f32) {
  if (x >= ${outWidth}u || y >= ${outHeight}u) { return; }
  let plain = clamp(round(sum + ${middle}.0), 0.0, 255.0);
  shown[y * ${outWidth}u + x] = u32(clamp(plain + clamp(round(more), ${RESIDUAL}), 0.0, 255.0)) | (u32(plain) << 8u);
}
@compute @workgroup_size(${TILE}) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= ${columns}u || id.y >= ${rows}u) { return; }
  let at = (id.y + 1u) * ${pitch}u + id.x + 1u;
  let first = i32(id.y * ${squeeze}u);
  let x = id.x * ${shuffle}u;
  let y = id.y * ${shuffle}u;
${lines.join("\n")}
}`;
}

/** Draws a picture: luma with the chroma between its samples, left of the split as played plainly. */
export function screenCode({ outWidthPx, outHeightPx }, withChroma) {
  const [w, h] = [(outWidthPx + 1) >> 1, (outHeightPx + 1) >> 1];
  const lifted = (plane) => `
@group(0) @binding(${5 + plane}) var<storage, read> lifted${plane}: array<u32>;
fn at${plane}(x: i32, y: i32) -> f32 {
  return f32(lifted${plane}[clamp(y, 0, ${h - 1}) * ${w} + clamp(x, 0, ${w - 1})] & 255u);
}
fn between${plane}(place: vec2f) -> f32 {
  let p = place * vec2f(${outWidthPx / 2}, ${outHeightPx / 2}) - vec2f(0.25, 0.5); // sampled left, and between rows
  let f = floor(p);
  let i = vec2i(f);
  let above = mix(at${plane}(i.x, i.y), at${plane}(i.x + 1, i.y), p.x - f.x);
  let below = mix(at${plane}(i.x, i.y + 1), at${plane}(i.x + 1, i.y + 1), p.x - f.x);
  return mix(above, below, p.y - f.y);
}`;
  const chosen = `  if (at.x >= settings.z) { codes = vec2f(between0(place), between1(place)); }`;
  return `
@group(0) @binding(0) var<uniform> settings: vec4f;
@group(0) @binding(1) var<storage, read> shown: array<u32>;
@group(0) @binding(2) var blue: texture_2d<f32>;
@group(0) @binding(3) var red: texture_2d<f32>;
@group(0) @binding(4) var linear: sampler;
${withChroma ? [0, 1].map(lifted).join("") : ""}
@vertex fn corner(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
  return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}
@fragment fn colour(@builtin(position) at: vec4f) -> @location(0) vec4f {
  let word = shown[u32(at.y) * u32(settings.x) + u32(at.x)];
  let luma = (f32(select(word & 255u, word >> 8u, at.x < settings.z)) - 16.0) / 219.0;
  let place = at.xy / settings.xy;
  let beside = place + vec2f(0.25 / f32(textureDimensions(blue).x), 0.0);
  var codes = vec2f(
    textureSampleLevel(blue, linear, beside, 0.0).r, textureSampleLevel(red, linear, beside, 0.0).r) * 255.0;
${withChroma ? chosen : ""}
  let b = (codes.x - 128.0) / 224.0;
  let r = (codes.y - 128.0) / 224.0;
  return vec4f(luma + 1.5748 * r, luma - 0.1873 * b - 0.4681 * r, luma + 1.8556 * b, 1.0);
}`;
}
