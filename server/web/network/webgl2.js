// A network on WebGL2, for devices without WebGPU: fragment shaders over textures of four channels a layer.
//
// The layout is that of webgpu.js: a border of zeros around the activations stands for the padding of convolutions.

import { grid, packed } from "./picture.js";
import { REACH, RESIDUAL, biases, convolution, lanczos, range, weighted } from "./shader.js";

const GROUPS = 4;  // output groups a pass draws: as many targets as every device has
const HEAD = "#version 300 es\nprecision highp float; precision highp int; precision highp sampler2D; precision highp sampler2DArray;\n";
const CORNER = "#version 300 es\nvoid main() { gl_Position = vec4(float(gl_VertexID & 1) * 4.0 - 1.0, float(gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }";
const nextTask = () => new Promise((resolve) => setTimeout(resolve, 0));

/** WebGL2 on `canvas` (any OffscreenCanvas or canvas); null where it cannot draw into textures of floats. */
export async function openWebGl2(canvas = new OffscreenCanvas(1, 1)) {
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, powerPreference: "high-performance" });
  if (!gl?.getExtension("EXT_color_buffer_float")) return null;
  const told = gl.getExtension("WEBGL_debug_renderer_info");
  const screen = new Screen(gl, canvas);
  return {
    kind: "WebGL2",
    adapter: told ? gl.getParameter(told.UNMASKED_RENDERER_WEBGL) : "",
    lost: new Promise((resolve) => canvas.addEventListener("webglcontextlost", resolve)),
    open: async (network, widthPx, heightPx) => new WebGl2Network(gl, network, widthPx, heightPx),
    present: (opened, split) => screen.present(opened, split),
    close: () => gl.getExtension("WEBGL_lose_context")?.loseContext(),
  };
}

class WebGl2Network {
  constructor(gl, { architecture, tensors }, widthPx, heightPx) {
    const { layers, squeeze, shuffle } = architecture;
    const place = grid(architecture, widthPx, heightPx);
    const { outWidthPx, outHeightPx } = place;
    Object.assign(this, { gl, architecture, widthPx, heightPx, outWidthPx, outHeightPx, place });
    this.packing = new Float32Array(place.area * squeeze ** 2);
    this.made = { textures: [], targets: [], programs: [] };
    const groups = Math.ceil(architecture.width / 4);
    const padded = [place.pitch, place.rows + 2];
    this.input = this.#texture(squeeze === 1 ? gl.R32F : gl.RGBA32F, padded);
    const features = [0, 1].map(() => this.#texture(gl.RGBA32F, padded, groups));
    const residual = this.#texture(gl.RGBA32F, padded, Math.ceil(shuffle ** 2 / 4));
    const wide = this.#texture(gl.RGBA32F, [place.columns, heightPx]);
    this.lifted = this.#texture(gl.RGBA8, [place.columns, place.rows], shuffle);
    this.plain = this.#texture(gl.RGBA8, [place.columns, place.rows], shuffle);
    this.chroma = [0, 1].map(() => this.#texture(gl.R8, [(widthPx + 1) >> 1, (heightPx + 1) >> 1], 0, gl.LINEAR));

    const inner = [1, 1, place.columns, place.rows];
    const whole = [0, 0, place.columns, place.rows];
    const passes = [];
    layers.forEach((layer, index) => {
      const source = index === 0 ? this.input : features[(index + 1) % 2];
      const target = index === layers.length - 1 ? residual : features[index % 2];
      const all = Math.ceil(layer.outputs / 4);
      for (let first = 0; first < all; first += GROUPS) {
        const count = Math.min(GROUPS, all - first);
        passes.push({ code: layerCode(layer, tensors, first, count), inputs: [source], target, first, count, port: inner });
      }
    });
    const tall = [0, 0, place.columns, heightPx];
    passes.push({ code: widenCode(architecture, widthPx), inputs: [this.input], target: wide, first: 0, count: 1, port: tall });
    for (const target of [this.lifted, this.plain]) {
      const code = composeCode(architecture, heightPx, target === this.lifted);
      passes.push({ code, inputs: [wide, residual], target, first: 0, count: shuffle, port: whole });
    }
    this.passes = passes.map((pass) => ({ ...pass, program: this.#program(pass.code), frame: this.#frame(pass) }));
    this.passes.forEach(({ program }) => checkProgram(gl, program));
  }

  /** A texture, of several layers when `layers` is above zero. */
  #texture(format, [width, height], layers = 0, filter = this.gl.NEAREST) {
    const { gl } = this;
    const kind = layers ? gl.TEXTURE_2D_ARRAY : gl.TEXTURE_2D;
    const texture = gl.createTexture();
    gl.bindTexture(kind, texture);
    if (layers) gl.texStorage3D(kind, 1, format, width, height, layers);
    else gl.texStorage2D(kind, 1, format, width, height);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(kind, name, filter);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(kind, name, gl.CLAMP_TO_EDGE);
    this.made.textures.push(texture);
    return { texture, kind, layers, width, height };
  }

  #frame({ target, first, count }) {
    const { gl } = this;
    const frame = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    const points = range(0, count - 1).map((index) => gl.COLOR_ATTACHMENT0 + index);
    points.forEach((point, index) => {
      if (target.layers) gl.framebufferTextureLayer(gl.FRAMEBUFFER, point, target.texture, 0, first + index);
      else gl.framebufferTexture2D(gl.FRAMEBUFFER, point, gl.TEXTURE_2D, target.texture, 0);
    });
    gl.drawBuffers(points);
    if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) throw new Error("this device cannot draw into such textures");
    this.made.targets.push(frame);
    return frame;
  }

  #program(code) {
    const program = link(this.gl, code);
    this.made.programs.push(program);
    return program;
  }

  /** Lifts a picture; resolves when the device is done with it. `gently` leaves room for others between passes. */
  async run(picture, gently = false) {
    const { gl } = this;
    packed(this.architecture, picture, this.packing);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    upload(gl, this.input, this.architecture.squeeze === 1 ? gl.RED : gl.RGBA, gl.FLOAT, this.packing);
    [picture.u, picture.v].forEach((plane, index) => upload(gl, this.chroma[index], gl.RED, gl.UNSIGNED_BYTE, plane));
    for (const { program, frame, inputs, port } of this.passes) {
      gl.useProgram(program);
      gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
      gl.viewport(...port);
      bind(gl, program, inputs);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      if (gently) await this.#done();
    }
    await this.#done();
  }

  async #done() {
    const { gl } = this;
    const done = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    while (gl.clientWaitSync(done, 0, 0) === gl.TIMEOUT_EXPIRED) await nextTask();
    gl.deleteSync(done);
  }

  /** The luma of the picture lifted last: {lifted, plain}, Uint8Arrays of outWidthPx × outHeightPx. */
  async luma() {
    return { lifted: this.#read(this.passes.at(-2)), plain: this.#read(this.passes.at(-1)) };
  }

  #read({ frame }) {
    const { gl, outWidthPx, outHeightPx } = this;
    const { columns, rows } = this.place;
    const { shuffle } = this.architecture;
    const out = new Uint8Array(outWidthPx * outHeightPx);
    const texels = new Uint8Array(4 * columns * rows);
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, frame);
    for (let layer = 0; layer < shuffle; layer++) {
      gl.readBuffer(gl.COLOR_ATTACHMENT0 + layer);
      gl.readPixels(0, 0, columns, rows, gl.RGBA, gl.UNSIGNED_BYTE, texels);
      for (let y = layer; y < outHeightPx; y += shuffle) {
        for (let x = 0; x < outWidthPx; x++) {
          out[y * outWidthPx + x] = texels[4 * (Math.floor(y / shuffle) * columns + Math.floor(x / shuffle)) + (x % shuffle)];
        }
      }
    }
    return out;
  }

  close() {
    this.made.textures.forEach((texture) => this.gl.deleteTexture(texture));
    this.made.targets.forEach((frame) => this.gl.deleteFramebuffer(frame));
    this.made.programs.forEach((program) => this.gl.deleteProgram(program));
  }
}

/** Draws lifted pictures: their luma with the chroma between its samples, left of the split as played plainly. */
class Screen {
  constructor(gl, canvas) {
    Object.assign(this, { gl, canvas });
  }

  present(network, split) {
    const { gl, canvas } = this;
    const { outWidthPx, outHeightPx } = network;
    network.screen ??= link(gl, screenCode(network));
    if (canvas.width !== outWidthPx || canvas.height !== outHeightPx) {
      Object.assign(canvas, { width: outWidthPx, height: outHeightPx });
    }
    gl.useProgram(network.screen);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, outWidthPx, outHeightPx);
    bind(gl, network.screen, [network.lifted, network.plain, ...network.chroma]);
    gl.uniform1f(gl.getUniformLocation(network.screen, "split"), split * outWidthPx);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

function upload(gl, { texture, width, height }, format, type, data) {
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, format, type, data);
}

function bind(gl, program, inputs) {
  inputs.forEach(({ kind, texture }, unit) => {
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(kind, texture);
    gl.uniform1i(gl.getUniformLocation(program, `input${unit}`), unit);
  });
  gl.activeTexture(gl.TEXTURE0);
}

/** Compiles and links without waiting for it, so that a driver may do several at once. */
function link(gl, code) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, CORNER], [gl.FRAGMENT_SHADER, code]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  return program;
}

function checkProgram(gl, program) {
  if (gl.getProgramParameter(program, gl.LINK_STATUS)) return;
  const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
  throw new Error(`WebGL2 refuses a shader: ${[gl.getProgramInfoLog(program), ...logs].join(" ").slice(0, 400)}`);
}

function layerCode(layer, tensors, first, count) {
  const scalar = layer.inputs === 1;
  const tail = layer.name.startsWith("tail");
  const load = (group, dx, dy) => {
    const place = `at + ivec2(${dx}, ${dy})`;
    return scalar ? `vec4(texelFetch(input0, ${place}, 0).r, 0.0, 0.0, 0.0)` : fetch(layer, place, group);
  };
  const kernel = tensors.get(`${layer.name}.weight`);
  const bias = tensors.get(`${layer.name}.bias`);
  const outs = range(0, count - 1).map((index) => `layout(location = ${index}) out vec4 o${index};`);
  const stores = range(0, count - 1).map((index) => `  o${index} = ${tail ? `a${index} * 255.0` : `max(a${index}, 0.0)`};`);
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

/** A texel for each position of the grid and row of samples: the outputs that it has there. */
function widenCode(architecture, widthPx) {
  const { squeeze } = architecture;
  const group = `texelFetch(input0, ivec2(x, y) / ${squeeze} + 1, 0)`;
  const near = range(-REACH, squeeze - 1 + REACH).map((d) => `  float n${d + REACH} = luma(clamp(at.x * ${squeeze} + ${d}, 0, ${widthPx - 1}), at.y);`);
  const outputs = lanczos(architecture).map((bell) => weighted(bell, 255, (d) => `n${d + REACH}`));
  return `${HEAD}uniform sampler2D input0;
layout(location = 0) out vec4 wide;
float luma(int x, int y) { return ${squeeze === 1 ? `${group}.r` : `${group}[(y % 2) * 2 + x % 2]`}; }
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
${near.join("\n")}
  wide = vec4(${four(outputs)});
}`;
}

/** Layer r holds, for each position of the grid, row r of its outputs. */
function composeCode(architecture, heightPx, withResidual) {
  const { shuffle, squeeze } = architecture;
  const residuals = range(0, Math.ceil(shuffle ** 2 / 4) - 1).map(
    (group) => `  vec4 r${group} = texelFetch(input1, ivec3(at + 1, ${group}), 0);`,
  );
  const near = range(-REACH, squeeze - 1 + REACH).map(
    (d) => `  vec4 n${d + REACH} = texelFetch(input0, ivec2(at.x, clamp(at.y * ${squeeze} + ${d}, 0, ${heightPx - 1})), 0);`,
  );
  const rows = lanczos(architecture).map((bell, row) => {
    const channels = range(row * shuffle, (row + 1) * shuffle - 1).map((channel) => `r${channel >> 2}.${"xyzw"[channel & 3]}`);
    const plain = `clamp(roundEven(${weighted(bell, 1, (d) => `n${d + REACH}`)}), 0.0, 255.0)`;
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

const four = (expressions) => [...expressions, "0.0", "0.0", "0.0"].slice(0, 4).join(", ");

function screenCode({ architecture: { shuffle }, outWidthPx, outHeightPx }) {
  return `${HEAD}uniform sampler2DArray input0;
uniform sampler2DArray input1;
uniform sampler2D input2;
uniform sampler2D input3;
uniform float split;
layout(location = 0) out vec4 colour;
void main() {
  vec2 at = vec2(gl_FragCoord.x, ${outHeightPx}.0 - gl_FragCoord.y);
  ivec2 pixel = ivec2(at);
  ivec3 texel = ivec3(pixel / ${shuffle}, pixel.y % ${shuffle});
  float code = at.x < split ? texelFetch(input1, texel, 0)[pixel.x % ${shuffle}] : texelFetch(input0, texel, 0)[pixel.x % ${shuffle}];
  vec2 place = at / vec2(${outWidthPx}, ${outHeightPx});
  float luma = (code * 255.0 - 16.0) / 219.0;
  float b = (texture(input2, place).r * 255.0 - 128.0) / 224.0;
  float r = (texture(input3, place).r * 255.0 - 128.0) / 224.0;
  colour = vec4(luma + 1.5748 * r, luma - 0.1873 * b - 0.4681 * r, luma + 1.8556 * b, 1.0);
}`;
}
