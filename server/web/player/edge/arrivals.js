// How fast a segment came that was made while it came: the waits between its chunks are the encoder's, not the network's.

const AT_ONCE_MS = 1; // what a chunk counts for that came in one piece: less cannot be told

export class Arrivals {
  sizeBytes = 0;
  #chunks = 0;
  #timed = { bytes: 0, ms: 0 };
  #burst = null; // pieces of a chunk so far: {beganMs, endedMs, bytes}

  /** latencyMs: from the request to the answer, without what the server waited for. */
  constructor(latencyMs) {
    this.latencyMs = latencyMs;
  }

  /** A piece came at one moment, and over the network that the viewer chose at a later one. */
  piece(bytes, cameMs, carriedMs = cameMs) {
    this.sizeBytes += bytes;
    this.#burst ??= { beganMs: cameMs, endedMs: cameMs, bytes: 0 };
    if (carriedMs > this.#burst.beganMs) this.#burst.bytes += bytes; // of the first one, only its end is known
    this.#burst.endedMs = carriedMs;
  }

  /** All that there is has come: what follows is still to be made. */
  caughtUp() {
    const { beganMs, endedMs, bytes } = this.#burst ?? { beganMs: 0, endedMs: 0, bytes: 0 };
    this.#timed.bytes += bytes;
    this.#timed.ms += endedMs - beganMs;
    this.#chunks++;
    this.#burst = null;
  }

  /** What the whole of it would have taken, had it been there from the beginning. */
  get durationMs() {
    const { bytes, ms } = this.#timed;
    const cameMs = bytes ? (this.sizeBytes * ms) / bytes : 0;
    return this.latencyMs + Math.max(cameMs, AT_ONCE_MS * this.#chunks);
  }
}

/** Milliseconds that the server held an answer until there was something to send, by its Server-Timing header. */
export function heldMs(serverTiming) {
  return Number(/(?:^|,)\s*wait\s*;\s*dur=([0-9.]+)/.exec(serverTiming ?? "")?.[1] ?? 0);
}
