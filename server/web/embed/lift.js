// Lifts the frames of any <video> on any page, whoever plays it: dash.js, Shaka, hls.js, or the browser alone.
//
//   import { lift } from "./toprung/embed/lift.js";
//   const lifted = lift(document.querySelector("video"));
//
// A canvas lies over the video. It shows lifted frames that are done in time; else the video itself is seen. The networks
// are the generic ones, chosen by how much larger than its pixels the video is shown. `toprung embed` writes this module
// with all that it needs.

import { fits } from "../player/choices.js";
import { Enhancer } from "../player/enhancer.js";
import { jobFor, measure } from "../player/profile.js";
import { Thread } from "../player/thread.js";
import { Cover } from "./cover.js";
import { FrameClock } from "./frame_clock.js";
import { networksFor, scaleFor } from "./generic.js";

const STILL_MS = 3000; // what a frame that stands still may take
const NOBODY = { tell() {} };
const UNREADABLE = "the page may not read this video: it comes from another origin";
const PROTECTED = "the page cannot read this video: it is protected, and the browser keeps its frames to itself";

/**
 * Begin to lift. strength: how much of what a network adds is shown, above 0 to 1. split: the share of the width that is
 * left as it is, 0 to 1, to compare. changed(state): hears {name, tookMs, reason}; name is "none" for the plain video.
 */
export function lift(video, { strength = 0.75, split = 0, changed = () => {} } = {}) {
  return new Lift(video, { strength, split, changed });
}

class Lift {
  state = { name: "none", tookMs: 0, reason: "" };
  #over = false;
  #split;
  #on = true;
  #plan = 0; // counts what is being got ready: only the newest counts
  #scale = 0;
  #candidates = [];
  #thread = null;
  #enhancer = null;
  #beginning = null; // the promise of an enhancer: videos tell of their size several times at once
  #listening = new AbortController();

  constructor(video, { strength, split, changed }) {
    if (!(strength > 0 && strength <= 1)) throw new RangeError(`strength is ${strength}; expected above 0, at most 1`);
    Object.assign(this, { video, strength, changed });
    this.#split = split;
    this.cover = new Cover(video, () => this.#fit());
    this.clock = new FrameClock(video, (frameMs) => this.#enhancer?.setPace(frameMs));
    const { signal } = this.#listening;
    for (const event of ["loadeddata", "resize"]) video.addEventListener(event, () => this.#fit(), { signal });
    this.#fit();
  }

  /** Whether frames are lifted; may be set. */
  get on() {
    return this.#on;
  }

  set on(on) {
    this.#on = on;
    this.#enhancer?.setOn(on);
  }

  /** The share of the width that is left as it is; may be set. */
  get split() {
    return this.#split;
  }

  set split(split) {
    this.#split = split;
    this.#enhancer?.setSplit(split);
  }

  /** Leave the page as it was. */
  stop() {
    this.#over = true;
    this.#listening.abort();
    this.clock.stop();
    this.#enhancer?.stop();
    this.#thread?.worker.terminate();
    this.cover.remove();
  }

  /** Choose networks for the size that frames have now, and the size that they are shown at. */
  async #fit() {
    const { video } = this;
    if (this.#over || !video.videoHeight || video.readyState < 2) return;
    const scale = scaleFor(video, this.cover.heightPx);
    const same = this.#candidates.length && fits(this.#candidates[0], video);
    if (scale === this.#scale && (same || !scale)) return;
    this.#scale = scale;
    this.#candidates = [];
    const plan = ++this.#plan;
    try {
      const found = scale ? await this.#prepare(scale) : [];
      if (plan === this.#plan && !this.#over) this.#candidates = found;
    } catch (problem) {
      if (plan === this.#plan) this.#show({ name: "none", tookMs: 0, reason: problem.message });
      return;
    }
    if (!scale) this.#show({ name: "none", tookMs: 0, reason: "the video is not shown larger than it is" });
    if (video.paused) this.#enhancer?.still();
  }

  /** Measured networks, the best first. */
  async #prepare(scale) {
    if (this.video.mediaKeys) throw new Error(PROTECTED);
    if (!readable(this.video)) throw new Error(UNREADABLE);
    this.#thread ??= new Thread((what) => this.#lost(what));
    const { videoWidth: widthPx, videoHeight: heightPx } = this.video;
    const wanted = networksFor(scale).map((network) => ({
      ...network,
      ...jobFor(network.architecture, widthPx, heightPx),
    }));
    const measured = await measure(this.#thread, [...wanted].reverse(), this.clock.frameMs, () => {});
    if (!measured.kind) throw new Error("this browser has neither WebGPU nor WebGL2 with float textures");
    await (this.#beginning ??= this.#begin(measured.kind));
    return Promise.all(wanted.map((job) => this.#candidate(job, measured)));
  }

  async #begin(kind) {
    const { canvas, offscreen } = this.cover.draw();
    await this.#thread.ask("start", { kind, canvas: offscreen }, [offscreen]);
    if (this.#over) return;
    this.#enhancer = new Enhancer({
      video: this.video,
      canvas,
      thread: this.#thread,
      frameMs: this.clock.frameMs,
      on: this.#on,
      split: this.#split,
      candidatesAt: () => this.#offered(),
      telemetry: NOBODY,
      bufferS: () => 0,
      behind: () => ({}),
      changed: (state) => this.#show(state),
    });
  }

  async #candidate({ name, tier, widthPx, heightPx, fetchChunks }, { measurements }) {
    const same = (each) => each.architecture === name && each.width_px === widthPx && each.height_px === heightPx;
    const bodies = await fetchChunks();
    return {
      name: tier,
      architecture: name,
      strength: this.strength,
      widthPx,
      heightPx,
      key: `${name}@${widthPx}x${heightPx}`,
      costMs: measurements.find(same)?.p95_ms ?? Infinity,
      chunks: () => bodies,
    };
  }

  #offered() {
    const here = this.#candidates.filter((candidate) => fits(candidate, this.video));
    const best = here.find(({ costMs }) => costMs <= STILL_MS) ?? here.at(-1);
    const candidates = here.filter(({ costMs }) => costMs <= this.clock.frameMs);
    return { segment: this.#plan, rendition: "", decided: "", candidates, best: async () => best };
  }

  /** The device went away, such as a driver that was reset: the video is seen, until its size changes the next time. */
  #lost(what) {
    this.#enhancer?.stop();
    this.#thread?.worker.terminate();
    this.#enhancer = this.#beginning = this.#thread = null;
    this.#scale = 0;
    this.#candidates = [];
    this.#show({ name: "none", tookMs: 0, reason: `${what} was lost` });
  }

  #show(state) {
    this.state = state;
    this.changed(state);
  }
}

/** Whether scripts may see the video's pixels. */
function readable(video) {
  try {
    new VideoFrame(video).close();
    return true;
  } catch (problem) {
    return problem.name !== "SecurityError";
  }
}
