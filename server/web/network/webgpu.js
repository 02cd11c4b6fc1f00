// A network on WebGPU: compute shaders written for this one network and one size of picture.
//
// Activations lie in buffers of four channels a group, with a border of zeros that stands for the padding of the
// convolutions. A pass computes some groups of outputs of one layer; passes of a layer do not depend on each other.

import { chromaGrid, grid, packed, packedPlanes } from "./picture.js";
import { TILE, chromaCode, layerCode, lumaCode, screenCode } from "./webgpu_shaders.js";

const GROUPS = 4; // output groups a pass computes: more reuse of inputs, more registers
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
    const { passes, residual } = this.#layers(architecture, tensors, this.input, place);
    const wide = this.#buffer(4 * outWidthPx * heightPx);
    const { widen, compose } = lumaCode(architecture, place);
    passes.push({ code: widen, buffers: [this.input, wide], size: [columns, heightPx] });
    passes.push({ code: compose, buffers: [residual, wide, this.shown], size: [columns, rows] });
    if (chroma) passes.push(...this.#buildChroma(chroma, tensors));
    this.passes = await Promise.all(passes.map((pass) => this.#pass(pass)));
  }

  #buffer(bytes, usage = STORAGE) {
    const buffer = this.device.createBuffer({ size: Math.ceil(bytes / 4) * 4, usage });
    this.resources.push(buffer);
    return buffer;
  }

  /** The passes of all layers of a network, from the buffer `input` to the buffer `residual`. */
  #layers({ layers, width }, tensors, input, place) {
    const { columns, rows, area } = place;
    const features = [0, 1].map(() => this.#buffer(16 * Math.ceil(width / 4) * area));
    const residual = this.#buffer(16 * Math.ceil(layers.at(-1).outputs / 4) * area);
    const passes = [];
    layers.forEach((layer, index) => {
      const source = index === 0 ? input : features[(index + 1) % 2];
      const target = index === layers.length - 1 ? residual : features[index % 2];
      const groups = Math.ceil(layer.outputs / 4);
      for (let first = 0; first < groups; first += GROUPS) {
        const count = Math.min(GROUPS, groups - first);
        const code = layerCode(layer, tensors, first, count, place);
        passes.push({ code, buffers: [source, target], size: [columns, rows] });
      }
    });
    return { passes, residual };
  }

  /** The passes of the chroma part, which end in two buffers of a word a sample: lifted and plain, as `shown` has them. */
  #buildChroma(chroma, tensors) {
    const place = chromaGrid(chroma, this.widthPx, this.heightPx);
    const { columns, rows, area, planeHeight, outPlaneWidth, outPlaneHeight } = place;
    const inputs = Math.ceil(chroma.layers[0].inputs / 4) * 4;
    const packing = new Float32Array(area * inputs);
    this.colour = { part: chroma, packing, input: this.#buffer(packing.byteLength, STORAGE | COPY_DST) };
    this.colour.at = (position, channel) => ((channel >> 2) * area + position) * 4 + (channel & 3);
    const { passes, residual } = this.#layers(chroma, tensors, this.colour.input, place);
    this.colour.shown = [0, 1].map((plane) => {
      const wide = this.#buffer(4 * outPlaneWidth * planeHeight);
      const shown = this.#buffer(4 * outPlaneWidth * outPlaneHeight, STORAGE | COPY_SRC);
      const { widen, compose } = chromaCode(chroma, place, plane);
      passes.push({ code: widen, buffers: [this.colour.input, wide], size: [columns, planeHeight] });
      passes.push({ code: compose, buffers: [residual, wide, shown], size: [columns, rows] });
      return shown;
    });
    return passes;
  }

  async #pass({ code, buffers, size }) {
    const compute = { module: this.device.createShaderModule({ code }), entryPoint: "main" };
    const pipeline = await this.device.createComputePipelineAsync({ layout: "auto", compute });
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const bindings = this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    return { pipeline, bindings, groups: size.map((pixels, axis) => Math.ceil(pixels / TILE[axis])) };
  }

  /** Lifts a picture; resolves when the device is done with it. `gently` leaves room for others between passes. */
  async run(picture, gently = false) {
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
    for (const passes of gently ? this.passes.map((pass) => [pass]) : [this.passes]) {
      this.#submit(passes);
      await queue.onSubmittedWorkDone();
    }
  }

  #submit(passes) {
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const { pipeline, bindings, groups } of passes) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindings);
      pass.dispatchWorkgroups(...groups);
    }
    pass.end();
    this.device.queue.submit([encoder.finish()]);
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
