// A network on the processor alone, in plain JavaScript: too slow for a film, but there is nothing to compile, so a frame
// that stands still is lifted within seconds on any machine.

import { chromaGrid, grid, packed, packedPlanes } from "./picture.js";
import { isTail } from "./plain.js";
import { chromaShift, lanczos } from "./shader.js";

const OUTPUTS = 4; // accumulated at once, for as many positions as PLACES: what fits in a processor's registers
const PLACES = 3;

/** The processor drawing on `canvas`, with the same ways as WebGPU and WebGL2. */
export async function openProcessor(canvas = new OffscreenCanvas(1, 1)) {
  return {
    kind: "Processor",
    adapter: "",
    compiles: false,
    lost: new Promise(() => {}),
    open: async (network, widthPx, heightPx) => new ProcessorNetwork(network, widthPx, heightPx),
    present: (opened, split) => present(canvas, opened, split),
    close: () => {},
  };
}

class ProcessorNetwork {
  constructor({ architecture, chroma, tensors }, widthPx, heightPx) {
    const place = grid(architecture, widthPx, heightPx);
    const { outWidthPx, outHeightPx } = place;
    Object.assign(this, { architecture, widthPx, heightPx, outWidthPx, outHeightPx, place });
    this.layers = architecture.layers.map((layer) => arranged(layer, tensors));
    this.columns = samples(architecture, widthPx, outWidthPx);
    this.rows = samples(architecture, heightPx, outHeightPx);
    this.colour = chroma ? new ProcessorChroma(chroma, tensors, widthPx, heightPx) : null;
  }

  /** Lifts a picture: about a second for each thousand million multiply-accumulates. */
  async run(picture) {
    let features = packed(
      this.architecture,
      picture,
      new Float64Array(this.place.area * this.architecture.squeeze ** 2),
    );
    for (const layer of this.layers) features = convolve(layer, features, this.place);
    const { widthPx, outWidthPx, outHeightPx } = this;
    this.plain = scaled(picture.y, widthPx, this.columns, this.rows);
    this.lifted = sum(this.plain, features, outWidthPx, this.place, this.architecture);
    this.liftedChroma = this.colour?.run(picture) ?? null;
    const half = (planes, [width, height]) =>
      planes.map((plane) => interpolated(plane, [width, height], [outWidthPx, outHeightPx]));
    const plain = half([picture.u, picture.v], [(widthPx + 1) >> 1, (picture.heightPx + 1) >> 1]);
    const shown = this.liftedChroma ? half(this.liftedChroma, [(outWidthPx + 1) >> 1, (outHeightPx + 1) >> 1]) : plain;
    this.pictures = [coloured(this.lifted, ...shown, outWidthPx), coloured(this.plain, ...plain, outWidthPx)];
  }

  /** The luma of the picture lifted last: {lifted, plain}, Uint8Arrays of outWidthPx × outHeightPx. */
  async luma() {
    return { lifted: this.lifted, plain: this.plain };
  }

  /** The chroma of the picture lifted last: [u, v] of half its size, rounded up; null without a part for it. */
  async chromaPlanes() {
    return this.liftedChroma;
  }

  close() {
    this.pictures = null;
  }
}

/** The chroma part of a network. */
class ProcessorChroma {
  constructor(chroma, tensors, widthPx, heightPx) {
    this.chroma = chroma;
    this.place = chromaGrid(chroma, widthPx, heightPx);
    this.layers = chroma.layers.map((layer) => arranged(layer, tensors));
    this.columns = samples(chroma, this.place.planeWidth, this.place.outPlaneWidth, chromaShift(chroma));
    this.rows = samples(chroma, this.place.planeHeight, this.place.outPlaneHeight);
  }

  /** [u, v], lifted. */
  run(picture) {
    const { chroma, place } = this;
    const { inputs } = this.layers[0];
    const at = (position, channel) => position * inputs + channel;
    let features = packedPlanes(chroma, picture, new Float64Array(place.area * inputs), at);
    for (const layer of this.layers) features = convolve(layer, features, place);
    return [picture.u, picture.v].map((plane, index) => {
      const plain = scaled(plane, place.planeWidth, this.columns, this.rows);
      return sum(plain, features, place.outPlaneWidth, place, chroma, 2, index);
    });
  }
}

/** A plane as plain playback scales it. */
function scaled(plane, width, columns, rows) {
  const outWidth = columns.length;
  const height = plane.length / width;
  const wide = new Float32Array(outWidth * height);
  for (let row = 0; row < height; row++) {
    for (let x = 0; x < outWidth; x++) {
      const { at, weights } = columns[x];
      let total = 0;
      for (let tap = 0; tap < at.length; tap++) total += weights[tap] * plane[row * width + at[tap]];
      wide[row * outWidth + x] = total;
    }
  }
  const out = new Uint8ClampedArray(outWidth * rows.length); // rounds halves to even, as the shaders do
  rows.forEach(({ at, weights }, y) => {
    for (let x = 0; x < outWidth; x++) {
      let total = 0;
      for (let tap = 0; tap < at.length; tap++) total += weights[tap] * wide[at[tap] * outWidth + x];
      out[y * outWidth + x] = total;
    }
  });
  return out;
}

/** `plain` and on top of it the residuals of plane `index` of the `planes` that a position's outputs are for. */
function sum(plain, residuals, outWidth, { pitch }, { shuffle }, planes = 1, index = 0) {
  const size = shuffle ** 2;
  const out = new Uint8ClampedArray(plain.length);
  for (let y = 0, at = 0; at < plain.length; y++) {
    const line = (Math.floor(y / shuffle) + 1) * pitch + 1;
    for (let x = 0; x < outWidth; x++, at++) {
      const cell = (line + Math.floor(x / shuffle)) * planes + index;
      const residual = 255 * residuals[cell * size + (y % shuffle) * shuffle + (x % shuffle)];
      out[at] = plain[at] + Math.max(-128, Math.min(127, Math.round(residual)));
    }
  }
  return out;
}

/** A plane of chroma between its samples, less its middle. */
function interpolated(plane, [width, height], [outWidth, outHeight]) {
  const across = between(width, outWidth, 0.25);
  const out = new Float32Array(outWidth * outHeight);
  between(height, outHeight, 0.5).forEach(([top, bottom, down], y) => {
    for (let x = 0; x < outWidth; x++) {
      const [left, right, along] = across[x];
      const above = plane[top * width + left] * (1 - along) + plane[top * width + right] * along;
      const below = plane[bottom * width + left] * (1 - along) + plane[bottom * width + right] * along;
      out[y * outWidth + x] = above * (1 - down) + below * down - 128;
    }
  });
  return out;
}

/** A layer with its weights in the order in which they are used: outputs by fours, then taps, then inputs. */
function arranged({ name, inputs, outputs }, tensors) {
  const given = tensors.get(`${name}.weight`);
  const groups = Math.ceil(outputs / OUTPUTS);
  const weights = new Float64Array(groups * 9 * inputs * OUTPUTS);
  const bias = new Float64Array(groups * OUTPUTS);
  bias.set(tensors.get(`${name}.bias`));
  for (let output = 0; output < outputs; output++) {
    for (let tap = 0; tap < 9; tap++) {
      for (let input = 0; input < inputs; input++) {
        const at = ((Math.floor(output / OUTPUTS) * 9 + tap) * inputs + input) * OUTPUTS + (output % OUTPUTS);
        weights[at] = given[(output * inputs + input) * 9 + tap];
      }
    }
  }
  return { inputs, outputs, groups, weights, bias, relu: !isTail({ name }) };
}

/** One 3×3 convolution over the grid, its border kept at zero. */
function convolve(layer, source, { columns, rows, pitch, area }) {
  const target = new Float64Array(area * layer.outputs);
  const firsts = Array.from({ length: Math.ceil(columns / PLACES) }, (_, i) => Math.min(i * PLACES, columns - PLACES));
  for (let group = 0; group < layer.groups; group++) {
    for (let row = 1; row <= rows; row++) {
      for (const first of firsts) block(layer, source, target, group, row * pitch + 1 + Math.max(0, first), pitch);
    }
  }
  return clean(target, layer.outputs, { columns, rows, pitch });
}

/** Four outputs of three neighbouring positions. */
function block({ inputs, outputs, weights, bias, relu }, source, target, group, place, pitch) {
  const b = group * OUTPUTS;
  let [a0, a1, a2, a3] = [bias[b], bias[b + 1], bias[b + 2], bias[b + 3]];
  let [b0, b1, b2, b3] = [a0, a1, a2, a3];
  let [c0, c1, c2, c3] = [a0, a1, a2, a3];
  let w = group * 9 * inputs * OUTPUTS;
  for (let dy = -1; dy <= 1; dy++) {
    for (let dx = -1; dx <= 1; dx++) {
      let at = (place + dy * pitch + dx) * inputs;
      for (let end = at + inputs; at < end; at++, w += OUTPUTS) {
        const x = source[at];
        const y = source[at + inputs];
        const z = source[at + 2 * inputs];
        const w0 = weights[w];
        const w1 = weights[w + 1];
        const w2 = weights[w + 2];
        const w3 = weights[w + 3];
        a0 += x * w0;
        a1 += x * w1;
        a2 += x * w2;
        a3 += x * w3;
        b0 += y * w0;
        b1 += y * w1;
        b2 += y * w2;
        b3 += y * w3;
        c0 += z * w0;
        c1 += z * w1;
        c2 += z * w2;
        c3 += z * w3;
      }
    }
  }
  const count = outputs - b;
  const at = place * outputs + b;
  store(target, at, count, relu, a0, a1, a2, a3);
  store(target, at + outputs, count, relu, b0, b1, b2, b3);
  store(target, at + 2 * outputs, count, relu, c0, c1, c2, c3);
}

function store(target, at, count, relu, a, b, c, d) {
  target[at] = relu && a < 0 ? 0 : a;
  if (count > 1) target[at + 1] = relu && b < 0 ? 0 : b;
  if (count > 2) target[at + 2] = relu && c < 0 ? 0 : c;
  if (count > 3) target[at + 3] = relu && d < 0 ? 0 : d;
}

/** Pictures narrower than three positions spill into the border; it is zero again after this. */
function clean(target, outputs, { columns, rows, pitch }) {
  for (let row = 1; row <= rows && columns < PLACES; row++) {
    target.fill(0, (row * pitch + 1 + columns) * outputs, (row + 1) * pitch * outputs);
    target.fill(0, (row + 1) * pitch * outputs, ((row + 1) * pitch + 1) * outputs);
  }
  return target;
}

/** For each output along one side: the samples it is made of, and their weights. */
function samples(architecture, lengthPx, outLengthPx, shift = 0) {
  const { squeeze, shuffle } = architecture;
  const bells = lanczos(architecture, shift);
  return Array.from({ length: outLengthPx }, (_, out) => {
    const { from, weights } = bells[out % shuffle];
    const first = Math.floor(out / shuffle) * squeeze + from;
    return { at: weights.map((_, tap) => Math.min(lengthPx - 1, Math.max(0, first + tap))), weights };
  });
}

/**
 * For each output along one side: [sample before, sample after, how far it lies towards the second].
 *
 * offset: where the first sample lies, in samples: 0.5 between two pixels, 0.25 on the left one of a pair.
 */
function between(length, outLength, offset) {
  return Array.from({ length: outLength }, (_, out) => {
    const place = Math.min(length - 1, Math.max(0, ((out + 0.5) * length) / outLength - offset));
    const before = Math.floor(place);
    return [before, Math.min(length - 1, before + 1), place - before];
  });
}

/** BT.709 of limited range as a picture that a canvas takes. */
function coloured(luma, blue, red, widthPx) {
  const image = new ImageData(widthPx, luma.length / widthPx);
  const scale = 255 / 219;
  const tint = 255 / 224;
  for (let i = 0, at = 0; i < luma.length; i++, at += 4) {
    const y = (luma[i] - 16) * scale;
    const b = blue[i] * tint;
    const r = red[i] * tint;
    image.data[at] = y + 1.5748 * r;
    image.data[at + 1] = y - 0.1873 * b - 0.4681 * r;
    image.data[at + 2] = y + 1.8556 * b;
    image.data[at + 3] = 255;
  }
  return image;
}

/** Draws the lifted picture; left of the split, the plain one. */
function present(canvas, { pictures, outWidthPx, outHeightPx }, split) {
  if (!pictures) return;
  if (canvas.width !== outWidthPx || canvas.height !== outHeightPx)
    Object.assign(canvas, { width: outWidthPx, height: outHeightPx });
  const context = canvas.getContext("2d", { alpha: false });
  const [lifted, plain] = pictures;
  context.putImageData(lifted, 0, 0);
  context.putImageData(plain, 0, 0, 0, 0, Math.round(split * outWidthPx), outHeightPx);
}
