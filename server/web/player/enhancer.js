// Takes each frame as the browser shows it, has it lifted in the worker, and shows the result if it is there in time.
//
// One frame is in flight at a time; frames that come while the worker is busy stay plain. A lifted frame is shown until
// its successor is due: when that one is not ready, the canvas goes and the video itself is seen.

import { Keeper } from "./keeper.js";

const nowMs = () => performance.timeOrigin + performance.now();

export class Enhancer {
  on = true;
  split = 0;  // share of the width that is shown as played plainly
  state = { name: "none", tookMs: 0, reason: "" };
  #busy = false;
  #ready = new Map();  // network key → true, or the promise of it
  #shown = null;  // what the frames of the segment on the screen came to
  #canvasFrame = -1;
  #frame = 0;
  #still = 0;
  #over = false;

  /** `candidatesAt(mediaS)` → {segment, rendition, decided, candidates}; `changed` hears whenever `state` does. */
  constructor({ video, canvas, thread, frameMs, candidatesAt, telemetry, bufferS, changed }) {
    Object.assign(this, { video, canvas, thread, frameMs, candidatesAt, telemetry, bufferS, changed });
    this.keeper = new Keeper(frameMs);
    this.counts = { frames: 0, enhanced: 0, late: 0 };
    const next = (now, metadata) => {
      if (this.#over) return;
      this.#onFrame(metadata);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
    video.addEventListener("seeking", () => this.#hide());
    video.addEventListener("pause", () => this.still());
  }

  /** Make a network ready beforehand. */
  prepare(candidate) {
    if (this.#ready.has(candidate.key)) return this.#ready.get(candidate.key);
    const { key, name, architecture, chunks, widthPx, heightPx } = candidate;
    const loading = this.thread.ask("load", { key, name: architecture, chunks: chunks(), widthPx, heightPx }).then(
      ({ tookMs }) => {
        this.#ready.set(key, true);
        performance.mark(`toprung: ${name} ready`);
        const reason = this.keeper.warmed(candidate, tookMs, nowMs());
        if (reason) this.#stepped(this.candidatesAt(this.video.currentTime), candidate, reason);
      },
      (error) => this.telemetry.tell("failed", { what: "enhancer", detail: `${name}: ${error.message}`.slice(0, 1000) }),
    );
    this.#ready.set(key, loading);
    return loading;
  }

  /** With the split open, a frame that stands still is lifted however long it takes. */
  async still() {
    const { video } = this;
    if (!this.on || !this.split || !video.paused || this.#busy) return;
    const mine = ++this.#still;
    const { best } = this.candidatesAt(video.currentTime);
    const candidate = await best?.();
    if (!candidate || mine !== this.#still) return;
    await this.prepare(candidate);
    if (mine === this.#still && video.paused && !this.#busy) await this.#lift(candidate, Infinity);
  }

  setSplit(split) {
    this.split = split;
    if (!this.canvas.hidden) this.thread.ask("split", { split });
    this.still();
  }

  setOn(on) {
    this.on = on;
    if (on) this.still();
    else this.#hide();
    this.#show({ name: "none", reason: on ? "" : "switched off" });
  }

  stop() {
    this.#over = true;
    this.#closeSegment();
    this.#hide();
  }

  #onFrame({ mediaTime, expectedDisplayTime }) {
    this.#still++;
    this.#frame++;
    const at = this.candidatesAt(mediaTime);
    if (this.#shown?.segment !== at.segment) this.#openSegment(at);
    this.#shown.frames++;
    this.counts.frames++;
    const candidate = this.on ? this.keeper.pick(at.candidates, nowMs()) : null;
    if (!candidate) {
      this.#hide();
      if (this.on && this.state.name !== "none") this.#show({ name: "none", reason: at.candidates.length ? this.state.reason : "" });
      return;
    }
    if (this.#ready.get(candidate.key) !== true) {
      this.prepare(candidate);
      this.#hide();
      return;
    }
    if (this.#busy) {
      if (this.#frame - this.#canvasFrame > 1) this.#hide();
      this.#judge(at, { inTime: false, tookMs: nowMs() - this.#busySinceMs });
      return;
    }
    const dueMs = performance.timeOrigin + expectedDisplayTime + this.frameMs / (this.video.playbackRate || 1);
    this.#lift(candidate, dueMs, at);
  }

  #busySinceMs = 0;

  async #lift(candidate, dueMs, at = null) {
    const { key, name } = candidate;
    const number = this.#frame, segment = this.#shown;
    let frame;
    try {
      frame = new VideoFrame(this.video);
    } catch {
      return;  // nothing on the screen yet
    }
    this.#busy = true;
    this.#busySinceMs = nowMs();
    try {
      const { shown, tookMs, gone } = await this.thread.ask("frame", { frame, key, dueMs, split: this.split }, [frame]);
      if (gone) this.#ready.delete(key);
      if (this.#over || !this.on || gone) return;
      if (shown) this.#uncover(number, name, tookMs, at, segment);
      else this.#hide();
      if (at && tookMs) this.#judge(at, { inTime: shown, tookMs });
    } catch (error) {
      this.#ready.set(key, Promise.resolve());
      this.#hide();
      this.telemetry.tell("failed", { what: "enhancer", detail: `${name} broke: ${error.message}`.slice(0, 1000) });
    } finally {
      this.#busy = false;
      if (!at) this.still();
    }
  }

  #uncover(number, name, tookMs, at, segment) {
    if (at && this.#frame - number > 1) return this.#hide();
    this.#canvasFrame = number;
    this.canvas.hidden = false;
    if (at) {
      segment.enhanced++;
      segment.timesMs.push(tookMs);
      this.counts.enhanced++;
    }
    this.#show({ name, tookMs, reason: at ? "" : "a frame that stands still" });
  }

  /** Step down as soon as it is clear that the enhancer in use does not keep up. */
  #judge(at, outcome) {
    const now = nowMs();
    const reason = this.keeper.saw(outcome, now);
    if (!reason) return;
    const from = this.keeper.pick(at.candidates, now);
    if (!from) return;
    this.keeper.bar(at.candidates, now);
    this.#stepped(at, from, reason);
  }

  #stepped(at, from, reason) {
    const to = this.keeper.pick(at.candidates, nowMs());
    if (!to) this.#hide();
    performance.mark(`toprung: stepped from ${from.name} to ${to?.name ?? "none"}`);
    this.telemetry.tell("stepped", { segment: at.segment, from_enhancer: from.name, to_enhancer: to?.name ?? "none", reason });
    this.#show({ name: to?.name ?? "none", reason: `stepped down from ${from.name}: ${reason}`, stepped: true });
  }

  #show(state) {
    this.state = { tookMs: 0, reason: "", ...state };
    this.changed(this.state);
  }

  #hide() {
    this.canvas.hidden = true;
  }

  #openSegment({ segment, rendition, decided }) {
    this.#closeSegment();
    this.#shown = { segment, rendition, decided, frames: 0, enhanced: 0, timesMs: [] };
  }

  #closeSegment() {
    if (!this.#shown?.frames || !this.#shown.rendition) return;
    const { segment, rendition, decided, frames, enhanced, timesMs } = this.#shown;
    const sorted = timesMs.sort((a, b) => a - b);
    const percentile = (share) => sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
    this.telemetry.tell("shown", {
      segment,
      rendition,
      enhancer: decided,
      frames,
      enhanced_frames: enhanced,
      plain_frames: frames - enhanced,
      late_frames: 0,  // one that would be late is not shown
      buffer_s: this.bufferS(),
      enhance_p50_ms: percentile(0.5),
      enhance_p95_ms: percentile(0.95),
    });
    this.#shown = null;
  }
}
