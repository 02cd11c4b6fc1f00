// The frame plans that a title offers: what they need, and what they cost this device.

import { Follower } from "./follower.js";
import { FIRST_EXIT, NOTHING, readPlan } from "./plan_file.js";

const SCALING_LOAD_MAX = 0.1; // of a frame's time, for pictures that a plan leaves plain
const UNSCALED_MS = 0.01; // what they take where the video itself is seen

const ofRung = (table, rendition) => (table?.plans ?? []).filter(({ offer }) => offer.rendition === rendition);

/** The names of a title's plans for a rendition, cheapest first. */
export const planNames = (table, rendition) => ofRung(table, rendition).map(({ name }) => name);

/**
 * What is offered under a plan's name: the offer of its weights, with `file` and `shares` of the plan, and `lighter`, the
 * files of cheaper plans for the same weights, to step down to; or null.
 */
export function planOffer(table, name, rendition) {
  const plans = ofRung(table, rendition);
  const index = plans.findIndex((each) => each.name === name);
  if (index < 0) return null;
  const { offer, file, shares } = plans[index];
  const same = plans.slice(0, index).filter((each) => each.offer.weights_sha256 === offer.weights_sha256);
  return { ...offer, file, shares, lighter: same.map((each) => each.file) };
}

/** The exits that a plan takes: [{architecture, share, exit}], exits counted from 0. */
export const exitsOf = ({ shares }) =>
  shares
    .slice(FIRST_EXIT)
    .map(({ architecture, share }, exit) => ({ architecture, share, exit }))
    .filter(({ share }) => share > 0);

/** Mean milliseconds of a plan's frames; `msOf(architecture)` tells those of an action, Infinity where it is not known. */
export const planMs = ({ shares }, msOf) =>
  shares.reduce((sum, { architecture, share }) => sum + (share > 0 ? share * msOf(architecture) : 0), 0);

/**
 * Milliseconds of a frame that a plan leaves plain: it is scaled as plain pictures are measured, where that takes next to
 * nothing (`timedMs`), else the video itself is seen.
 */
export const plainMs = (timedMs, frameMs) => (timedMs <= SCALING_LOAD_MAX * frameMs ? timedMs : UNSCALED_MS);

/** The networks of a plan for the worker, of each exit that it takes: what `Enhancer` prepares. chunks: of all exits. */
export function planNetworks(offer, chunks) {
  const { rendition, weights_sha256: weights, strength = 1 } = offer;
  return exitsOf(offer).map(({ architecture, share, exit }) => ({
    key: `${architecture}@${rendition} ${weights.slice(0, 12)} to be carried`,
    architecture,
    share,
    exit,
    strength,
    carries: true,
    chunks: () => chunks().slice(0, exit + 1),
  }));
}

/** A candidate's way through a plan, once its file is here: what the worker is asked for each frame, and told of it. */
export class PlanWay {
  warm = false; // a frame was made: the first takes longest, and says nothing of the others
  #follower = null;

  /**
   * fetched(): the plan's file. networks: of `planNetworks`. title: whose frames are counted. msOf(architecture): what
   * the device was measured with.
   */
  constructor({ offer, networks, title, fetched, msOf }) {
    Object.assign(this, { offer, networks, title, fetched });
    this.plain = msOf(offer.shares[NOTHING].architecture) > UNSCALED_MS ? networks[0].key : "";
    this.frameS = title.frame_rate[1] / title.frame_rate[0];
    this.firsts = title.segment_frames.reduce((firsts, frames) => [...firsts, firsts.at(-1) + frames], [0]);
    this.starts = title.segment_duration_s.reduce((starts, span) => [...starts, starts.at(-1) + span], [0]);
  }

  /** Read the plan. Throws for one that is not what the table names. */
  async open() {
    const { weights_sha256: weights, shares } = this.offer;
    const wanted = { segmentFrames: this.title.segment_frames, weights, exits: shares.length - FIRST_EXIT };
    this.#follower ??= new Follower(await readPlan(this.fetched(), wanted));
  }

  /** The number, in the title, of the frame of a segment that is on the screen at a media time. */
  numberAt(segment, mediaS) {
    const within = Math.round((mediaS - this.starts[segment]) / this.frameS);
    return this.firsts[segment] + Math.max(0, Math.min(this.title.segment_frames[segment] - 1, within));
  }

  /** What the worker is asked to do for a frame. */
  asked(number) {
    const { action, exit } = this.#follower.asked(number);
    const begin = this.networks.find((network) => network.exit === exit)?.key ?? "";
    return { number, action, begin, plain: this.plain };
  }

  /** See Follower. */
  heard(number, answer) {
    this.warm ||= Boolean(answer.tookMs);
    return this.#follower.heard(number, answer);
  }
}
