// Reads weights chunks, the same safetensors files that the Python player takes (enhancers/networks/checkpoint.py tells the
// format). Whatever a chunk says is checked before it is used.

import { architecture, chromaPart } from "./plain.js";

const FORMAT = "toprung-plain-1";
const CHROMA_FORMAT = "toprung-plain-2"; // a first chunk with a chroma part
const HEADER_BYTES_MAX = 1 << 20;
const VALUE_MAX = 1e4;
const BYTES_OF = { F32: 4, F16: 2, I8: 1 };

/**
 * The network that chunks 1…k (ArrayBuffers, in order) amount to: {architecture, chroma, tensors: Map of Float32Array}.
 *
 * chroma: the part that lifts chroma; null for weights that lift luma alone. strength: what the network adds to the plain
 * luma is multiplied by this, in its last convolution.
 */
export function readChunks(chunks, strength = 1) {
  const tensors = new Map();
  let before = null;
  let chroma = null;
  for (const [index, chunk] of chunks.entries()) {
    const { metadata, entry } = open(chunk);
    const made = architecture(metadata.architecture);
    const after = before ? before.depth : 0;
    const sameTrunk = !before || (goesOn(made.channels, before.channels) && made.shuffle === before.shuffle);
    if (metadata.from !== after || made.depth <= after || !sameTrunk) {
      throw new Error(`chunk ${index + 1} of the weights does not continue the one before`);
    }
    if (metadata.format === CHROMA_FORMAT) {
      if (before) throw new Error(`chunk ${index + 1} of the weights has a chroma part, which only the first may have`);
      chroma = chromaPart(metadata.chroma, made);
      for (const layer of chroma.layers) read(layer, entry, tensors);
    }
    for (const layer of made.layers.filter(({ name }) => belongs(name, after))) read(layer, entry, tensors);
    before = made;
  }
  if (!before) throw new Error("there are no weights");
  if (!(strength > 0 && strength <= 1)) throw new Error(`the weights are offered at strength ${strength}`);
  for (const name of [`tail${before.depth}.weight`, `tail${before.depth}.bias`]) {
    tensors.set(
      name,
      tensors.get(name).map((value) => value * strength),
    );
  }
  return { architecture: before, chroma, tensors };
}

/** Whether a trunk of these channels begins as the one before it. */
const goesOn = (channels, before) => before.every((each, at) => channels[at] === each);

/** Whether a layer is in the chunk that comes after exit `after`. */
function belongs(name, after) {
  if (name === "head") return after === 0;
  return name.startsWith("tail") || Number(name.slice(5)) > after;
}

function read({ name, inputs, outputs }, entry, tensors) {
  const kernel = entry(`${name}.weight`, [outputs, inputs, 3, 3], Object.keys(BYTES_OF));
  const bias = entry(`${name}.bias`, [outputs], ["F32"]);
  let weight = kernel.values;
  if (kernel.dtype === "I8") {
    const scale = entry(`${name}.scale`, [outputs], ["F32"]).values;
    weight = weight.map((value, index) => Math.fround(value * scale[Math.floor(index / (inputs * 9))]));
  }
  tensors.set(`${name}.weight`, weight);
  tensors.set(`${name}.bias`, bias.values);
}

function open(chunk) {
  const view = new DataView(chunk);
  const headerBytes = chunk.byteLength >= 8 ? Number(view.getBigUint64(0, true)) : Infinity;
  if (headerBytes > Math.min(HEADER_BYTES_MAX, chunk.byteLength - 8)) throw new Error("these weights are cut off");
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(chunk, 8, headerBytes)));
  const metadata = JSON.parse(header.__metadata__?.toprung ?? "{}");
  if (![FORMAT, CHROMA_FORMAT].includes(metadata.format))
    throw new Error(`these weights are not in the format ${FORMAT}`);
  const data = chunk.slice(8 + headerBytes);
  return { metadata, entry: (name, shape, types) => tensor(header[name], data, name, shape, types) };
}

function tensor(found, data, name, shape, types) {
  if (!found || found.shape.join() !== shape.join() || !types.includes(found.dtype)) {
    throw new Error(`the weights lack a ${name} of ${shape.join(" × ")}`);
  }
  const count = shape.reduce((product, size) => product * size, 1);
  const [from, to] = found.data_offsets;
  if (to - from !== count * BYTES_OF[found.dtype] || to > data.byteLength) throw new Error(`${name} is cut off`);
  const values = numbers(data.slice(from, to), found.dtype);
  if (!values.every((value) => Math.abs(value) <= VALUE_MAX)) throw new Error(`${name} holds values beyond reason`);
  return { dtype: found.dtype, values };
}

function numbers(bytes, dtype) {
  if (dtype === "F32") return new Float32Array(bytes);
  if (dtype === "I8") return Float32Array.from(new Int8Array(bytes));
  return Float32Array.from(new Uint16Array(bytes), half);
}

/** An IEEE 754 half-precision number from its bits. */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return NaN;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}
