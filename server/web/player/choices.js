// What may lift a segment here: the title's offers, what they cost on this device, and whose weights are held.

const mean = (values) => values.reduce((a, b) => a + b, 0) / (values.length || 1);

export class Choices {
  #able = new Map();

  /** measured: what `measure` found. weights: a Weights. decisionOf(segment): {rendition, enhancer}, or undefined. */
  constructor({ title, table, measured, weights, decisionOf }) {
    Object.assign(this, { title, table, measured, weights, decisionOf });
  }

  /** The offer of an enhancer for a rendition, or null. */
  offer(enhancer, rendition) {
    const entry = this.table?.enhancers.find(({ name }) => name === enhancer);
    return entry?.offers.find((each) => each.rendition === rendition) ?? null;
  }

  /** The decided enhancer of a segment, then ever cheaper ones; only those whose weights are here. */
  of(segment) {
    const decision = this.decisionOf(segment);
    const decided = decision && this.offer(decision.enhancer, decision.rendition);
    if (!decided) return [];
    const limitMs = this.#costMs(decided);
    return this.#ables(decision.rendition).filter(({ costMs, offer }) => costMs <= limitMs && this.weights.owns(offer));
  }

  /** The best for a frame that may take its time, whatever was decided, with its weights; undefined when there is none. */
  async best(segment, fits) {
    const rendition = this.decisionOf(segment)?.rendition;
    const choice = rendition && this.#ables(rendition).find(fits);
    if (choice) await this.weights.acquire(choice.offer);
    return choice;
  }

  /** All that this device was measured with, the best first. */
  #ables(rendition) {
    if (!this.#able.has(rendition)) {
      const offers = (this.table?.enhancers ?? []).map(({ name }) => [name, this.offer(name, rendition)]);
      const able = offers.filter(([, offer]) => offer && this.#costMs(offer) < Infinity).map((each) => this.#candidate(...each));
      this.#able.set(rendition, able.sort((a, b) => mean(b.offer.quality.vmaf) - mean(a.offer.quality.vmaf)));
    }
    return this.#able.get(rendition);
  }

  #candidate(name, offer) {
    const { width_px: widthPx, height_px: heightPx } = this.#rung(offer);
    const { architecture, rendition } = offer;
    const chunks = () => this.weights.joined(offer);
    return { name, offer, architecture, widthPx, heightPx, key: `${name}@${rendition}`, costMs: this.#costMs(offer), chunks };
  }

  #costMs(offer) {
    const { width_px: widthPx, height_px: heightPx } = this.#rung(offer);
    const found = this.measured.measurements.find(
      (each) => each.architecture === offer.architecture && each.width_px === widthPx && each.height_px === heightPx,
    );
    return this.measured.kind && found ? found.p95_ms : Infinity;
  }

  #rung(offer) {
    return this.title.renditions.find(({ id }) => id === offer.rendition);
  }
}
