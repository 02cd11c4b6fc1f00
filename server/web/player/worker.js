// The enhancing side of the player, away from the page's own thread: trials, networks, one frame at a time.

import { architecture, untrained } from "../network/plain.js";
import { MotionTracker } from "../network/motion.js";
import { frameOf, pattern, planes } from "../network/picture.js";
import { openProcessor } from "../network/processor.js";
import { readChunks } from "../network/weights.js";
import { openWebGl2 } from "../network/webgl2.js";
import { openWebGpu } from "../network/webgpu.js";
import { Carrier } from "./plans/carrier.js";
import { NOTHING } from "./plans/plan_file.js";

const GPUS = { WebGPU: openWebGpu, WebGL2: openWebGl2 };
const OPENERS = { ...GPUS, Processor: openProcessor };
const NETWORKS_MAX = 6;
const ROOM = 0.8; // of a frame's time that a network may take to be run before its frame is shown
const nowMs = () => performance.timeOrigin + performance.now();

let backend = null; // draws on the page's canvas once `start` has been told
let scratch = null; // what trials run on
let last = null; // the network whose picture is on the canvas
let carrier = new Carrier(); // what frame plans go by
const networks = new Map();

const does = {
  /** The kinds of devices there are, the preferred one first: [{kind, adapter}]. */
  async kinds() {
    const found = [];
    for (const [kind, open] of Object.entries(GPUS)) {
      const opened = await open().catch(() => null);
      if (opened) found.push({ kind, adapter: opened.adapter });
      opened?.close();
    }
    return found;
  },

  /**
   * Time a network of this architecture whose weights mean nothing: {openMs, timesMs}. Where the device can carry, also
   * {carryMs, plainMs}: of frames that are given what the network gave another, and of plain ones, read back and drawn.
   */
  async trial({ kind, name, widthPx, heightPx, budgetMs }) {
    if (scratch?.kind !== kind) {
      scratch?.close();
      scratch = await OPENERS[kind](new OffscreenCanvas(1, 1));
    }
    const began = nowMs();
    const network = await scratch.open(untrained(name), widthPx, heightPx);
    const picture = pattern(widthPx, heightPx);
    await network.run(picture);
    const openMs = nowMs() - began;
    const found = { openMs, timesMs: await timesOf(() => network.run(picture), budgetMs) };
    if (network.carry) {
      const tracker = new MotionTracker(picture);
      const show = async (motion) => {
        const frame = frameOf(picture);
        await network.carry(await planes(frame), motion(), 1);
        scratch.present(network, 0); // the next one waits for it
        frame.close();
      };
      await show(() => tracker.follow(picture)); // compiles
      found.carryMs = await timesOf(() => show(() => tracker.follow(picture)), budgetMs);
      found.plainMs = await timesOf(() => show(() => null), budgetMs);
    }
    network.close();
    return found;
  },

  async start({ kind, canvas }) {
    scratch?.close();
    scratch = null;
    networks.clear(); // of another session, on a device that goes now
    carrier = new Carrier();
    last = null;
    const before = backend;
    backend = null;
    before?.close();
    backend = await OPENERS[kind](canvas);
    if (!backend) throw new Error(`${kind} is not to be had any more`);
    const mine = backend;
    backend.lost.then(() => mine === backend && self.postMessage({ lost: kind }));
  },

  /** Make a network ready under `key`, to be carried too if it `carries`: {tookMs} of a frame once it is warm. */
  async load({ key, name, chunks, strength, widthPx, heightPx, carries = false }) {
    if (networks.has(key)) return { tookMs: networks.get(key).tookMs };
    const made = readChunks(chunks, strength);
    if (made.architecture.name !== architecture(name).name)
      throw new Error(`the weights offered as ${name} are others`);
    const network = await backend.open(made, widthPx, heightPx);
    const compiles = backend.compiles ?? true;
    const tookMs = compiles ? await warm(network, pattern(widthPx, heightPx)) : 0;
    if (carries) await network.carry(pattern(widthPx, heightPx), null, 0);
    network.tookMs = tookMs;
    networks.set(key, network);
    if (!last && compiles) backend.present(network, 0); // on a canvas that nobody sees yet: the first drawing takes longest
    for (const [old, other] of networks) {
      if (networks.size <= NETWORKS_MAX) break;
      if (other === last || other === network || carrier.uses(other)) continue;
      networks.delete(old);
      other.close();
    }
    return { tookMs };
  },

  /** Lift a frame and show it, unless it is done after `dueMs` (epoch): {shown, tookMs}. */
  async frame({ frame, key, dueMs, split }) {
    const began = nowMs();
    try {
      const network = networks.get(key);
      if (!network) return { gone: true };
      const picture = await planes(frame);
      if (picture.widthPx !== network.widthPx || picture.heightPx !== network.heightPx)
        return { shown: false, tookMs: 0 };
      await network.run(picture);
      const doneMs = nowMs();
      if (doneMs > dueMs) return { shown: false, tookMs: doneMs - began };
      backend.present(network, split);
      last = network;
      return { shown: true, tookMs: doneMs - began };
    } finally {
      frame.close();
    }
  },

  /**
   * Make a frame as `Carrier` does and show it, unless that is done after `dueMs`: {shown, inTime, tookMs, done, begun,
   * idle}. begin, plain: keys of networks, or "". shown: on the canvas; a frame that stays plain may be seen as the video.
   * done: the action that the frame was shown by; -1 for none. idle: nothing is being computed.
   */
  async follow({ frame, number, action, begin, plain, dueMs, frameMs, split }) {
    const beganMs = nowMs();
    carrier.work();
    try {
      const isSeen = action === NOTHING && !begin && !plain; // as the video itself
      const picture = isSeen ? null : await planes(frame);
      if (![begin, plain].every((key) => !key || networks.has(key))) return { gone: true };
      const { network, done, begun } = await carrier.make({
        picture,
        number,
        action,
        begin: networks.get(begin),
        inTime: ({ tookMs }) => tookMs < ROOM * frameMs && nowMs() + tookMs < dueMs,
        plain: networks.get(plain),
      });
      const doneMs = nowMs();
      const inTime = doneMs <= dueMs;
      const shown = inTime && Boolean(network);
      if (shown) backend.present((last = network), split);
      return { shown, inTime, tookMs: doneMs - beganMs, begun, done: inTime ? done : -1, idle: !carrier.busy };
    } finally {
      carrier.rest();
      frame.close();
    }
  },

  async split({ split }) {
    if (last) backend.present(last, split);
  },
};

/** Milliseconds of each of some runs: two at least, and no more than fit. */
async function timesOf(run, budgetMs) {
  const began = nowMs();
  const timesMs = [];
  while (timesMs.length < 2 || (timesMs.length < 12 && nowMs() - began < budgetMs)) {
    const from = nowMs();
    await run();
    timesMs.push(nowMs() - from);
  }
  return timesMs;
}

/** Milliseconds of a frame after the first. */
async function warm(network, picture) {
  await network.run(picture, true);
  const began = nowMs();
  await network.run(picture, true);
  return nowMs() - began;
}

self.onmessage = async ({ data: { id, task, ...rest } }) => {
  try {
    self.postMessage({ id, result: await does[task](rest) });
  } catch (error) {
    self.postMessage({ id, error: String(error.message ?? error) });
  }
};
