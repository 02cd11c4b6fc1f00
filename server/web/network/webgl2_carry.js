// The GLSL that shows a picture with what an earlier one was given: each block takes it from where it was then.

import { BLOCK_PX, UNKNOWN } from "./motion.js";
import { REACH, RESIDUAL, lanczos, range, weighted } from "./shader.js";
import { HEAD, four } from "./webgl2_shaders.js";

/** As `compose` of a plane, with residuals that are moved and weakened; part, middle, channel0: as webgpu_carry.js has them. */
export function carryCode(part, place, middle, channel0) {
  const { squeeze, shuffle, scale, fold } = part;
  const side = fold ?? squeeze; // pixels of the frame that a position stands for, along each side
  const quarters = (scale * squeeze) / side / 4; // samples of this plane as it is shown, to a quarter of a pixel
  const height = fold ? place.planeHeight : place.heightPx;
  const [outWidth, outHeight] = fold
    ? [place.outPlaneWidth, place.outPlaneHeight]
    : [place.outWidthPx, place.outHeightPx];
  const near = range(-REACH, squeeze - 1 + REACH).map(
    (d) =>
      `  vec4 n${d + REACH} = texelFetch(input0, ivec2(at.x, clamp(at.y * ${squeeze} + ${d}, 0, ${height - 1})), 0);`,
  );
  const rows = lanczos(part).map((bell, row) => {
    const plain = `clamp(roundEven(${weighted(bell, 1, (d) => `n${d + REACH}`)} + ${middle}.0), 0.0, 255.0)`;
    const given = range(0, shuffle - 1).map((column) => `given(from + ivec2(${column}, ${row}))`);
    return `  o${row} = clamp(${plain} + (known ? roundEven(share * vec4(${four(given)})) : vec4(0.0)), 0.0, 255.0) / 255.0;`;
  });
  const outs = range(0, shuffle - 1).map((row) => `layout(location = ${row}) out vec4 o${row};`);
  return `${HEAD}precision highp isampler2D;
uniform sampler2D input0;
uniform sampler2DArray input1;
uniform isampler2D input2;
uniform float share;
${outs.join("\n")}
float given(ivec2 p) {
  p = clamp(p, ivec2(0), ivec2(${outWidth - 1}, ${outHeight - 1}));
  int channel = ${channel0} + p.y % ${shuffle} * ${shuffle} + p.x % ${shuffle};
  return clamp(roundEven(texelFetch(input1, ivec3(p / ${shuffle} + 1, channel / 4), 0)[channel % 4]), ${RESIDUAL});
}
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  ivec2 vector = texelFetch(input2, at * ${side} / ${BLOCK_PX}, 0).xy;
  bool known = vector.x != ${UNKNOWN} && share > 0.0;
  ivec2 from = at * ${shuffle} + ivec2(roundEven(vec2(vector) * ${quarters.toFixed(6)}));
${near.join("\n")}
${rows.join("\n")}
}`;
}
