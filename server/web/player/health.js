// Whether the server answers, and whether it still knows the session: heard from each request, and asked for when in doubt.

const ASK_EVERY_MS = 2000;
const PATIENCE_MS = 4000;

export class Health {
  #awaySinceMs = 0;
  #askedMs = -Infinity;

  /** `lost` is called when the server says that it does not know the session. */
  constructor({ lost }) {
    this.lost = lost;
  }

  /** For how long the server has not answered; 0 when it does. */
  get awayMs() {
    return this.#awaySinceMs && performance.now() - this.#awaySinceMs;
  }

  /** The status of an answer; 0 when none came. */
  heard(status) {
    if (status > 0 && status < 500) {
      this.#awaySinceMs = 0;
    } else {
      this.#awaySinceMs ||= performance.now();
    }
  }

  /** Ask the server whether it is there and knows the session, unless that was asked just now. */
  async ask(url, { now = false } = {}) {
    if (!now && performance.now() - this.#askedMs < ASK_EVERY_MS) return;
    this.#askedMs = performance.now();
    const { status } = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => ({
      status: 0,
    }));
    this.heard(status);
    if (status === 404 || status === 410) await this.lost();
  }
}
