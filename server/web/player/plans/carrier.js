// What a frame plan does with the device: what a network gave one frame is carried to those that follow, while it computes
// anew beside them. A frame that takes a network longer than a frame lasts is worth its time to all that come after it.

import { MotionTracker } from "../../network/motion.js";
import { CARRY, NOTHING } from "./plan_file.js";

const PIECE_MS = 8; // of computing beside the film: who shows a frame waits no longer for the device
const NEW_MAX = 0.5; // share of blocks that are new, above which nothing is carried (enhancers/runtime/motion_reuse.py)
const CARRIED_SHARE = 0.99; // what each further frame is given: a gain is moved once only, from its own frame
const AGE_MAX = 48; // frames: an anchor that came late may be carried as long as any (enhancers/planning/solver.py)

export class Carrier {
  #held = null; // {network, number, tracker}: what is carried, and of which frame it is
  #coming = null; // the same, of what is being computed
  #failure = null;
  #room = Promise.resolve(); // settled while no frame is being made
  #end = () => {};

  /** A frame is being made from now on: nothing is computed beside it until `rest`. */
  work() {
    this.#room = new Promise((end) => (this.#end = end));
  }

  /** See `work`. */
  rest() {
    this.#end();
  }

  /** Whether a network is computing beside the film. */
  get busy() {
    return this.#coming !== null;
  }

  /** Whether a network must not be closed. */
  uses(network) {
    return [this.#held, this.#coming].some((each) => each?.network === network);
  }

  /**
   * Make frame `number` of the film as a plan says, `action`, or by less: {network, done, begun}. begin: the network to
   * compute with from this frame on, or undefined; it is begun unless another is computing. inTime(network): whether it
   * can be waited for. plain: any network, to scale frames that stay plain; undefined where the video itself is seen.
   * network: the one that has the picture, if one has. done: the action that it was made by. Throws what broke meanwhile.
   */
  async make({ picture, number, action, begin, inTime, plain }) {
    this.#check();
    const begun = Boolean(begin) && !this.busy;
    if (begun && inTime(begin)) {
      await this.#lift(begin, picture, number);
      return { network: begin, done: action, begun };
    }
    if (begun) this.#begin(begin, picture, number);
    const network = action === NOTHING ? null : await this.#carry(picture, number);
    if (network) return { network, done: CARRY, begun };
    await plain?.carry(picture, null, 0);
    return { network: plain, done: NOTHING, begun };
  }

  /** Lift a frame at once, and carry what it is given from then on. */
  async #lift(network, picture, number) {
    await network.run(picture);
    this.#held = { network, number, tracker: new MotionTracker(picture) };
  }

  /** Begin to compute what a frame is given: it is carried once it is there. */
  #begin(network, picture, number) {
    const coming = { network, number, tracker: new MotionTracker(picture) };
    this.#coming = coming;
    network
      .runBeside(picture, PIECE_MS, () => this.#room)
      .then(() => (this.#held = coming))
      .catch((problem) => (this.#failure = problem))
      .finally(() => (this.#coming = null));
  }

  /** Make a frame from what an earlier one was given: the network that has it, or null where there is nothing to carry. */
  async #carry(picture, number) {
    if (this.#coming?.number < number) this.#coming.tracker.follow(picture); // motion is followed step by step
    const { network, number: from, tracker } = this.#held ?? {};
    const age = number - from;
    if (!(age > 0 && age <= AGE_MAX) || !fits(network, picture)) return null;
    const motion = tracker.follow(picture);
    if (tracker.unknown > NEW_MAX) return null;
    await network.carry(picture, motion, CARRIED_SHARE ** (age - 1));
    return network;
  }

  #check() {
    const problem = this.#failure;
    this.#failure = null;
    if (problem) throw problem;
  }
}

const fits = (network, { widthPx, heightPx }) => network.widthPx === widthPx && network.heightPx === heightPx;
