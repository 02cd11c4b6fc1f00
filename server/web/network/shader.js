// What the WGSL and the GLSL of a network have in common. Weights are literals in the text: a compiler then sees every
// one of them, which is 8 to 12 times faster than a buffer of weights on a software adapter.

/** A number that both languages read back as the same 32-bit float. */
export function literal(value) {
  const text = String(Number(Math.fround(value).toPrecision(9)));
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/**
 * Statements that add a 3×3 convolution to the accumulators `a<group>`, for `count` groups of outputs from `first` on.
 *
 * matrix: name of the type of 4 × 4 numbers. load(group, dx, dy): the four inputs of a group, beside this position.
 */
export function convolution({ inputs, outputs }, weight, first, count, { matrix, load }) {
  const number = (input, output, tap) =>
    literal(input < inputs && output < outputs ? weight[(output * inputs + input) * 9 + tap] : 0);
  const lines = [];
  for (let group = 0; group < Math.ceil(inputs / 4); group++) {
    for (let tap = 0; tap < 9; tap++) {
      lines.push(`  v = ${load(group, (tap % 3) - 1, Math.floor(tap / 3) - 1)};`);
      for (let out = 0; out < count; out++) {
        const numbers = SIXTEEN.map((cell) => number(4 * group + (cell >> 2), 4 * (first + out) + (cell & 3), tap));
        lines.push(`  a${out} += ${matrix}(${numbers.join(", ")}) * v;`);
      }
    }
  }
  return lines.join("\n");
}

const SIXTEEN = Array.from({ length: 16 }, (_, cell) => cell);

/** Accumulators that begin as the biases; `declare` begins a declaration in the language. */
export function biases({ outputs }, bias, first, count, vec4, declare) {
  const lines = [];
  for (let out = first; out < first + count; out++) {
    const values = [0, 1, 2, 3].map((row) => literal(4 * out + row < outputs ? bias[4 * out + row] : 0));
    lines.push(`  ${declare} a${out - first} = ${vec4}(${values.join(", ")});`);
  }
  return lines.join("\n");
}

/** What a network may add to a code value, at least and at most: residuals are whole numbers of eight bits. */
export const RESIDUAL = "-128.0, 127.0";

/** How far Lanczos' kernel of three lobes reaches to each side, in samples. */
export const REACH = 3;

/**
 * The display scaler of plain playback (swscale's Lanczos), for each of the `shuffle` outputs of a position of the grid:
 * {from, weights}, weights summing to one, of samples counted from the position's first. `shift`: of where samples are
 * taken, in samples.
 */
export function lanczos({ squeeze, shuffle }, shift = 0) {
  return range(0, shuffle - 1).map((output) => {
    const centre = ((output + 0.5) * squeeze) / shuffle - 0.5 + shift;
    const from = Math.floor(centre) - REACH + 1;
    const weights = range(0, 2 * REACH - 1).map((tap) => bell(from + tap - centre));
    const sum = weights.reduce((a, b) => a + b);
    return { from, weights: weights.map((weight) => weight / sum) };
  });
}

/** The shift of columns of chroma, which H.264 samples at the left of each pair of pixels, before scaling and after. */
export const chromaShift = ({ scale }) => 0.25 - 0.25 / scale;

function bell(x) {
  if (x === 0) return 1;
  return Math.abs(x) < REACH
    ? (REACH * Math.sin(Math.PI * x) * Math.sin((Math.PI * x) / REACH)) / (Math.PI * x) ** 2
    : 0;
}

/** One output of `lanczos` times `gain` as an expression; `sample(offset)` names a sample. */
export function weighted({ from, weights }, gain, sample) {
  return weights.map((weight, tap) => `${literal(weight * gain)} * ${sample(from + tap)}`).join(" + ");
}

/** Whole numbers from `from` to `to`, both included. */
export const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
