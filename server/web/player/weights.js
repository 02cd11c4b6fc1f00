// Weights chunks of one title: downloaded when a decided enhancer needs them, checked, kept for the session.

export class Weights {
  #chunks = new Map();

  /** `tell` hears of each download: {name, sizeBytes, startedMs, durationMs}. */
  constructor(titleUrl, tell) {
    this.titleUrl = titleUrl;
    this.tell = tell;
  }

  /** sha256 of each chunk held. */
  get owned() {
    return [...this.#chunks.keys()];
  }

  owns(offer) {
    return offer.chunks.length > 0 && offer.chunks.every(({ sha256 }) => this.#chunks.has(sha256));
  }

  /** The bodies of an offer's chunks, in order. */
  joined(offer) {
    return offer.chunks.map(({ sha256 }) => this.#chunks.get(sha256));
  }

  /** Download what is missing. Throws when a chunk does not come, or is another than the table names. */
  async acquire(offer) {
    for (const chunk of offer.chunks) {
      if (!this.#chunks.has(chunk.sha256)) this.#chunks.set(chunk.sha256, await this.#fetch(chunk));
    }
  }

  async #fetch({ file, size_bytes: sizeBytes, sha256 }) {
    const startedMs = performance.now();
    const answer = await fetch(new URL(file, this.titleUrl), { signal: AbortSignal.timeout(20_000) });
    if (!answer.ok) throw new Error(`the server answers ${answer.status} for ${file}`);
    const body = await answer.arrayBuffer();
    const known = globalThis.crypto?.subtle ? await digest(body) : sha256;  // only secure contexts can tell
    if (body.byteLength !== sizeBytes || known !== sha256) throw new Error(`${file} is not what the table names`);
    this.tell({ name: file, sizeBytes, startedMs, durationMs: performance.now() - startedMs });
    return body;
  }
}

async function digest(body) {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
