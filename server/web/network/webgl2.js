// A network on WebGL2, for devices without WebGPU: fragment shaders over textures of four channels a layer.
//
// The layout is that of webgpu.js: a border of zeros around the activations stands for the padding of convolutions.

import { BLOCK_PX } from "./motion.js";
import { chromaGrid, grid, packed, packedPlanes } from "./picture.js";
import { Pace, pieces } from "./pieces.js";
import { range } from "./shader.js";
import { carryCode } from "./webgl2_carry.js";
import { chromaCode, layerCode, lumaCode, screenCode } from "./webgl2_shaders.js";

const GROUPS = 4; // output groups a pass draws: as many targets as every device has
const TILE_ROWS = 8; // of a layer that is computed in pieces
const CORNER =
  "#version 300 es\nvoid main() { gl_Position = vec4(float(gl_VertexID & 1) * 4.0 - 1.0, float(gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }";
const nextTask = () => new Promise((resolve) => setTimeout(resolve, 0));

/** WebGL2 on `canvas` (any OffscreenCanvas or canvas); null where it cannot draw into textures of floats. */
export async function openWebGl2(canvas = new OffscreenCanvas(1, 1)) {
  const gl = canvas.getContext("webgl2", {
    alpha: false,
    antialias: false,
    depth: false,
    powerPreference: "high-performance",
  });
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
  constructor(gl, { architecture, chroma = null, tensors }, widthPx, heightPx) {
    const { squeeze, shuffle } = architecture;
    const place = grid(architecture, widthPx, heightPx);
    const { outWidthPx, outHeightPx } = place;
    Object.assign(this, { gl, architecture, widthPx, heightPx, outWidthPx, outHeightPx, place });
    this.packing = new Float32Array(place.area * squeeze ** 2);
    this.made = { textures: [], targets: [], programs: [] };
    this.input = this.#texture(squeeze === 1 ? gl.R32F : gl.RGBA32F, [place.pitch, place.rows + 2]);
    this.chroma = [0, 1].map(() => this.#texture(gl.R8, [(widthPx + 1) >> 1, (heightPx + 1) >> 1], 0, gl.LINEAR));

    this.side = 0; // which of each pair of residuals was computed last
    this.pace = new Pace();
    const { passes, residuals } = this.#layers(architecture, tensors, this.input, place);
    const code = lumaCode(architecture, { widthPx, heightPx });
    const wide = this.#texture(gl.RGBA32F, [place.columns, heightPx]);
    const [lifted, plain] = ["lifted", "plain"].map((name) => {
      const target = this.#texture(gl.RGBA8, [place.columns, place.rows], shuffle);
      return composing(code[name], wide, residuals, target);
    });
    Object.assign(this, { lifted: lifted.target, plain: plain.target });
    const luma = { passes, widen: widening(code.widen, this.input, wide), compose: lifted };
    luma.carry = { part: architecture, place: { ...place, widthPx, heightPx }, middle: 0, channel0: 0 };
    this.parts = [luma, ...(chroma ? this.#buildChroma(chroma, tensors) : [])];
    const layers = this.parts.flatMap(({ passes = [] }) => passes);
    this.heads = this.#compiled(layers.filter(({ isHead }) => isHead));
    this.body = this.#compiled(layers.filter(({ isHead }) => !isHead));
    this.scale = this.#compiled([...this.parts.map(({ widen }) => widen), plain]);
    this.compose = this.#compiled(this.parts.map(({ compose }) => compose));
    for (const { program } of [...this.heads, ...this.body, ...this.scale, ...this.compose]) checkProgram(gl, program);
  }

  #compiled(passes) {
    return passes.map((pass) => ({ ...pass, program: this.#program(pass.code), frames: this.#frames(pass) }));
  }

  /** The passes of all layers of a network, from the texture `input` to one of two `residuals` (as webgpu.js has it). */
  #layers({ layers, width }, tensors, input, place) {
    const { gl } = this;
    const padded = [place.pitch, place.rows + 2];
    const features = [0, 1].map(() => this.#texture(gl.RGBA32F, padded, Math.ceil(width / 4)));
    const residuals = [0, 1].map(() => this.#texture(gl.RGBA32F, padded, Math.ceil(layers.at(-1).outputs / 4)));
    const port = [1, 1, place.columns, place.rows];
    const passes = [];
    layers.forEach((layer, index) => {
      const source = index === 0 ? input : features[(index + 1) % 2];
      const target = index === layers.length - 1 ? residuals : features[index % 2];
      const all = Math.ceil(layer.outputs / 4);
      for (let first = 0; first < all; first += GROUPS) {
        const count = Math.min(GROUPS, all - first);
        const code = layerCode(layer, tensors, first, count);
        const rowMacs = place.columns * 9 * layer.inputs * 4 * count;
        passes.push({ code, inputs: [source], target, first, count, port, isHead: index === 0, rowMacs });
      }
    });
    return { passes, residuals };
  }

  /** Parts for u and v, whose passes end in textures laid out as `lifted`. */
  #buildChroma(chroma, tensors) {
    const { gl } = this;
    const place = chromaGrid(chroma, this.widthPx, this.heightPx);
    const quads = Math.ceil(chroma.layers[0].inputs / 4);
    const input = this.#texture(gl.RGBA32F, [place.pitch, place.rows + 2], quads);
    const at = (position, channel) => ((channel >> 2) * place.area + position) * 4 + (channel & 3);
    this.colour = { part: chroma, place, input, at, packing: new Float32Array(4 * quads * place.area) };
    const { passes, residuals } = this.#layers(chroma, tensors, input, place);
    const parts = [0, 1].map((plane) => {
      const code = chromaCode(chroma, place, plane);
      const wide = this.#texture(gl.RGBA32F, [place.columns, place.planeHeight]);
      const target = this.#texture(gl.RGBA8, [place.columns, place.rows], chroma.shuffle);
      return {
        widen: widening(code.widen, input, wide),
        compose: composing(code.lifted, wide, residuals, target),
        carry: {
          part: chroma,
          place: { ...place, widthPx: this.widthPx },
          middle: 128,
          channel0: plane * chroma.shuffle ** 2,
        },
      };
    });
    this.colour.lifted = parts.map(({ compose }) => compose.target);
    parts[0].passes = passes;
    return parts;
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

  /** What a pass draws into, on either side. */
  #frames({ target, first, count }) {
    if (Array.isArray(target)) return target.map((each) => this.#frame(each, first, count));
    const frame = this.#frame(target, first, count);
    return [frame, frame];
  }

  #frame(target, first, count) {
    const { gl } = this;
    const frame = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    const points = range(0, count - 1).map((index) => gl.COLOR_ATTACHMENT0 + index);
    points.forEach((point, index) => {
      if (target.layers) gl.framebufferTextureLayer(gl.FRAMEBUFFER, point, target.texture, 0, first + index);
      else gl.framebufferTexture2D(gl.FRAMEBUFFER, point, gl.TEXTURE_2D, target.texture, 0);
    });
    gl.drawBuffers(points);
    if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE)
      throw new Error("this device cannot draw into such textures");
    this.made.targets.push(frame);
    return frame;
  }

  #program(code) {
    const program = link(this.gl, code);
    this.made.programs.push(program);
    return program;
  }

  /** Hands a picture over, for the passes that are drawn next. */
  #take(picture) {
    const { gl } = this;
    packed(this.architecture, picture, this.packing);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    upload(gl, this.input, this.architecture.squeeze === 1 ? gl.RED : gl.RGBA, gl.FLOAT, this.packing);
    if (this.colour) {
      const { part, packing, input, at } = this.colour;
      upload(gl, input, gl.RGBA, gl.FLOAT, packedPlanes(part, picture, packing, at));
    }
    [picture.u, picture.v].forEach((plane, index) => upload(gl, this.chroma[index], gl.RED, gl.UNSIGNED_BYTE, plane));
  }

  /** Lifts a picture; resolves when the device is done with it. `gently` leaves room for others between passes. */
  async run(picture, gently = false) {
    this.#take(picture);
    const side = 1 - this.side;
    const passes = [...this.heads, ...this.body, ...this.scale, ...this.compose];
    for (const some of gently ? passes.map((pass) => [pass]) : [passes]) await this.#drawn(some, side);
    this.side = side;
  }

  /** As WebGPU's. */
  async runBeside(picture, pieceMs, room = async () => {}) {
    this.#take(picture);
    const side = 1 - this.side;
    await this.#drawn(this.heads, side);
    const all = this.body.flatMap((pass) =>
      pieces(pass.port[3], pass.rowMacs, TILE_ROWS).map((piece) => ({ ...pass, ...piece })),
    );
    for (const some of this.pace.portions(all, pieceMs)) {
      await room();
      await this.pace.watch(some, () => this.#drawn(some, side));
    }
    this.side = side;
  }

  /** As WebGPU's. */
  async carry(picture, motion, share) {
    this.carrying ??= this.#buildCarrying();
    const { gl } = this;
    const { passes, vectors } = this.carrying;
    this.#take(picture);
    if (motion) upload(gl, vectors, gl.RG_INTEGER, gl.INT, motion);
    for (const { program } of passes) {
      gl.useProgram(program);
      gl.uniform1f(gl.getUniformLocation(program, "share"), motion ? share : 0);
    }
    await this.#drawn([...this.scale, ...passes], this.side);
  }

  #buildCarrying() {
    const { gl, widthPx, heightPx } = this;
    const vectors = this.#texture(gl.RG32I, [Math.ceil(widthPx / BLOCK_PX), Math.ceil(heightPx / BLOCK_PX)]);
    const passes = this.parts.map(({ carry: { part, place, middle, channel0 }, compose }) => ({
      ...compose,
      code: carryCode(part, place, middle, channel0),
      inputs: [...compose.inputs, vectors],
    }));
    const compiled = this.#compiled(passes);
    compiled.forEach(({ program }) => checkProgram(gl, program));
    return { passes: compiled, vectors };
  }

  /** Draws passes, of each the rows from `row` on where it is a piece; resolves when the device is done with them. */
  async #drawn(passes, side) {
    const { gl } = this;
    for (const { program, frames, inputs, port, row = 0, rows = port[3] } of passes) {
      gl.useProgram(program);
      gl.bindFramebuffer(gl.FRAMEBUFFER, frames[side]);
      gl.viewport(...port);
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(port[0], port[1] + row, port[2], rows);
      bind(
        gl,
        program,
        inputs.map((input) => (Array.isArray(input) ? input[side] : input)),
      );
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    }
    gl.disable(gl.SCISSOR_TEST);
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
    const { place, outWidthPx, outHeightPx } = this;
    const [lifted, plain] = [this.lifted, this.plain].map((it) => this.#read(it, place, outWidthPx, outHeightPx));
    return { lifted, plain };
  }

  /** The chroma of the picture lifted last: [u, v] of half its size, rounded up; null without a part for it. */
  async chromaPlanes() {
    if (!this.colour) return null;
    const { lifted, place } = this.colour;
    return lifted.map((target) => this.#read(target, place, place.outPlaneWidth, place.outPlaneHeight));
  }

  #read(target, { columns, rows }, width, height) {
    const { gl } = this;
    const { shuffle } = this.architecture;
    const { frames } = [...this.scale, ...this.compose].find((pass) => pass.target === target);
    const out = new Uint8Array(width * height);
    const texels = new Uint8Array(4 * columns * rows);
    gl.bindFramebuffer(gl.READ_FRAMEBUFFER, frames[0]);
    for (let layer = 0; layer < shuffle; layer++) {
      gl.readBuffer(gl.COLOR_ATTACHMENT0 + layer);
      gl.readPixels(0, 0, columns, rows, gl.RGBA, gl.UNSIGNED_BYTE, texels);
      for (let y = layer; y < height; y += shuffle) {
        for (let x = 0; x < width; x++) {
          out[y * width + x] =
            texels[4 * (Math.floor(y / shuffle) * columns + Math.floor(x / shuffle)) + (x % shuffle)];
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
    network.screen ??= link(gl, screenCode(network, Boolean(network.colour)));
    if (canvas.width !== outWidthPx || canvas.height !== outHeightPx) {
      Object.assign(canvas, { width: outWidthPx, height: outHeightPx });
    }
    gl.useProgram(network.screen);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, outWidthPx, outHeightPx);
    bind(gl, network.screen, [network.lifted, network.plain, ...network.chroma, ...(network.colour?.lifted ?? [])]);
    gl.uniform1f(gl.getUniformLocation(network.screen, "split"), split * outWidthPx);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

/** The pass that scales a plane's rows: a texel for each position and row. */
function widening(code, input, target) {
  return { code, inputs: [input], target, first: 0, count: 1, port: [0, 0, target.width, target.height] };
}

/** The pass that scales the columns and adds the residuals of a side. */
function composing(code, wide, residuals, target) {
  const port = [0, 0, target.width, target.height];
  return { code, inputs: [wide, residuals], target, first: 0, count: target.layers, port };
}

function upload(gl, { texture, kind, layers, width, height }, format, type, data) {
  gl.bindTexture(kind, texture);
  if (layers) gl.texSubImage3D(kind, 0, 0, 0, 0, width, height, layers, format, type, data);
  else gl.texSubImage2D(kind, 0, 0, 0, width, height, format, type, data);
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
  for (const [kind, text] of [
    [gl.VERTEX_SHADER, CORNER],
    [gl.FRAGMENT_SHADER, code],
  ]) {
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
