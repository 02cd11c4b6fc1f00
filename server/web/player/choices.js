// What may lift a segment here: the title's offers, what they cost on this device, and whose weights are held.

import { architecture as parsed, macs } from "../network/plain.js";
import { PlanWay, planMs, planNames, planNetworks, planOffer } from "./plans/plans.js";

const PROCESSOR_MACS_PER_MS = 1e6; // measured on one core
const PATIENCE_MS = 3000; // for a frame that stands still
const mean = (values) => values.reduce((a, b) => a + b, 0) / (values.length || 1);

/** Trusted quality of each segment, VMAF where a title tells nothing of a panel (abr.core.options). */
export const countedQuality = ({ trusted, vmaf }) => (trusted?.length ? trusted : vmaf);

/**
 * Whether a candidate is for what the video shows. Where a rung's pixels are not quite square, as in 426 × 240, browsers
 * tell the width that it is shown at, 427.
 */
export function fits({ widthPx, heightPx }, { videoWidth, videoHeight }) {
  return heightPx === videoHeight && Math.abs(widthPx - videoWidth) <= 2;
}

export class Choices {
  #able = new Map();

  /** measured: what `measure` found. weights: a Weights. decisionOf(segment): {rendition, enhancer}, or undefined. */
  constructor({ title, table, measured, weights, decisionOf }) {
    Object.assign(this, { title, table, measured, weights, decisionOf });
  }

  /** What was measured has changed. */
  remeasured(measured) {
    this.measured = measured;
    this.#able.clear();
  }

  /** Whether the title offers anything at all. */
  get any() {
    return Boolean(this.table?.enhancers.length);
  }

  /** Whether anything is offered for a rendition. */
  offers(rendition) {
    return this.#names(rendition).some((name) => this.offer(name, rendition));
  }

  /** The offer of an enhancer or a frame plan for a rendition, or null. Of a plan it has `file` and `shares`. */
  offer(enhancer, rendition) {
    const entry = this.table?.enhancers.find(({ name }) => name === enhancer);
    return entry?.offers.find((each) => each.rendition === rendition) ?? planOffer(this.table, enhancer, rendition);
  }

  #names(rendition) {
    return [...(this.table?.enhancers ?? []).map(({ name }) => name), ...planNames(this.table, rendition)];
  }

  /** The decided enhancer of a segment, then ever cheaper ones; only those whose weights are here. */
  of(segment) {
    const decision = this.decisionOf(segment);
    const decided = decision && this.offer(decision.enhancer, decision.rendition);
    if (!decided || this.measured.kind === "Processor") return [];
    const limitMs = this.#costMs(decided);
    return this.#ables(decision.rendition).filter(({ costMs, offer }) => costMs <= limitMs && this.weights.owns(offer));
  }

  /** The best for a frame that may take its time, whatever was decided, with its weights; undefined when there is none. */
  async best(segment, fits) {
    const rendition = this.decisionOf(segment)?.rendition;
    const all = rendition ? this.#ables(rendition).filter((each) => fits(each) && !each.way) : [];
    const choice = all.find(({ costMs }) => costMs <= PATIENCE_MS) ?? all.sort((a, b) => a.costMs - b.costMs)[0];
    if (choice) await this.weights.acquire(choice.offer);
    return choice;
  }

  /** All that this device was measured with, the best first. */
  #ables(rendition) {
    if (!this.#able.has(rendition)) {
      const offers = this.#names(rendition).map((name) => [name, this.offer(name, rendition)]);
      const able = offers
        .filter(([, offer]) => offer && this.#costMs(offer) < Infinity)
        .map((each) => this.#candidate(...each));
      this.#able.set(
        rendition,
        able.sort((a, b) => mean(countedQuality(b.offer.quality)) - mean(countedQuality(a.offer.quality))),
      );
    }
    return this.#able.get(rendition);
  }

  #candidate(name, offer) {
    const { width_px: widthPx, height_px: heightPx } = this.#rung(offer);
    const { architecture, rendition, strength = 1 } = offer;
    const chunks = () => this.weights.joined(offer);
    const candidate = {
      name,
      offer,
      architecture,
      strength,
      widthPx,
      heightPx,
      key: `${name}@${rendition} ${offer.weights_sha256.slice(0, 12)}`, // a live title has newer weights now and then
      costMs: this.#costMs(offer),
      chunks,
    };
    if (!offer.file) return candidate;
    const networks = planNetworks(offer, chunks).map((network) => ({ ...network, widthPx, heightPx }));
    const msOf = (action) => measuredMs(this.measured, action, widthPx, heightPx);
    const fetched = () => this.weights.file(offer.file);
    const way = new PlanWay({ offer, networks, title: this.title, fetched, msOf });
    return { ...candidate, networks, way, key: `${candidate.key} ${offer.file.sha256.slice(0, 12)}` };
  }

  /** Milliseconds of a frame, of a frame plan in the mean; Infinity where the device was not measured with it. */
  #costMs(offer) {
    const { width_px: widthPx, height_px: heightPx } = this.#rung(offer);
    if (this.measured.kind === "Processor")
      return offer.file ? Infinity : processorMs(offer.architecture, widthPx, heightPx);
    if (!this.measured.kind) return Infinity;
    const msOf = (name) => measuredMs(this.measured, name, widthPx, heightPx);
    return offer.file ? planMs(offer, msOf) : msOf(offer.architecture);
  }

  #rung(offer) {
    return this.title.renditions.find(({ id }) => id === offer.rendition);
  }
}

/** What the device was measured with takes; Infinity for all else. */
export function measuredMs({ measurements }, name, widthPx, heightPx) {
  const same = (each) => each.architecture === name && each.width_px === widthPx && each.height_px === heightPx;
  return measurements.find(same)?.p95_ms ?? Infinity;
}

/** A network of a family that came later than this page costs Infinity. */
function processorMs(name, widthPx, heightPx) {
  try {
    return macs(parsed(name), widthPx, heightPx) / PROCESSOR_MACS_PER_MS;
  } catch {
    return Infinity;
  }
}
