// A network on WebGPU: compute shaders written for this one network and one size of picture.
//
// Activations lie in buffers of four channels a group, with a border of zeros that stands for the padding of the
// convolutions. A pass computes some groups of outputs of one layer; passes of a layer do not depend on each other.

import { grid, packed } from "./picture.js";
import { REACH, RESIDUAL, biases, convolution, lanczos, range, weighted } from "./shader.js";

const GROUPS = 4;  // output groups a pass computes: more reuse of inputs, more registers
const TILE = [8, 8];
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
  static async open(device, { architecture, tensors }, widthPx, heightPx) {
    const network = new WebGpuNetwork();
    device.pushErrorScope("validation");
    device.pushErrorScope("out-of-memory");
    await network.#build(device, architecture, tensors, widthPx, heightPx);
    const errors = [await device.popErrorScope(), await device.popErrorScope()].filter(Boolean);
    if (errors.length) throw new Error(errors[0].message);
    return network;
  }

  async #build(device, architecture, tensors, widthPx, heightPx) {
    const { layers, squeeze, shuffle } = architecture;
    const place = { widthPx, heightPx, ...grid(architecture, widthPx, heightPx) };
    const { columns, rows, area, outWidthPx, outHeightPx } = place;
    Object.assign(this, { device, architecture, widthPx, heightPx, outWidthPx, outHeightPx });
    const buffer = (bytes, usage = STORAGE) => device.createBuffer({ size: Math.ceil(bytes / 4) * 4, usage });
    const quads = Math.ceil(architecture.width / 4);
    this.packing = new Float32Array(area * squeeze ** 2);
    this.input = buffer(this.packing.byteLength, STORAGE | COPY_DST);
    const features = [buffer(16 * quads * area), buffer(16 * quads * area)];
    const residual = buffer(16 * Math.ceil(shuffle ** 2 / 4) * area);
    const wide = buffer(4 * outWidthPx * heightPx);
    this.shown = buffer(4 * outWidthPx * outHeightPx, STORAGE | COPY_SRC);
    this.chroma = [0, 1].map(() => {
      const size = [(widthPx + 1) >> 1, (heightPx + 1) >> 1];
      return device.createTexture({ size, format: "r8unorm", usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST });
    });
    this.resources = [this.input, ...features, residual, wide, this.shown, ...this.chroma];

    const passes = [];
    layers.forEach((layer, index) => {
      const source = index === 0 ? this.input : features[(index + 1) % 2];
      const target = index === layers.length - 1 ? residual : features[index % 2];
      const groups = Math.ceil(layer.outputs / 4);
      for (let first = 0; first < groups; first += GROUPS) {
        const count = Math.min(GROUPS, groups - first);
        const code = layerCode(layer, tensors, first, count, place);
        passes.push({ code, buffers: [source, target], size: [columns, rows] });
      }
    });
    passes.push({ code: widenCode(architecture, place), buffers: [this.input, wide], size: [columns, heightPx] });
    passes.push({ code: composeCode(architecture, place), buffers: [residual, wide, this.shown], size: [columns, rows] });
    this.passes = await Promise.all(passes.map((pass) => this.#pass(pass)));
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
    const size = this.shown.size;
    const copy = this.device.createBuffer({ size, usage: COPY_DST | MAP_READ });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.shown, 0, copy, 0, size);
    this.device.queue.submit([encoder.finish()]);
    await copy.mapAsync(GPUMapMode.READ);
    const words = new Uint32Array(copy.getMappedRange());
    const taken = { lifted: Uint8Array.from(words, (word) => word & 255), plain: Uint8Array.from(words, (word) => word >> 8) };
    copy.destroy();
    return taken;
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
    const module = device.createShaderModule({ code: SCREEN });
    const fragment = { module, entryPoint: "colour", targets: [{ format }] };
    this.pipeline = device.createRenderPipeline({ layout: "auto", vertex: { module, entryPoint: "corner" }, fragment });
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
    pass.setPipeline(this.pipeline);
    pass.setBindGroup(0, this.#bindings(network));
    pass.draw(3);
    pass.end();
    this.device.queue.submit([encoder.finish()]);
  }

  #bindings(network) {
    if (!this.#bound.has(network)) {
      const resources = [{ buffer: this.settings }, { buffer: network.shown }, ...network.chroma.map((t) => t.createView()), this.sampler];
      const entries = resources.map((resource, binding) => ({ binding, resource }));
      this.#bound.set(network, this.device.createBindGroup({ layout: this.pipeline.getBindGroupLayout(0), entries }));
    }
    return this.#bound.get(network);
  }
}

const SCREEN = `
@group(0) @binding(0) var<uniform> settings: vec4f;
@group(0) @binding(1) var<storage, read> shown: array<u32>;
@group(0) @binding(2) var blue: texture_2d<f32>;
@group(0) @binding(3) var red: texture_2d<f32>;
@group(0) @binding(4) var linear: sampler;
@vertex fn corner(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
  return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}
@fragment fn colour(@builtin(position) at: vec4f) -> @location(0) vec4f {
  let word = shown[u32(at.y) * u32(settings.x) + u32(at.x)];
  let luma = (f32(select(word & 255u, word >> 8u, at.x < settings.z)) - 16.0) / 219.0;
  let place = at.xy / settings.xy;
  let b = (textureSampleLevel(blue, linear, place, 0.0).r * 255.0 - 128.0) / 224.0;
  let r = (textureSampleLevel(red, linear, place, 0.0).r * 255.0 - 128.0) / 224.0;
  return vec4f(luma + 1.5748 * r, luma - 0.1873 * b - 0.4681 * r, luma + 1.8556 * b, 1.0);
}`;

function layerCode(layer, tensors, first, count, { columns, rows, area, pitch }) {
  const scalar = layer.inputs === 1;
  const tail = layer.name.startsWith("tail");
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
@compute @workgroup_size(${TILE}) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= ${columns}u || id.y >= ${rows}u) { return; }
  let at = id.y * ${pitch}u + id.x;
  var v: vec4f;
${biases(layer, bias, first, count, "vec4f", "var")}
${convolution(layer, kernel, first, count, { matrix: "mat4x4f", load })}
${stores.join("\n")}
}`;
}

/** One invocation makes the outputs of one position in one row of samples. */
function widenCode(architecture, { widthPx, heightPx, columns, pitch, outWidthPx }) {
  const { squeeze, shuffle } = architecture;
  const group = `source[(y / ${squeeze}u + 1u) * ${pitch}u + x / ${squeeze}u + 1u]`;
  const near = range(-REACH, squeeze - 1 + REACH).map((d) => `  let n${d + REACH} = luma(u32(clamp(first + ${d}, 0, ${widthPx - 1})), id.y);`);
  const stores = lanczos(architecture).map(
    (bell, output) => `  if (x + ${output}u < ${outWidthPx}u) { wide[id.y * ${outWidthPx}u + x + ${output}u] = ${weighted(bell, 255, (d) => `n${d + REACH}`)}; }`,
  );
  return `
@group(0) @binding(0) var<storage, read> source: array<${squeeze === 1 ? "f32" : "vec4f"}>;
@group(0) @binding(1) var<storage, read_write> wide: array<f32>;
fn luma(x: u32, y: u32) -> f32 { return ${squeeze === 1 ? group : `${group}[(y % 2u) * 2u + x % 2u]`}; }
@compute @workgroup_size(${TILE}) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= ${columns}u || id.y >= ${heightPx}u) { return; }
  let first = i32(id.x * ${squeeze}u);
  let x = id.x * ${shuffle}u;
${near.join("\n")}
${stores.join("\n")}
}`;
}

/** One invocation scales the widened rows around one position to its outputs, and adds the residuals. */
function composeCode(architecture, { heightPx, columns, rows, pitch, area, outWidthPx, outHeightPx }) {
  const { squeeze, shuffle } = architecture;
  const lines = range(0, Math.ceil(shuffle ** 2 / 4) - 1).map((group) => `  let r${group} = residual[at + ${group * area}u];`);
  for (const column of range(0, shuffle - 1)) {
    const sample = (d) => `n${column}_${d + REACH}`;
    for (const d of range(-REACH, squeeze - 1 + REACH)) lines.push(`  let ${sample(d)} = widened(first + ${d}, x + ${column}u);`);
    for (const [row, bell] of lanczos(architecture).entries()) {
      const channel = row * shuffle + column;
      lines.push(`  store(x + ${column}u, y + ${row}u, ${weighted(bell, 1, sample)}, r${channel >> 2}.${"xyzw"[channel & 3]});`);
    }
  }
  return `
@group(0) @binding(0) var<storage, read> residual: array<vec4f>;
@group(0) @binding(1) var<storage, read> wide: array<f32>;
@group(0) @binding(2) var<storage, read_write> shown: array<u32>;
fn widened(y: i32, x: u32) -> f32 { return wide[u32(clamp(y, 0, ${heightPx - 1})) * ${outWidthPx}u + x]; }
fn store(x: u32, y: u32, sum: f32, more: f32) {
  if (x >= ${outWidthPx}u || y >= ${outHeightPx}u) { return; }
  let plain = clamp(round(sum), 0.0, 255.0);
  shown[y * ${outWidthPx}u + x] = u32(clamp(plain + clamp(round(more), ${RESIDUAL}), 0.0, 255.0)) | (u32(plain) << 8u);
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
