// One session as it streams: dash.js plays the server-driven manifest; this tells the server how the viewer is doing
// with each request, hears what was decided with each answer, and fetches the weights that a decision needs.

import { MediaPlayer } from "../vendor/dash.mediaplayer.min.js";

export const BUFFER_S = 20;
export const PUBLIC = 16;  // leading characters of a session id that may be told
const OPEN_PATIENCE_MS = 1500;  // how long start-up waits for an enhancer to be ready

export class Stream {
  decisions = new Map();  // segment → {rendition, enhancer, vmaf, reason, sizeBytes}
  stalls = { count: 0, seconds: 0 };
  #lastDownload = "";
  #notBeforeMs = 0;
  #stalledMs = 0;
  #playing = false;

  /** `decided` hears of each decision once its segment and weights are there, and may promise an enhancer for it. */
  constructor({ video, session, title, choices, weights, telemetry, decided }) {
    Object.assign(this, { video, session, title, choices, weights, telemetry, decided });
    this.starts = title.segment_duration_s.reduce((starts, span) => [...starts, starts.at(-1) + span], [0]);
    this.player = MediaPlayer().create();
    this.player.updateSettings({
      streaming: {
        buffer: { bufferTimeDefault: BUFFER_S, bufferTimeAtTopQuality: BUFFER_S, bufferTimeAtTopQualityLongForm: BUFFER_S },
        abr: { autoSwitchBitrate: { video: false, audio: false } },
        text: { defaultEnabled: false },
      },
    });
    this.player.addRequestInterceptor((request) => this.#asking(request));
    this.player.addResponseInterceptor((response) => this.#answered(response));
    this.player.on("error", ({ error }) => telemetry.tell("failed", { what: "player", detail: String(error?.message).slice(0, 1000) }));
    this.#listen();
  }

  start() {
    this.player.initialize(this.video, new URL(this.session.manifest_url, location.href).href, true);
  }

  stop() {
    this.player.destroy();
  }

  /** The segment (0-based) on the screen at this media time. */
  segmentAt(mediaS) {
    let at = 0;
    while (at + 1 < this.title.segment_duration_s.length && this.starts[at + 1] <= mediaS + 0.001) at++;
    return at;
  }

  get bufferS() {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  async #asking(request) {
    const number = this.#segmentOf(request.url);
    if (number === null) return request;
    const waitMs = Math.min(this.#notBeforeMs - performance.now(), 1000 * Math.max(0, this.bufferS - 2));
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const url = new URL(request.url, location.href);
    url.searchParams.set("CMCD", this.#cmcd());
    request.url = url.href;
    request.toprungMs = performance.now();
    return request;
  }

  /** Our own keys, and those of the standard that say the same in its own way (CTA-5004). */
  #cmcd() {
    const ms = (seconds) => Math.round(seconds * 1000);
    const keys = [
      `bl=${Math.round(this.bufferS * 10) * 100}`,
      `com.toprung-b=${ms(this.bufferS)}`,
      this.#lastDownload && `com.toprung-d="${this.#lastDownload}"`,
      `com.toprung-p=${this.#playing ? 1 : 0}`,
      "com.toprung-q=0",
      `com.toprung-t=${ms(this.telemetry.timeS())}`,
      `com.toprung-w="${this.weights.owned.map((sha256) => sha256.slice(0, 8)).join(",")}"`,
      `ot=v`,
      `sid="${this.session.id.slice(0, PUBLIC)}"`,
    ];
    return keys.filter(Boolean).join(",");
  }

  async #answered(response) {
    const segment = this.#segmentOf(response.url ?? response.request?.url);
    if (segment === null || response.status >= 400 || !response.data) return response;
    const named = headers(response);
    const startedMs = response.request.toprungMs ?? performance.now();
    const timing = performance.getEntriesByName(response.request.url).at(-1);
    performance.clearResourceTimings();
    const durationMs = performance.now() - startedMs;
    const latencyMs = timing?.responseStart ? Math.min(durationMs, timing.responseStart - timing.startTime) : 0;
    const sizeBytes = response.data.byteLength;
    const decision = {
      rendition: named["toprung-rendition"],
      enhancer: named["toprung-enhancer"],
      vmaf: Number(named["toprung-promised-vmaf"]),
      reason: named["toprung-reason"],
      sizeBytes,
      durationMs,
    };
    this.#notBeforeMs = performance.now() + 1000 * Number(named["toprung-wait-s"] ?? 0);
    this.telemetry.tell("downloaded", {
      kind: "video",
      started_s: this.telemetry.timeS(startedMs),
      latency_s: latencyMs / 1000,
      duration_s: durationMs / 1000,
      size_bytes: sizeBytes,
      segment,
      name: decision.rendition,
    });
    const weightsBytes = await this.#weightsFor(segment, decision);
    const wholeMs = weightsBytes ? performance.now() - startedMs : durationMs;
    const numbers = [sizeBytes + weightsBytes, wholeMs, latencyMs, 1000 * this.telemetry.timeS(startedMs)];
    this.#lastDownload = numbers.map(Math.round).join("/");
    this.decisions.set(segment, decision);
    const opening = this.decided(segment, decision);
    if (!this.#playing) await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, OPEN_PATIENCE_MS))]);
    return response;
  }

  /** Bytes of the weights that had to come along. */
  async #weightsFor(segment, { rendition, enhancer }) {
    const offer = this.choices.offer(enhancer, rendition);
    if (!offer) return 0;
    try {
      return await this.weights.acquire(offer);
    } catch (error) {
      this.telemetry.tell("failed", { what: "weights", detail: `segment ${segment}: ${error.message}`.slice(0, 1000) });
      return 0;
    }
  }

  #segmentOf(url) {
    const found = /\/sessions\/[^/]+\/video\/(\d+)\.m4s/.exec(url ?? "");
    return found ? Number(found[1]) - 1 : null;
  }

  #listen() {
    const { video, telemetry } = this;
    const on = (name, does) => video.addEventListener(name, does);
    on("playing", () => {
      if (!this.#playing) telemetry.tell("playing", { startup_s: telemetry.timeS() });
      this.#playing = true;
      if (this.#stalledMs) this.#stallOver();
    });
    on("waiting", () => {
      if (this.#playing && !video.seeking && !video.ended && !this.#stalledMs) this.#stalledMs = performance.now();
    });
    on("seeking", () => {
      this.#stalledMs = 0;
      this.#notBeforeMs = 0;
    });
  }

  #stallOver() {
    const durationS = (performance.now() - this.#stalledMs) / 1000;
    this.#stalledMs = 0;
    if (durationS < 0.05) return;
    this.stalls.count++;
    this.stalls.seconds += durationS;
    this.telemetry.tell("stalled", { duration_s: durationS, segment: this.segmentAt(this.video.currentTime) });
  }
}

function headers({ headers: given }) {
  const entries = typeof given?.entries === "function" ? [...given.entries()] : Object.entries(given ?? {});
  return Object.fromEntries(entries.map(([name, value]) => [name.toLowerCase(), value]));
}
