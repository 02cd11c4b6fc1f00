// Work that is done beside a film: cut into pieces, so that who shows a frame never waits long for the device.

const PIECE_MACS = 40e6; // of a layer, that are computed without a pause
const MACS_PER_MS = 1e6; // of any device, before it has been seen at work
const LEARNT = 0.3; // how much of what was seen last is believed

/**
 * A pass over `rows` rows cut into pieces of whole tiles: [{row, rows, macs}], none of more than PIECE_MACS where a tile is
 * no more.
 */
export function pieces(rows, rowMacs, tileRows) {
  const most = tileRows * Math.max(1, Math.floor(PIECE_MACS / (rowMacs * tileRows)));
  const count = Math.ceil(rows / most);
  return Array.from({ length: count }, (_, index) => {
    const row = index * most;
    const left = Math.min(most, rows - row);
    return { row, rows: left, macs: rowMacs * left };
  });
}

/** How much a device does in a time, as far as was seen. */
export class Pace {
  #macsPerMs = MACS_PER_MS;

  /** Pieces, {macs}, by as many as should be done in `pieceMs`. */
  *portions(all, pieceMs) {
    let some = [];
    let macs = 0;
    for (const piece of all) {
      if (some.length && macs + piece.macs > pieceMs * this.#macsPerMs) {
        yield some;
        some = [];
        macs = 0;
      }
      some.push(piece);
      macs += piece.macs;
    }
    yield some;
  }

  /** Do some pieces, and see how long that takes. */
  async watch(some, work) {
    const began = performance.now();
    await work();
    const macs = some.reduce((sum, piece) => sum + piece.macs, 0);
    this.#macsPerMs += LEARNT * (macs / Math.max(0.1, performance.now() - began) - this.#macsPerMs);
  }
}
