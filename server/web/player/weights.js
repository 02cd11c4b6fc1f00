// The weights of one title's enhancers: downloaded when a decision needs them, checked, kept for the session. A title
// brings chunks of its own; those of the generic networks come with the pages.

import { architecture } from "../network/plain.js";
import { at } from "../parts/root.js";

export class Weights {
  #chunks = new Map(); // sha256 → body
  #shipped = new Map(); // file name → body
  #generic = new Map(); // digest of all its weights → bodies, in order

  /** `tell` hears of each download: {name, sizeBytes, startedMs, durationMs}. `link`: the network it comes over. */
  constructor(titleUrl, link, tell) {
    Object.assign(this, { titleUrl, link, tell });
  }

  /** sha256 of each of the title's chunks held. */
  get owned() {
    return [...this.#chunks.keys()];
  }

  /** Whether all of an offer is here; of a frame plan its file too. */
  owns(offer) {
    const weights = isGeneric(offer)
      ? this.#generic.has(offer.weights_sha256)
      : offer.chunks.every(({ sha256 }) => this.#chunks.has(sha256));
    return weights && (!offer.file || this.#chunks.has(offer.file.sha256));
  }

  /** The body of a file of the title that was acquired. */
  file({ sha256 }) {
    return this.#chunks.get(sha256);
  }

  /** The bodies of an offer's chunks, in order. */
  joined(offer) {
    return isGeneric(offer)
      ? this.#generic.get(offer.weights_sha256)
      : offer.chunks.map(({ sha256 }) => this.#chunks.get(sha256));
  }

  /** Download what is missing: how many bytes. Throws when weights do not come, or are others than the table names. */
  async acquire(offer) {
    if (this.owns(offer)) return 0;
    const bytes = isGeneric(offer) ? await this.#acquireGeneric(offer) : await this.#acquireChunks(offer.chunks);
    return bytes + (offer.file ? await this.#acquireChunks([offer.file, ...offer.lighter]) : 0);
  }

  async #acquireChunks(chunks) {
    let bytes = 0;
    for (const { file, size_bytes: sizeBytes, sha256 } of chunks) {
      if (this.#chunks.has(sha256)) continue;
      const body = await this.#fetch(file, this.titleUrl);
      const known = globalThis.crypto?.subtle ? await digest([body]) : sha256; // only secure contexts can tell
      if (body.byteLength !== sizeBytes || known !== sha256) throw new Error(`${file} is not what the table names`);
      this.#chunks.set(sha256, body);
      bytes += sizeBytes;
    }
    return bytes;
  }

  /** One exit after the other, until they amount to the weights that the table was measured with. */
  async #acquireGeneric({ architecture: name, weights_sha256: wanted }) {
    if (this.#generic.has(wanted)) return 0;
    if (!globalThis.crypto?.subtle) throw new Error("generic weights cannot be checked on a page without https");
    const bodies = [];
    let bytes = 0;
    do {
      const file = `generic-x${architecture(name).scale}-${bodies.length + 1}.safetensors`;
      if (!this.#shipped.has(file)) {
        this.#shipped.set(file, await this.#fetch(file, new URL(at("web/generic/"))));
        bytes += this.#shipped.get(file).byteLength;
      }
      bodies.push(this.#shipped.get(file));
    } while ((await digest(bodies)) !== wanted);
    this.#generic.set(wanted, bodies);
    return bytes;
  }

  async #fetch(file, base) {
    const startedMs = performance.now();
    const answer = await fetch(new URL(file, base), { signal: AbortSignal.timeout(20_000) });
    if (!answer.ok) throw new Error(`the server answers ${answer.status} for ${file}`);
    const body = await answer.arrayBuffer();
    await this.link.carry(body.byteLength, startedMs);
    this.tell({ name: file, sizeBytes: body.byteLength, startedMs, durationMs: performance.now() - startedMs });
    return body;
  }
}

const isGeneric = ({ chunks }) => !chunks.length;

async function digest(bodies) {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(bodies).arrayBuffer()));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
