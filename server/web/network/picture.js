// A decoded picture as three planes of bytes, just as the decoder left them: no conversion to RGB can shift the luma.

const PLANAR = ["I420", "I420A"];

/** {widthPx, heightPx, y, u, v} of a VideoFrame; `y`, `u`, `v` are Uint8Arrays without padding, BT.709 limited. */
export async function planes(frame) {
  const { width: widthPx, height: heightPx } = frame.visibleRect;
  if (frame.format === "NV12") return fromNv12(frame, widthPx, heightPx);
  if (PLANAR.includes(frame.format)) return fromI420(frame, widthPx, heightPx);
  return fromRgb(frame, widthPx, heightPx);
}

async function copied(frame, layout, bytes, options = {}) {
  const data = new Uint8Array(bytes);
  await frame.copyTo(data, { layout, ...options });
  return data;
}

async function fromI420(frame, widthPx, heightPx) {
  const [w, h] = [(widthPx + 1) >> 1, (heightPx + 1) >> 1];
  const luma = widthPx * heightPx;
  const layout = [
    { offset: 0, stride: widthPx },
    { offset: luma, stride: w },
    { offset: luma + w * h, stride: w },
  ];
  if (frame.format === "I420A") layout.push({ offset: luma + 2 * w * h, stride: widthPx });
  const data = await copied(frame, layout, 2 * luma + 2 * w * h);
  return {
    widthPx,
    heightPx,
    y: data.subarray(0, luma),
    u: data.subarray(luma, luma + w * h),
    v: data.subarray(luma + w * h, luma + 2 * w * h),
  };
}

async function fromNv12(frame, widthPx, heightPx) {
  const [w, h] = [(widthPx + 1) >> 1, (heightPx + 1) >> 1];
  const luma = widthPx * heightPx;
  const layout = [
    { offset: 0, stride: widthPx },
    { offset: luma, stride: 2 * w },
  ];
  const data = await copied(frame, layout, luma + 2 * w * h);
  const [u, v] = [new Uint8Array(w * h), new Uint8Array(w * h)];
  for (let i = 0, at = luma; i < w * h; i++) {
    u[i] = data[at++];
    v[i] = data[at++];
  }
  return { widthPx, heightPx, y: data.subarray(0, luma), u, v };
}

/** Frames that live on a GPU may not tell their planes: back from RGB by BT.709's matrix. */
async function fromRgb(frame, widthPx, heightPx) {
  const layout = [{ offset: 0, stride: 4 * widthPx }];
  const data = await copied(frame, layout, 4 * widthPx * heightPx, { format: "RGBA", colorSpace: "srgb" });
  const [w, h] = [(widthPx + 1) >> 1, (heightPx + 1) >> 1];
  const picture = {
    widthPx,
    heightPx,
    y: new Uint8Array(widthPx * heightPx),
    u: new Uint8Array(w * h),
    v: new Uint8Array(w * h),
  };
  for (let row = 0, at = 0; row < heightPx; row++) {
    for (let column = 0; column < widthPx; column++, at += 4) {
      const [r, g, b] = [data[at], data[at + 1], data[at + 2]];
      const luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
      picture.y[row * widthPx + column] = Math.round(16 + (luma * 219) / 255);
      if (row % 2 || column % 2) continue;
      const half = (row >> 1) * w + (column >> 1);
      picture.u[half] = Math.round(128 + (((b - luma) / 1.8556) * 224) / 255);
      picture.v[half] = Math.round(128 + (((r - luma) / 1.5748) * 224) / 255);
    }
  }
  return picture;
}

/** A picture of noise over a gradient: what networks are timed on. */
export function pattern(widthPx, heightPx) {
  const chroma = () => new Uint8Array(((widthPx + 1) >> 1) * ((heightPx + 1) >> 1)).fill(128);
  const y = Uint8Array.from(
    { length: widthPx * heightPx },
    (_, i) => 40 + ((i % widthPx) * 150) / widthPx + ((i * 7919) % 23),
  );
  return { widthPx, heightPx, y, u: chroma(), v: chroma() };
}

/** A picture as a VideoFrame that a decoder could have made. */
export function frameOf({ widthPx, heightPx, y, u, v }) {
  const data = new Uint8Array(y.length + u.length + v.length);
  data.set(y);
  data.set(u, y.length);
  data.set(v, y.length + u.length);
  return new VideoFrame(data, { format: "I420", codedWidth: widthPx, codedHeight: heightPx, timestamp: 0 });
}

/** How a picture lies in a network's working grid, with a border of one position around; and its size when lifted. */
export function grid({ squeeze, scale }, widthPx, heightPx) {
  const columns = Math.ceil(widthPx / squeeze),
    rows = Math.ceil(heightPx / squeeze);
  const shown = { outWidthPx: Math.floor(widthPx * scale), outHeightPx: Math.floor(heightPx * scale) };
  return { columns, rows, pitch: columns + 2, area: (columns + 2) * (rows + 2), ...shown };
}

/** The luma in units of 0 to 1, laid out by `grid`; the picture's last row and column are repeated where groups need it. */
export function packed(network, { widthPx, heightPx, y }, into) {
  const { squeeze } = network;
  const { columns, rows, pitch } = grid(network, widthPx, heightPx);
  const size = squeeze * squeeze;
  for (let row = 0; row < rows * squeeze; row++) {
    const line = Math.min(row, heightPx - 1) * widthPx;
    const base = (Math.floor(row / squeeze) + 1) * pitch + 1;
    const lane = (row % squeeze) * squeeze;
    for (let column = 0; column < columns * squeeze; column++) {
      const at = (base + Math.floor(column / squeeze)) * size + lane + (column % squeeze);
      into[at] = y[line + Math.min(column, widthPx - 1)] / 255;
    }
  }
  return into;
}

/** How a picture lies in the grid of a chroma part; `plane` is of its chroma, as decoded, and `outPlane` of that shown. */
export function chromaGrid({ fold, scale }, widthPx, heightPx) {
  const place = grid({ squeeze: fold, scale }, widthPx, heightPx);
  const half = (length) => (length + 1) >> 1;
  const plane = { planeWidth: half(widthPx), planeHeight: half(heightPx) };
  return { ...place, ...plane, outPlaneWidth: half(place.outWidthPx), outPlaneHeight: half(place.outHeightPx) };
}

/** Where the samples of a plane of chroma (0 for u, 1 for v) begin among the channels of a chroma part's input. */
export const chromaChannel = ({ fold, squeeze }, plane) => fold ** 2 + plane * squeeze ** 2;

/**
 * The three planes for a chroma part, less their middle, in units of 0 to 1: channels of y, of u, of v at each position.
 *
 * `at(position, channel)` tells where a value goes in `into`. Last rows and columns are repeated as for `packed`.
 */
export function packedPlanes(chroma, picture, into, at) {
  const { columns, rows, pitch, planeWidth, planeHeight } = chromaGrid(chroma, picture.widthPx, picture.heightPx);
  const put = (plane, width, height, side, first) => {
    for (let row = 0; row < rows * side; row++) {
      const line = Math.min(row, height - 1) * width;
      const base = (Math.floor(row / side) + 1) * pitch + 1;
      const lane = first + (row % side) * side;
      for (let column = 0; column < columns * side; column++) {
        const value = (plane[line + Math.min(column, width - 1)] - 128) / 255;
        into[at(base + Math.floor(column / side), lane + (column % side))] = value;
      }
    }
  };
  put(picture.y, picture.widthPx, picture.heightPx, chroma.fold, 0);
  [picture.u, picture.v].forEach((plane, index) =>
    put(plane, planeWidth, planeHeight, chroma.squeeze, chromaChannel(chroma, index)),
  );
  return into;
}
