// The GLSL of a network: layers, the plain scaler with the residuals on top, and what draws the result.

import { chromaChannel } from "./picture.js";
import { isTail } from "./plain.js";
import { REACH, RESIDUAL, biases, chromaShift, convolution, lanczos, range, weighted } from "./shader.js";

export const HEAD =
  "#version 300 es\nprecision highp float; precision highp int; precision highp sampler2D; precision highp sampler2DArray;\n";

/** A pass over `count` groups of outputs of one layer, from `first` on. */
export function layerCode(layer, tensors, first, count) {
  const scalar = layer.inputs === 1;
  const tail = isTail(layer);
  const load = (group, dx, dy) => {
    const place = `at + ivec2(${dx}, ${dy})`;
    return scalar ? `vec4(texelFetch(input0, ${place}, 0).r, 0.0, 0.0, 0.0)` : fetch(layer, place, group);
  };
  const kernel = tensors.get(`${layer.name}.weight`);
  const bias = tensors.get(`${layer.name}.bias`);
  const outs = range(0, count - 1).map((index) => `layout(location = ${index}) out vec4 o${index};`);
  const stores = range(0, count - 1).map(
    (index) => `  o${index} = ${tail ? `a${index} * 255.0` : `max(a${index}, 0.0)`};`,
  );
  return `${HEAD}uniform ${layer.name === "head" ? "sampler2D" : "sampler2DArray"} input0;
${outs.join("\n")}
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  vec4 v;
${biases(layer, bias, first, count, "vec4", "vec4")}
${convolution(layer, kernel, first, count, { matrix: "mat4", load })}
${stores.join("\n")}
}`;
}

function fetch(layer, place, group) {
  return layer.name === "head" ? `texelFetch(input0, ${place}, 0)` : `texelFetch(input0, ivec3(${place}, ${group}), 0)`;
}

/** The passes that scale the luma as plain playback does, and add the residuals: {widen, plain, lifted}. */
export function lumaCode(architecture, { widthPx, heightPx }) {
  const { squeeze } = architecture;
  const group = `texelFetch(input0, ivec2(x, y) / ${squeeze} + 1, 0)`;
  const sample = squeeze === 1 ? `${group}.r` : `${group}[(y % 2) * 2 + x % 2]`;
  return {
    widen: widenCode(architecture, widthPx, "sampler2D", sample, 0),
    plain: composeCode(architecture, heightPx, { middle: 0, channel0: -1 }),
    lifted: composeCode(architecture, heightPx, { middle: 0, channel0: 0 }),
  };
}

/** The same for a plane of chroma, 0 for u and 1 for v: {widen, lifted}. */
export function chromaCode(chroma, { planeWidth, planeHeight }, plane) {
  const { squeeze } = chroma;
  const first = chromaChannel(chroma, plane);
  const group = `texelFetch(input0, ivec3(ivec2(x, y) / ${squeeze} + 1, ${first >> 2}), 0)`;
  const sample = `${group}[${squeeze === 1 ? first & 3 : "(y % 2) * 2 + x % 2"}]`;
  return {
    widen: widenCode(chroma, planeWidth, "sampler2DArray", sample, chromaShift(chroma)),
    lifted: composeCode(chroma, planeHeight, { middle: 128, channel0: plane * chroma.shuffle ** 2 }),
  };
}

/** A texel for each position of the grid and row of samples: the outputs that it has there. */
function widenCode({ squeeze, shuffle }, width, sampler, sample, shift) {
  const near = range(-REACH, squeeze - 1 + REACH).map(
    (d) => `  float n${d + REACH} = sampleAt(clamp(at.x * ${squeeze} + ${d}, 0, ${width - 1}), at.y);`,
  );
  const outputs = lanczos({ squeeze, shuffle }, shift).map((bell) => weighted(bell, 255, (d) => `n${d + REACH}`));
  return `${HEAD}uniform ${sampler} input0;
layout(location = 0) out vec4 wide;
float sampleAt(int x, int y) { return ${sample}; }
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
${near.join("\n")}
  wide = vec4(${four(outputs)});
}`;
}

/**
 * Layer r holds, for each position of the grid, row r of its outputs.
 *
 * middle: the code value that samples are counted from. channel0: the first residual of this plane; below 0 for none.
 */
function composeCode(architecture, height, { middle, channel0 }) {
  const { shuffle, squeeze } = architecture;
  const withResidual = channel0 >= 0;
  const residuals = range(channel0 >> 2, Math.ceil((channel0 + shuffle ** 2) / 4) - 1).map(
    (group) => `  vec4 r${group} = texelFetch(input1, ivec3(at + 1, ${group}), 0);`,
  );
  const near = range(-REACH, squeeze - 1 + REACH).map(
    (d) =>
      `  vec4 n${d + REACH} = texelFetch(input0, ivec2(at.x, clamp(at.y * ${squeeze} + ${d}, 0, ${height - 1})), 0);`,
  );
  const rows = lanczos(architecture).map((bell, row) => {
    const channels = range(channel0 + row * shuffle, channel0 + (row + 1) * shuffle - 1).map(
      (channel) => `r${channel >> 2}.${"xyzw"[channel & 3]}`,
    );
    const plain = `clamp(roundEven(${weighted(bell, 1, (d) => `n${d + REACH}`)} + ${middle}.0), 0.0, 255.0)`;
    return `  o${row} = ${withResidual ? `clamp(${plain} + clamp(roundEven(vec4(${four(channels)})), ${RESIDUAL}), 0.0, 255.0)` : plain} / 255.0;`;
  });
  const outs = range(0, shuffle - 1).map((row) => `layout(location = ${row}) out vec4 o${row};`);
  return `${HEAD}uniform sampler2D input0;
uniform sampler2DArray input1;
${outs.join("\n")}
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
${withResidual ? residuals.join("\n") : ""}
${near.join("\n")}
${rows.join("\n")}
}`;
}

/** The components of a vec4, of four expressions at most. */
export const four = (expressions) => [...expressions, "0.0", "0.0", "0.0"].slice(0, 4).join(", ");

/** Draws a picture: luma with the chroma between its samples, left of the split as played plainly. */
export function screenCode({ architecture: { shuffle }, outWidthPx, outHeightPx }, withChroma) {
  const [w, h] = [(outWidthPx + 1) >> 1, (outHeightPx + 1) >> 1];
  const lifted = (plane) => `uniform sampler2DArray input${4 + plane};
float at${plane}(ivec2 p) {
  p = clamp(p, ivec2(0), ivec2(${w - 1}, ${h - 1}));
  return texelFetch(input${4 + plane}, ivec3(p / ${shuffle}, p.y % ${shuffle}), 0)[p.x % ${shuffle}];
}
float between${plane}(vec2 place) {
  vec2 p = place * vec2(${outWidthPx / 2}, ${outHeightPx / 2}) - vec2(0.25, 0.5); // sampled left, and between rows
  ivec2 i = ivec2(floor(p));
  vec2 f = p - vec2(i);
  float above = mix(at${plane}(i), at${plane}(i + ivec2(1, 0)), f.x);
  return mix(above, mix(at${plane}(i + ivec2(0, 1)), at${plane}(i + ivec2(1, 1)), f.x), f.y);
}
`;
  const chosen = "  if (at.x >= split) codes = vec2(between0(place), between1(place)) * 255.0;";
  return `${HEAD}uniform sampler2DArray input0;
uniform sampler2DArray input1;
uniform sampler2D input2;
uniform sampler2D input3;
uniform float split;
layout(location = 0) out vec4 colour;
${withChroma ? [0, 1].map(lifted).join("") : ""}
void main() {
  vec2 at = vec2(gl_FragCoord.x, ${outHeightPx}.0 - gl_FragCoord.y);
  ivec2 pixel = ivec2(at);
  ivec3 texel = ivec3(pixel / ${shuffle}, pixel.y % ${shuffle});
  float code = at.x < split ? texelFetch(input1, texel, 0)[pixel.x % ${shuffle}] : texelFetch(input0, texel, 0)[pixel.x % ${shuffle}];
  vec2 place = at / vec2(${outWidthPx}, ${outHeightPx});
  float luma = (code * 255.0 - 16.0) / 219.0;
  vec2 beside = place + vec2(0.25 / float(textureSize(input2, 0).x), 0.0);
  vec2 codes = vec2(texture(input2, beside).r, texture(input3, beside).r) * 255.0;
${withChroma ? chosen : ""}
  float b = (codes.x - 128.0) / 224.0;
  float r = (codes.y - 128.0) / 224.0;
  colour = vec4(luma + 1.5748 * r, luma - 0.1873 * b - 0.4681 * r, luma + 1.8556 * b, 1.0);
}`;
}
