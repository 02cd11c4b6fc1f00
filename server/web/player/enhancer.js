// Takes each frame as the browser shows it, has it lifted in the worker, and shows the result if it is there in time.
//
// One frame is in flight at a time; frames that come while the worker is busy stay plain. A lifted frame is shown until
// its successor is due: when that one is not ready, the canvas goes and the video itself is seen.

import { Keeper } from "./keeper.js";

const nowMs = () => performance.timeOrigin + performance.now();

export class Enhancer {
  on = true;
  split = 0; // share of the width that is shown as played plainly
  state = { name: "none", tookMs: 0, reason: "" };
  #busy = false;
  #ready = new Map(); // network key → true, or the promise of it
  #shown = null; // what the frames of the segment on the screen came to
  #canvasFrame = -1;
  #frame = 0;
  #still = 0;
  #standing = -1; // media time of the paused frame that is on the canvas
  #over = false;
  #listening = new AbortController();

  /** `candidatesAt(mediaS)` → {segment, rendition, decided, candidates}; `changed` hears whenever `state` does. */
  constructor({ video, canvas, thread, frameMs, on, split, candidatesAt, telemetry, bufferS, behind, changed }) {
    Object.assign(this, {
      video,
      canvas,
      thread,
      frameMs,
      on,
      split,
      candidatesAt,
      telemetry,
      bufferS,
      behind,
      changed,
    });
    this.keeper = new Keeper(frameMs);
    this.counts = { frames: 0, enhanced: 0, lowered: 0 };
    const next = (now, metadata) => {
      if (this.#over) return;
      this.#onFrame(metadata);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
    const { signal } = this.#listening;
    video.addEventListener("seeking", () => this.#hide(), { signal });
    for (const event of ["pause", "seeked"]) video.addEventListener(event, () => this.still(), { signal });
    video.addEventListener("play", () => this.#resume(), { signal });
    if (video.paused) this.still();
  }

  /** Make a network ready beforehand. */
  prepare(candidate) {
    if (this.#ready.has(candidate.key)) return this.#ready.get(candidate.key);
    const { key, name } = candidate;
    const loading = this.#load(candidate).then(
      (tookMs) => {
        this.#ready.set(key, true);
        performance.mark(`toprung: ${name} ready`);
        const reason = this.keeper.warmed(candidate, tookMs, nowMs());
        if (reason) this.#stepped(this.candidatesAt(this.video.currentTime), candidate, reason);
      },
      (error) =>
        this.telemetry.tell("failed", { what: "enhancer", detail: `${name}: ${error.message}`.slice(0, 1000) }),
    );
    this.#ready.set(key, loading);
    return loading;
  }

  /** Have the worker open the networks of a candidate: milliseconds that a frame takes in the mean. */
  async #load({ networks, way, ...only }) {
    await way?.open();
    let tookMs = 0;
    for (const { architecture, chunks, share = 1, key, strength, widthPx, heightPx, carries } of networks ?? [only]) {
      const load = { key, name: architecture, chunks: chunks(), strength, widthPx, heightPx, carries };
      tookMs += share * (await this.thread.ask("load", load)).tookMs;
    }
    return tookMs;
  }

  /** A frame that stands still is lifted however long it takes. */
  async still() {
    const { video } = this;
    if (!this.on || this.#over || this.#busy || !video.paused || !video.played.length) return;
    if (video.currentTime === this.#standing) return;
    const mine = ++this.#still;
    const stands = () => mine === this.#still && video.paused && !this.#over;
    try {
      const { best } = this.candidatesAt(video.currentTime);
      const candidate = await best?.();
      if (!candidate || !stands()) return;
      this.#show({ name: "none", reason: `lifting this frame with ${candidate.name}…`, working: true });
      await this.prepare(candidate);
      if (this.#ready.get(candidate.key) !== true) throw new Error(`${candidate.name} could not be made ready`);
      if (stands() && !this.#busy) await this.#lift(candidate, { stands });
    } catch (error) {
      if (stands()) this.#show({ name: "none", reason: `this frame could not be lifted: ${error.message}` });
    }
  }

  #resume() {
    this.#still++;
    if (this.#standing >= 0) this.#hide();
    if (this.state.working || this.#standing >= 0) this.#show({ name: "none" });
    this.#standing = -1;
  }

  setSplit(split) {
    this.split = split;
    if (!this.canvas.hidden) this.thread.ask("split", { split });
  }

  setOn(on) {
    this.on = on;
    this.#still++;
    this.#hide();
    this.#show({ name: "none", reason: on ? "" : "switched off" });
    if (on) this.still();
  }

  /** Frames last so long. */
  setPace(frameMs) {
    this.frameMs = this.keeper.frameMs = frameMs;
  }

  stop() {
    this.#over = true;
    this.#listening.abort();
    this.#closeSegment();
    this.#hide();
  }

  #onFrame({ mediaTime, expectedDisplayTime }) {
    this.#frame++;
    if (this.video.paused) return this.still();
    const at = this.candidatesAt(mediaTime);
    if (this.#shown?.segment !== at.segment) this.#openSegment(at);
    this.#shown.frames++;
    this.counts.frames++;
    const candidate = this.on ? this.keeper.pick(at.candidates, nowMs()) : null;
    if (!candidate) {
      this.#hide();
      if (this.on && this.state.name !== "none")
        this.#show({ name: "none", reason: at.candidates.length ? this.state.reason : "" });
      return;
    }
    if (this.#ready.get(candidate.key) !== true) {
      this.prepare(candidate);
      this.#hide();
      return;
    }
    const planned = candidate.way?.numberAt(at.segment, mediaTime);
    if (this.#busy) {
      if (this.#frame - this.#canvasFrame > 1) this.#hide();
      this.#count(this.#shown, candidate.way?.heard(planned, {}));
      if (candidate.way?.warm ?? true) this.#judge(at, { inTime: false, tookMs: nowMs() - this.#busySinceMs });
      return;
    }
    const frameMs = this.frameMs / (this.video.playbackRate || 1);
    const dueMs = performance.timeOrigin + expectedDisplayTime + frameMs;
    this.#lift(candidate, { dueMs, frameMs, at, planned });
  }

  #busySinceMs = 0;

  /**
   * planned: the frame's number in the title, for candidates that go by a frame plan. `stands` tells whether a frame that
   * took its time is still the one on the screen.
   */
  async #lift(candidate, { dueMs = Infinity, frameMs = Infinity, at = null, planned, stands = () => true }) {
    const { key, name, way } = candidate;
    const number = this.#frame,
      segment = this.#shown,
      mediaS = this.video.currentTime;
    let frame;
    try {
      frame = new VideoFrame(this.video);
    } catch {
      return; // nothing on the screen yet
    }
    this.#busy = true;
    this.#busySinceMs = nowMs();
    try {
      const { split } = this;
      const isWarm = way?.warm ?? true;
      const asked = way ? { ...way.asked(planned), frameMs } : { key };
      const answer = await this.thread.ask(way ? "follow" : "frame", { frame, dueMs, split, ...asked }, [frame]);
      const { shown, inTime = shown, tookMs, gone } = answer;
      if (gone) this.#ready.delete(key);
      if (this.#over || !this.on || gone || !stands()) return;
      const passed = at && this.#frame - number > 1; // the next frame is on the screen already
      const seen = shown && !passed;
      if (at)
        this.#count(segment, way?.heard(planned, passed ? { ...answer, done: -1 } : answer) ?? { enhanced: seen });
      if (seen) this.#uncover(number, name, tookMs, at, segment);
      else this.#hide();
      if (!at) this.#standing = mediaS;
      if (at && tookMs && isWarm) this.#judge(at, { inTime, tookMs });
    } catch (error) {
      this.#ready.set(key, Promise.resolve());
      this.#hide();
      if (!at) this.#standing = mediaS; // it would only break again
      this.telemetry.tell("failed", { what: "enhancer", detail: `${name} broke: ${error.message}`.slice(0, 1000) });
    } finally {
      this.#busy = false;
      if (this.video.paused) this.still();
    }
  }

  #uncover(number, name, tookMs, at, segment) {
    this.#canvasFrame = number;
    this.canvas.hidden = false;
    if (at) segment.timesMs.push(tookMs);
    this.#show({ name, tookMs, still: !at });
  }

  /** Count a frame: whether it was enhanced, and whether with less than a plan said. */
  #count(segment, { enhanced = false, lowered = false } = {}) {
    segment.enhanced += Number(enhanced);
    segment.lowered += Number(lowered);
    this.counts.enhanced += Number(enhanced);
    this.counts.lowered += Number(lowered);
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
    this.telemetry.tell("stepped", {
      segment: at.segment,
      from_enhancer: from.name,
      to_enhancer: to?.name ?? "none",
      reason,
    });
    this.#show({ name: to?.name ?? "none", reason: `stepped down from ${from.name}: ${reason}`, stepped: true });
  }

  #show(state) {
    this.state = { tookMs: 0, reason: "", ...state };
    this.changed(this.state);
  }

  #hide() {
    this.canvas.hidden = true;
    this.#standing = -1;
  }

  #openSegment({ segment, rendition, decided }) {
    this.#closeSegment();
    this.#shown = { segment, rendition, decided, frames: 0, enhanced: 0, lowered: 0, timesMs: [] };
  }

  #closeSegment() {
    if (!this.#shown?.frames || !this.#shown.rendition) return;
    const { segment, rendition, decided, frames, enhanced, lowered, timesMs } = this.#shown;
    const sorted = timesMs.sort((a, b) => a - b);
    const percentile = (share) => sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
    this.telemetry.tell("shown", {
      segment,
      rendition,
      enhancer: decided,
      frames,
      enhanced_frames: enhanced,
      plain_frames: frames - enhanced,
      late_frames: 0, // one that would be late is not shown
      ...(lowered ? { lowered_frames: lowered } : {}),
      buffer_s: this.bufferS(),
      enhance_p50_ms: percentile(0.5),
      enhance_p95_ms: percentile(0.95),
      ...this.behind(),
    });
    this.#shown = null;
  }
}
