// Where the blocks of a picture were in an earlier one, found by matching: a browser does not tell pages the codec's own
// motion, and pictures of low rungs are small.
//
// Vectors of the picture before are where a search begins (de Haan's recursive search, IEEE TCSVT 1993), so that a block
// is followed over any distance, a step with each picture.

export const BLOCK_PX = 8; // side of a block, as in enhancers/runtime/motion.py
export const UNKNOWN = 1 << 20; // in place of a vector, where the earlier picture does not show what is in the block
const QUARTERS = 4; // of a pixel, in which vectors are told
const STEPS_PX = [4, 2, 1];
const TRIES = 4; // at each step
const AROUND = [
  [1, 0],
  [-1, 0],
  [0, 1],
  [0, -1],
];
const WORTH = 1; // mean squared difference by which another vector must be better than the one expected
const NEW = 150; // mean squared difference above which a block is something new

export class MotionTracker {
  /** reference: the earlier picture, {widthPx, heightPx, y}. Its luma is kept. */
  constructor({ widthPx, heightPx, y }) {
    Object.assign(this, { widthPx, heightPx, reference: y.slice() });
    this.columns = Math.ceil(widthPx / BLOCK_PX);
    this.rows = Math.ceil(heightPx / BLOCK_PX);
    this.vectors = new Int32Array(2 * this.columns * this.rows); // right, down: where a block came from
    this.unknown = 0; // share of blocks that were not found
    this.whole = new Int32Array(this.vectors.length); // the same in whole pixels, of unknown blocks too
  }

  /** The vectors of a picture, in quarter pixels: Int32Array of (right, down) block by block, the same at each call. */
  follow({ y }) {
    let unknown = 0;
    for (let row = 0, at = 0; row < this.rows; row++) {
      for (let column = 0; column < this.columns; column++, at += 2) unknown += this.#match(y, row, column, at);
    }
    this.unknown = unknown / (this.columns * this.rows);
    return this.vectors;
  }

  /** Finds one block; whether it is unknown. */
  #match(y, row, column, at) {
    const { whole, vectors, columns, rows } = this;
    const block = this.#block(y, row, column);
    const pixels = block.width * block.height;
    let best = { right: whole[at], down: whole[at + 1] };
    best.cost = this.#cost(block, best.right, best.down, Infinity);
    const expected = [-2, -2 * columns, 2 - 2 * columns, 2, 2 * columns].map((beside) => at + beside);
    for (const index of expected) {
      if (index < 0 || index >= 2 * columns * rows) continue;
      best = this.#better(block, best, whole[index], whole[index + 1], WORTH * pixels);
    }
    best = this.#better(block, best, 0, 0, WORTH * pixels);
    for (const step of STEPS_PX) best = this.#search(block, best, step);
    whole[at] = best.right;
    whole[at + 1] = best.down;
    const found = best.cost <= NEW * pixels;
    vectors[at] = found ? this.#quarters(block, best, 1, 0) : UNKNOWN;
    vectors[at + 1] = found ? this.#quarters(block, best, 0, 1) : UNKNOWN;
    return found ? 0 : 1;
  }

  #block(y, row, column) {
    const [left, top] = [column * BLOCK_PX, row * BLOCK_PX];
    const [width, height] = [Math.min(BLOCK_PX, this.widthPx - left), Math.min(BLOCK_PX, this.heightPx - top)];
    return { y, left, top, width, height };
  }

  #search(block, begin, step) {
    let best = begin;
    for (let tried = 0; tried < TRIES; tried++) {
      const { right, down } = best;
      for (const [x, y] of AROUND) best = this.#better(block, best, right + step * x, down + step * y, 0);
      if (best.right === right && best.down === down) break;
    }
    return best;
  }

  #better(block, best, right, down, worth) {
    if (right === best.right && down === best.down) return best;
    const cost = this.#cost(block, right, down, best.cost - worth);
    return cost < best.cost - worth ? { right, down, cost } : best;
  }

  /** Squared differences to the earlier picture at a distance, counted up to `limit`; Infinity beyond its edges. */
  #cost({ y, left, top, width, height }, right, down, limit) {
    const { widthPx, heightPx, reference } = this;
    const inside =
      left + right >= 0 && left + right + width <= widthPx && top + down >= 0 && top + down + height <= heightPx;
    if (!inside) return Infinity;
    let sum = 0;
    for (let line = 0; line < height && sum < limit; line++) {
      let here = (top + line) * widthPx + left;
      let there = here + down * widthPx + right;
      for (const end = here + width; here < end; here++, there++) {
        const away = y[here] - reference[there];
        sum += away * away;
      }
    }
    return sum;
  }

  /**
   * One component of a vector in quarter pixels: the least of the parabola through the costs beside it. What is left of
   * the difference where costs are least says how far that can be away.
   */
  #quarters(block, { right, down, cost }, x, y) {
    const before = this.#cost(block, right - x, down - y, Infinity);
    const after = this.#cost(block, right + x, down + y, Infinity);
    const bend = before + after - 2 * cost;
    const least = bend > 0 && bend < Infinity ? (before - after) / (2 * bend) : 0;
    const left = Math.sqrt(cost / Math.max(1, Math.min(before, after)));
    const most = left / (1 + left);
    return QUARTERS * (x ? right : down) + Math.round(QUARTERS * Math.max(-most, Math.min(most, least)));
  }
}
