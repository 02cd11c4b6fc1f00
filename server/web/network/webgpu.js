// A network on WebGPU: compute shaders written for this one network and one size of picture.
//
// Activations lie in buffers of four channels a group, with a border of zeros that stands for the padding of the
// convolutions. A pass computes some groups of outputs of one layer; passes of a layer do not depend on each other.

import { BLOCK_PX } from "./motion.js";
import { chromaGrid, grid, packed, packedPlanes } from "./picture.js";
import { Pace, pieces } from "./pieces.js";
import { carryCode } from "./webgpu_carry.js";
import { TILE, chromaCode, layerCode, lumaCode, screenCode } from "./webgpu_shaders.js";

const GROUPS = 4; // output groups a pass computes: more reuse of inputs, more registers
const ROW_STRIDE = 32; // bytes from a row's number to the next one's: those of rows that begin tiles lie 256 apart
const { STORAGE, COPY_DST, COPY_SRC, MAP_READ, UNIFORM } = globalThis.GPUBufferUsage ?? {};

/** WebGPU, drawing on `canvas` if one is given; null where there is none (as on plain http beyond localhost). */
export async function openWebGpu(canvas) {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter().catch(() => null);
  if (!adapter) return null;
  const device = await adapter.requestDevice();
  const { vendor, architecture, description } = adapter.info ?? {};
  const screen = canvas ? new Screen(device, canvas) : null;
  return {
    kind: "WebGPU",
    adapter: description || [vendor, architecture].filter(Boolean).join(" "),
    lost: device.lost,
    open: (network, widthPx, heightPx) => WebGpuNetwork.open(device, network, widthPx, heightPx),
    present: (opened, split) => screen.present(opened, split),
    close: () => device.destroy(),
  };
}

class WebGpuNetwork {
  /** Compiles everything. Throws when the device refuses. */
  static async open(device, { architecture, chroma = null, tensors }, widthPx, heightPx) {
    const network = new WebGpuNetwork();
    device.pushErrorScope("validation");
    device.pushErrorScope("out-of-memory");
    await network.#build(device, { architecture, chroma, tensors }, widthPx, heightPx);
    const errors = [await device.popErrorScope(), await device.popErrorScope()].filter(Boolean);
    if (errors.length) throw new Error(errors[0].message);
    return network;
  }

  async #build(device, { architecture, chroma, tensors }, widthPx, heightPx) {
    const { squeeze } = architecture;
    const place = { widthPx, heightPx, ...grid(architecture, widthPx, heightPx) };
    const { columns, rows, area, outWidthPx, outHeightPx } = place;
    Object.assign(this, { device, architecture, widthPx, heightPx, outWidthPx, outHeightPx });
    this.resources = [];
    this.packing = new Float32Array(area * squeeze ** 2);
    this.input = this.#buffer(this.packing.byteLength, STORAGE | COPY_DST);
    this.shown = this.#buffer(4 * outWidthPx * outHeightPx, STORAGE | COPY_SRC);
    this.chroma = [0, 1].map(() => {
      const size = [(widthPx + 1) >> 1, (heightPx + 1) >> 1];
      return device.createTexture({
        size,
        format: "r8unorm",
        usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST,
      });
    });
    this.resources.push(...this.chroma);
    this.firstRows = this.#firstRows(rows);
    this.side = 0; // which of each pair of residuals was computed last
    this.pace = new Pace();
    const luma = this.#layers(architecture, tensors, this.input, place);
    const wide = this.#buffer(4 * outWidthPx * heightPx);
    const { widen, compose } = lumaCode(architecture, place);
    luma.widen = { code: widen, buffers: [this.input, wide], size: [columns, heightPx] };
    luma.compose = { code: compose, buffers: [luma.residuals, wide, this.shown], size: [columns, rows] };
    luma.carry = { part: architecture, place, middle: 0, channel0: 0 };
    const parts = [luma, ...(chroma ? this.#buildChroma(chroma, tensors) : [])];
    await this.#compile(parts);
  }

  /** heads: passes that read the picture. body: all other layers. scale: passes that make it as large as it is shown. */
  async #compile(parts) {
    const layers = parts.flatMap(({ passes = [] }) => passes);
    const kinds = [
      layers.filter(({ isHead }) => isHead),
      layers.filter(({ isHead }) => !isHead),
      parts.map(({ widen }) => widen),
      parts.map(({ compose }) => compose),
    ];
    const compiled = kinds.map((passes) => Promise.all(passes.map((pass) => this.#pass(pass))));
    [this.heads, this.body, this.scale, this.compose] = await Promise.all(compiled);
    this.parts = parts;
  }

  #buffer(bytes, usage = STORAGE) {
    const buffer = this.device.createBuffer({ size: Math.ceil(bytes / 4) * 4, usage });
    this.resources.push(buffer);
    return buffer;
  }

  /** The numbers of the rows with which tiles begin, for passes that compute some rows of a layer. */
  #firstRows(rows) {
    const buffer = this.#buffer(ROW_STRIDE * (rows + TILE[1]), UNIFORM | COPY_DST);
    const numbers = new Uint32Array(buffer.size / 4);
    for (let row = 0; row < rows; row += TILE[1]) numbers[(ROW_STRIDE * row) / 4] = row;
    this.device.queue.writeBuffer(buffer, 0, numbers);
    return buffer;
  }

  /**
   * The passes of all layers of a network, from the buffer `input` to one of two `residuals`: what the picture before
   * was given can still be carried while the next is computed.
   */
  #layers({ layers, width }, tensors, input, place) {
    const { columns, rows, area } = place;
    const features = [0, 1].map(() => this.#buffer(16 * Math.ceil(width / 4) * area));
    const residuals = [0, 1].map(() => this.#buffer(16 * Math.ceil(layers.at(-1).outputs / 4) * area));
    const passes = [];
    layers.forEach((layer, index) => {
      const source = index === 0 ? input : features[(index + 1) % 2];
      const target = index === layers.length - 1 ? residuals : features[index % 2];
      const groups = Math.ceil(layer.outputs / 4);
      for (let first = 0; first < groups; first += GROUPS) {
        const count = Math.min(GROUPS, groups - first);
        const code = layerCode(layer, tensors, first, count, place);
        const rowMacs = columns * 9 * layer.inputs * 4 * count;
        passes.push({ code, buffers: [source, target], size: [columns, rows], isHead: index === 0, rowMacs });
      }
    });
    return { passes, residuals };
  }

  /** Parts for u and v, whose passes end in buffers of a word a sample: lifted and plain, as `shown` has them. */
  #buildChroma(chroma, tensors) {
    const place = chromaGrid(chroma, this.widthPx, this.heightPx);
    const { columns, rows, area, planeHeight, outPlaneWidth, outPlaneHeight } = place;
    const inputs = Math.ceil(chroma.layers[0].inputs / 4) * 4;
    const packing = new Float32Array(area * inputs);
    this.colour = { part: chroma, packing, input: this.#buffer(packing.byteLength, STORAGE | COPY_DST) };
    this.colour.at = (position, channel) => ((channel >> 2) * area + position) * 4 + (channel & 3);
    const { passes, residuals } = this.#layers(chroma, tensors, this.colour.input, place);
    const parts = [0, 1].map((plane) => {
      const wide = this.#buffer(4 * outPlaneWidth * planeHeight);
      const shown = this.#buffer(4 * outPlaneWidth * outPlaneHeight, STORAGE | COPY_SRC);
      const { widen, compose } = chromaCode(chroma, place, plane);
      return {
        widen: { code: widen, buffers: [this.colour.input, wide], size: [columns, planeHeight] },
        compose: { code: compose, buffers: [residuals, wide, shown], size: [columns, rows] },
        carry: { part: chroma, place, middle: 128, channel0: plane * chroma.shuffle ** 2 },
      };
    });
    this.colour.shown = parts.map(({ compose }) => compose.buffers[2]);
    parts[0].passes = passes;
    return parts;
  }

  /** `buffers` by their binding; of a pair the one of the side that is computed. */
  async #pass({ code, buffers, size, rowMacs = 0 }) {
    const { device } = this;
    const compute = { module: device.createShaderModule({ code }), entryPoint: "main" };
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute });
    const groups = size.map((pixels, axis) => Math.ceil(pixels / TILE[axis]));
    const bind = (side, row) => {
      const rows = rowMacs ? [{ buffer: this.firstRows, offset: ROW_STRIDE * row, size: 4 }] : [];
      const given = [...buffers.map((buffer) => ({ buffer: buffer[side] ?? buffer })), ...rows];
      const entries = given.map((resource, binding) => ({ binding, resource }));
      return device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    };
    const piece = (row, rows) => ({
      pipeline,
      bindings: [bind(0, row), bind(1, row)],
      groups: [groups[0], Math.ceil(rows / TILE[1])],
    });
    const whole = piece(0, size[1]);
    const cut = rowMacs ? pieces(size[1], rowMacs, TILE[1]) : [];
    return { ...whole, pieces: cut.map(({ row, rows, macs }) => ({ ...piece(row, rows), macs })) };
  }

  /** Hands a picture over, for the passes that are submitted next. */
  #take(picture) {
    const { queue } = this.device;
    queue.writeBuffer(this.input, 0, packed(this.architecture, picture, this.packing));
    if (this.colour) {
      const { part, packing, input, at } = this.colour;
      queue.writeBuffer(input, 0, packedPlanes(part, picture, packing, at));
    }
    [picture.u, picture.v].forEach((plane, index) => {
      const { width, height } = this.chroma[index];
      queue.writeTexture({ texture: this.chroma[index] }, plane, { bytesPerRow: width }, [width, height]);
    });
  }

  /** Lifts a picture; resolves when the device is done with it. `gently` leaves room for others between passes. */
  async run(picture, gently = false) {
    this.#take(picture);
    const side = 1 - this.side;
    const passes = [...this.heads, ...this.body, ...this.scale, ...this.compose];
    for (const some of gently ? passes.map((pass) => [pass]) : [passes]) await this.#submitted(some, side);
    this.side = side;
  }

  /**
   * Computes what a picture is to be given, for others to `carry`, while others are shown: in pieces of some
   * `pieceMs`, each when there is `room()`, so that nobody waits long for the device.
   */
  async runBeside(picture, pieceMs, room = async () => {}) {
    this.#take(picture);
    const side = 1 - this.side;
    await this.#submitted(this.heads, side);
    const all = this.body.flatMap(({ pieces }) => pieces);
    for (const some of this.pace.portions(all, pieceMs)) {
      await room();
      await this.pace.watch(some, () => this.#submitted(some, side));
    }
    this.side = side;
  }

  /**
   * Shows a picture with what the last one was given, moved along `motion` (see MotionTracker), `share` of it. Without
   * motion the picture stays plain.
   */
  async carry(picture, motion, share) {
    this.carrying ??= this.#buildCarrying();
    const { passes, vectors, settings } = await this.carrying;
    this.#take(picture);
    if (motion) this.device.queue.writeBuffer(vectors, 0, motion);
    this.device.queue.writeBuffer(settings, 0, new Float32Array([motion ? share : 0]));
    await this.#submitted([...this.scale, ...passes], this.side);
  }

  async #buildCarrying() {
    const { widthPx, heightPx } = this;
    const vectors = this.#buffer(
      8 * Math.ceil(widthPx / BLOCK_PX) * Math.ceil(heightPx / BLOCK_PX),
      STORAGE | COPY_DST,
    );
    const settings = this.#buffer(16, UNIFORM | COPY_DST);
    const passes = this.parts.map(({ carry: { part, place, middle, channel0 }, compose: { buffers, size } }) => {
      const code = carryCode(part, { ...place, widthPx }, middle, channel0);
      return this.#pass({ code, buffers: [...buffers, vectors, settings], size });
    });
    return { passes: await Promise.all(passes), vectors, settings };
  }

  async #submitted(passes, side) {
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const { pipeline, bindings, groups } of passes) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindings[side]);
      pass.dispatchWorkgroups(...groups);
    }
    pass.end();
    this.device.queue.submit([encoder.finish()]);
    await this.device.queue.onSubmittedWorkDone();
  }

  /** The luma of the picture lifted last: {lifted, plain}, Uint8Arrays of outWidthPx × outHeightPx. */
  async luma() {
    const words = await this.#read(this.shown);
    return { lifted: Uint8Array.from(words, (word) => word & 255), plain: Uint8Array.from(words, (word) => word >> 8) };
  }

  /** The chroma of the picture lifted last: [u, v] of half its size, rounded up; null without a part for it. */
  async chromaPlanes() {
    if (!this.colour) return null;
    const words = await Promise.all(this.colour.shown.map((buffer) => this.#read(buffer)));
    return words.map((plane) => Uint8Array.from(plane, (word) => word & 255));
  }

  async #read(source) {
    const { size } = source;
    const copy = this.device.createBuffer({ size, usage: COPY_DST | MAP_READ });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, copy, 0, size);
    this.device.queue.submit([encoder.finish()]);
    await copy.mapAsync(GPUMapMode.READ);
    const words = new Uint32Array(copy.getMappedRange()).slice();
    copy.destroy();
    return words;
  }

  close() {
    this.resources.forEach((resource) => resource.destroy());
  }
}

/** Draws lifted pictures: their luma with the chroma between its samples, left of the split as played plainly. */
class Screen {
  #bound = new WeakMap();

  constructor(device, canvas) {
    const format = navigator.gpu.getPreferredCanvasFormat();
    Object.assign(this, { device, canvas, context: canvas.getContext("webgpu") });
    this.context.configure({ device, format, alphaMode: "opaque" });
    this.format = format;
    this.sampler = device.createSampler({ magFilter: "linear", minFilter: "linear" });
    this.settings = device.createBuffer({ size: 16, usage: UNIFORM | COPY_DST });
  }

  present(network, split) {
    const { outWidthPx, outHeightPx } = network;
    if (this.canvas.width !== outWidthPx || this.canvas.height !== outHeightPx) {
      Object.assign(this.canvas, { width: outWidthPx, height: outHeightPx });
    }
    this.device.queue.writeBuffer(this.settings, 0, new Float32Array([outWidthPx, outHeightPx, split * outWidthPx, 0]));
    const encoder = this.device.createCommandEncoder();
    const view = this.context.getCurrentTexture().createView();
    const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store" }] });
    const { pipeline, bindings } = this.#drawing(network);
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindings);
    pass.draw(3);
    pass.end();
    this.device.queue.submit([encoder.finish()]);
  }

  #drawing(network) {
    if (!this.#bound.has(network)) {
      const { device, format } = this;
      const module = device.createShaderModule({ code: screenCode(network, Boolean(network.colour)) });
      const fragment = { module, entryPoint: "colour", targets: [{ format }] };
      const vertex = { module, entryPoint: "corner" };
      const pipeline = device.createRenderPipeline({ layout: "auto", vertex, fragment });
      const resources = [
        { buffer: this.settings },
        { buffer: network.shown },
        ...network.chroma.map((t) => t.createView()),
        this.sampler,
        ...(network.colour?.shown ?? []).map((buffer) => ({ buffer })),
      ];
      const entries = resources.map((resource, binding) => ({ binding, resource }));
      const bindings = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
      this.#bound.set(network, { pipeline, bindings });
    }
    return this.#bound.get(network);
  }
}
