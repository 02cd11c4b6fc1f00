// Which enhancer keeps its deadlines. Pure: time comes in. A candidate is {name, costMs}; lists begin with the best.

const WINDOW_MS = 900;
const MISSES_MIN = 4; // fewer is a slip
const MISSED_SHARE = 0.25;
const HOPELESS_FRAMES = 6;
const BARRED_MS = 15_000;
const ROOM = 0.8; // of a frame's time that an enhancer may take

export class Keeper {
  #barred = new Map();
  #seen = [];
  #current = null;

  constructor(frameMs) {
    this.frameMs = frameMs;
  }

  /** The best candidate that is not barred, or null for plain video. */
  pick(candidates, nowMs) {
    const choice = candidates.find(({ name }) => !(this.#barred.get(name)?.untilMs > nowMs)) ?? null;
    if (choice?.name !== this.#current?.name) this.#seen = [];
    this.#current = choice;
    return choice;
  }

  /** A frame of the current candidate was shown in time, or was not. Returns why to step down, or null. */
  saw({ inTime, tookMs = 0 }, nowMs) {
    this.#seen = [...this.#seen.filter(({ atMs }) => nowMs - atMs < WINDOW_MS), { atMs: nowMs, inTime, tookMs }];
    const missed = this.#seen.filter((frame) => !frame.inTime).length;
    const slowest = Math.max(...this.#seen.map((frame) => frame.tookMs));
    if (!inTime && slowest > HOPELESS_FRAMES * this.frameMs) {
      return `a frame took ${Math.round(slowest)} ms where there are ${Math.round(this.frameMs)} ms`;
    }
    if (missed < MISSES_MIN || missed <= MISSED_SHARE * this.#seen.length) return null;
    return `${missed} of the last ${this.#seen.length} frames were not done in time`;
  }

  /** A network was made ready and took so long for a frame. Returns why it is not even begun with, or null. */
  warmed({ name }, tookMs, nowMs) {
    if (tookMs <= HOPELESS_FRAMES * this.frameMs) return null;
    this.#bar(name, nowMs);
    return `it takes ${Math.round(tookMs)} ms for a frame where there are ${Math.round(this.frameMs)} ms`;
  }

  #bar(name, nowMs) {
    const times = (this.#barred.get(name)?.times ?? 0) + 1;
    this.#barred.set(name, { times, untilMs: nowMs + BARRED_MS * 2 ** (times - 1) });
  }

  /** Leave the current candidate out for a while, twice as long each time, and all that would be too slow as well. */
  bar(candidates, nowMs) {
    const { name, costMs } = this.#current;
    const took = this.#seen
      .map((frame) => frame.tookMs)
      .filter(Boolean)
      .sort((a, b) => a - b);
    const slower = took.length ? Math.max(1, took[took.length >> 1] / costMs) : 1;
    for (const each of candidates) {
      if (each.name !== name && each.costMs * slower <= ROOM * this.frameMs) continue;
      this.#bar(each.name, nowMs);
    }
    this.#seen = [];
  }
}
