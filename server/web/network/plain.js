// The `plain` family of networks, as enhancers/networks/plain.py describes it: 3×3 convolutions with ReLU at low
// resolution, then pixel shuffle over an interpolated skip.

const PATTERN = /^plain-m(\d{1,2})c(\d{1,3}(?:-\d{1,3})*)x(1\.5|2|3|4)(d2)?$/;
const DEPTH_MAX = 64,
  WIDTH_MAX = 256;
const SHUFFLES = [2, 3, 4];
const USUAL_CHROMA = "m3c24"; // as enhancers/networks/catalog.py has it

/**
 * `plain-m4c32x2d2` → {name, depth, channels, width, scale, squeeze, shuffle, layers}; throws for what this
 * page does not run.
 *
 * channels: of the head and of each block; `plain-m2c24-16-12x4` has others in each. width: the most of them.
 * A position of the working grid stands for squeeze × squeeze samples of the input, shuffle × shuffle of the output.
 */
export function architecture(name) {
  const found = PATTERN.exec(name);
  const [depth, scale] = found ? [Number(found[1]), Number(found[3])] : [0, 0];
  const told = found ? found[2].split("-").map(Number) : [];
  const channels = told.length === 1 ? Array(depth + 1).fill(told[0]) : told;
  const squeeze = found?.[4] ? 2 : 1;
  const shuffle = squeeze * scale;
  const isSound = depth >= 1 && depth <= DEPTH_MAX && channels.length === depth + 1;
  if (!(isSound && channels.every((each) => each >= 1 && each <= WIDTH_MAX) && SHUFFLES.includes(shuffle))) {
    throw new Error(`${name} is not a network that this page runs`);
  }
  const blocks = channels.slice(1).map((outputs, at) => ({ name: `block${at + 1}`, inputs: channels[at], outputs }));
  const layers = [
    { name: "head", inputs: squeeze ** 2, outputs: channels[0] },
    ...blocks,
    { name: `tail${depth}`, inputs: channels[depth], outputs: shuffle ** 2 },
  ];
  return { name, depth, channels, width: Math.max(...channels), scale, squeeze, shuffle, layers };
}

const CHROMA = /^m([1-9]\d?)c([1-9]\d{0,2})$/;

/**
 * The chroma part called `m3c24` beside a luma network, as enhancers/networks/chroma.py describes it.
 *
 * A position of its grid stands for fold × fold pixels of luma and squeeze × squeeze samples of each chroma plane.
 */
export function chromaPart(name, { scale, squeeze, shuffle }) {
  const found = CHROMA.exec(name);
  const [depth, width] = found ? found.slice(1).map(Number) : [0, 0];
  if (!(depth >= 1 && depth <= DEPTH_MAX && width >= 1 && width <= WIDTH_MAX)) {
    throw new Error(`${name} is not a chroma part that this page runs`);
  }
  const fold = 2 * squeeze;
  const blocks = Array.from({ length: depth }, (_, index) => `chroma.block${index + 1}`);
  const layers = [
    { name: "chroma.head", inputs: fold ** 2 + 2 * squeeze ** 2, outputs: width },
    ...blocks.map((block) => ({ name: block, inputs: width, outputs: width })),
    { name: "chroma.tail", inputs: width, outputs: 2 * shuffle ** 2 },
  ];
  return { name, depth, width, scale, squeeze, fold, shuffle, layers };
}

/** Whether a layer is the last of its network: no ReLU follows it. */
export const isTail = ({ name }) => name.replace("chroma.", "").startsWith("tail");

/** Multiply-accumulates of one frame of this size. */
export function macs({ layers, squeeze }, widthPx, heightPx) {
  const positions = Math.ceil(widthPx / squeeze) * Math.ceil(heightPx / squeeze);
  return positions * layers.reduce((sum, { inputs, outputs }) => sum + 9 * inputs * outputs, 0);
}

/** A network of this architecture whose weights mean nothing: as much work as a trained one. */
export function untrained(name) {
  let seed = 1;
  const random = () => ((seed = (seed * 16807) % 2147483647) / 2147483647 - 0.5) * 0.2;
  const made = architecture(name);
  const chroma = chromaPart(USUAL_CHROMA, made);
  const tensors = new Map();
  for (const { name: layer, inputs, outputs } of [...made.layers, ...chroma.layers]) {
    tensors.set(`${layer}.weight`, Float32Array.from({ length: outputs * inputs * 9 }, random));
    tensors.set(`${layer}.bias`, Float32Array.from({ length: outputs }, random));
  }
  return { architecture: made, chroma, tensors };
}
