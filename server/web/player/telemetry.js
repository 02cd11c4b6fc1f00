// The player's side of the session log: posted to the server in batches, at the very end with a beacon.

const EVERY_MS = 2000;
const BATCH_MAX = 200;

export class Telemetry {
  #unsent = [];
  #timer = 0;
  #over = false;

  constructor(sessionUrl) {
    this.url = `${sessionUrl}/events`;
    this.startedMs = performance.now();
    this.#timer = setInterval(() => this.#post(), EVERY_MS);
    this.leave = () => this.end("stopped", this.playedS?.() ?? 0);
    addEventListener("pagehide", this.leave);
  }

  /** Session time in seconds, of now or of a moment of performance.now(). */
  timeS(atMs = performance.now()) {
    return Math.max(0, (atMs - this.startedMs) / 1000);
  }

  tell(event, values) {
    if (!this.#over) this.#unsent.push({ event, t_s: this.timeS(), ...values });
  }

  /** The last word of this session. */
  end(reason, playedS) {
    if (this.#over) return;
    this.ending?.();
    this.tell("ended", { reason, played_s: playedS });
    this.#over = true;
    clearInterval(this.#timer);
    removeEventListener("pagehide", this.leave);
    while (this.#unsent.length) navigator.sendBeacon(this.url, this.#batch());
  }

  async #post() {
    if (!this.#unsent.length) return;
    const events = this.#unsent.slice(0, BATCH_MAX);
    try {
      const answer = await fetch(this.url, { method: "POST", body: this.#batch() });
      if (!answer.ok && answer.status < 500) return; // the server will never take them
    } catch {
      this.#unsent = [...events, ...this.#unsent].slice(0, 4096);
    }
  }

  #batch() {
    const events = this.#unsent.splice(0, BATCH_MAX);
    return new Blob([JSON.stringify({ events })], { type: "application/json" });
  }
}
