// The network that the viewer chose to watch over: as it is, or one so slow that enhancement has something to do. What
// comes early is held back, so that the server hears of the slow network as it would of a real one.

const STEP_S = 5;

/** kbps: what the link carries, a step of five seconds each, over and over. */
export const NETWORKS = {
  "": { label: "as it is", kbps: [], latencyMs: 0 },
  "3g": { label: "3G, 0.3 to 1.3 Mbit/s", kbps: [600, 900, 1300, 800, 450, 300, 700, 1100], latencyMs: 80 },
  "1m": { label: "1 Mbit/s", kbps: [1000], latencyMs: 40 },
  "500k": { label: "0.5 Mbit/s", kbps: [500], latencyMs: 40 },
};

export class Link {
  #freeMs = 0; // when all that came before has come

  constructor(name, startedMs = performance.now()) {
    Object.assign(this, NETWORKS[name], { startedMs });
  }

  /** When (performance.now()) a download asked for at `askedMs` has come over this link, after those before it. */
  arrivesMs(sizeBytes, askedMs) {
    if (!this.kbps.length) return askedMs;
    let atMs = Math.max(askedMs + this.latencyMs, this.#freeMs);
    let bits = 8 * sizeBytes;
    for (;;) {
      const step = Math.floor((atMs - this.startedMs) / (1000 * STEP_S));
      const kbps = this.kbps[Math.max(0, step) % this.kbps.length];
      const endMs = this.startedMs + (Math.max(0, step) + 1) * 1000 * STEP_S;
      if (bits <= kbps * (endMs - atMs)) return (this.#freeMs = atMs + bits / kbps);
      bits -= kbps * (endMs - atMs);
      atMs = endMs;
    }
  }

  /** Resolves when the download has come. */
  carry(sizeBytes, askedMs) {
    const waitMs = this.arrivesMs(sizeBytes, askedMs) - performance.now();
    return waitMs > 0 ? new Promise((resolve) => setTimeout(resolve, waitMs)) : Promise.resolve();
  }
}
