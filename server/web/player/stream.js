// One session as it streams: dash.js plays the server-driven manifest; this tells the server how the viewer is doing
// with each request, hears what was decided with each answer, and fetches the weights that a decision needs.

import { MediaPlayer } from "../vendor/dash.mediaplayer.min.js";
import { at } from "../parts/root.js";
import { growingLoader } from "./edge/loader.js";
import { withoutProtection } from "./protection.js";

export const BUFFER_S = 20;
const BUFFER_UNMEASURED_S = 6; // little, so that what was measured is soon heeded
const FOREVER = 1e6; // attempts; the page tells what is going on meanwhile
const RETRY_MS = 1500;
const STOOD_MS = 1000; // a standstill this long counts even if the browser does not tell of it
const SOUGHT_MS = 3000; // after a seek
const KEPT_LIVE = 300; // decisions of a live stream that are remembered
const RATES = { min: -0.05, max: 0.05 }; // how much slower and faster it plays to keep its distance to the live edge
const DRIFT_MAX_S = 12; // further behind, it skips; where segments grow, the manifest says when
const DECODE_TRIES = 3; // dash.js begins anew by itself where the browser could not decode
const RECOVERY_MS = 8000; // what it may take for that
const DECODED_S = 5; // so much that was shown since, and it is another failure
const DOWNLOAD_ERRORS = [10, 11, 15, 25, 26, 27, 28]; // dash.js' codes of downloads that failed
export const PUBLIC = 16; // leading characters of a session id that may be told
const OPEN_PATIENCE_MS = 1500; // how long start-up waits for an enhancer to be ready

export class Stream {
  decisions = new Map(); // segment → {rendition, enhancer, vmaf, quality, reason, sizeBytes, durationMs, startS, endS}
  error = ""; // why the player cannot go on
  #stalls = { count: 0, seconds: 0 };
  #lastDownload = "";
  #notBeforeMs = 0;
  #stalledMs = 0;
  #countedMs = 0; // a standstill is counted up to here
  #playing = false;
  #madeMs = performance.now();
  #moved = { atS: -1, atMs: performance.now() };
  #onScreen = null; // {segment, frames}
  lifting = false; // an enhancer tells what is shown
  #sought = false; // by the viewer: that a picture takes a moment to come is no stall
  #undecoded = { count: 0, atS: 0 };
  #recovering = 0;
  #stoppedAtS = null;
  #listening = new AbortController();
  #heard = 0; // which of the title's sounds

  /**
   * `decided` hears of each decision once its segment and weights are there, and may promise an enhancer for it.
   * `health` hears how the server answers. `link`: the network that downloads come over. `live`: of a live title.
   */
  constructor({ video, session, title, live, choices, weights, telemetry, link, health, decided }) {
    Object.assign(this, { video, session, title, live, choices, weights, telemetry, link, health, decided });
    this.starts = title.segment_duration_s.reduce((starts, span) => [...starts, starts.at(-1) + span], [0]);
    this.player = MediaPlayer().create();
    this.player.updateSettings({
      streaming: {
        retryAttempts: { MediaSegment: FOREVER, InitializationSegment: FOREVER, MPD: FOREVER },
        retryIntervals: { MediaSegment: RETRY_MS, InitializationSegment: RETRY_MS, MPD: RETRY_MS },
        abr: { autoSwitchBitrate: { video: false, audio: false } },
        text: { defaultEnabled: false },
        ...(live
          ? { liveCatchup: { enabled: true, playbackRate: RATES, maxDrift: live.grows ? NaN : DRIFT_MAX_S } }
          : {}),
      },
    });
    if (live)
      this.player.extend(
        "FetchLoader",
        growingLoader(link, (response) => this.#begins(response)),
        false,
      );
    this.player.addRequestInterceptor((request) => this.#asking(request));
    this.player.addResponseInterceptor((response) => this.#answered(response));
    this.player.on("error", ({ error }) => this.#failed(error));
    this.player.on("streamInitialized", () => this.hear(this.#heard));
    this.buffer(BUFFER_S);
    this.#listen();
  }

  /** Play from this media time on. */
  start(atS = 0) {
    const manifest = at(`sessions/${this.session.id}/manifest.mpd`);
    this.player.initialize(this.video, manifest, true, atS || NaN);
  }

  stop() {
    if (this.#over) return;
    this.#stoppedAtS = this.video.currentTime;
    clearTimeout(this.#recovering);
    this.#listening.abort();
    this.player.destroy();
  }

  get #over() {
    return this.#stoppedAtS !== null;
  }

  /** Media time of the picture, or of the last one before it stopped. */
  get positionS() {
    return this.#stoppedAtS ?? this.video.currentTime;
  }

  /** Play this one of the title's sounds, as soon as the manifest is there. */
  hear(index) {
    this.#heard = index;
    if (this.#over || !this.player.isReady()) return;
    const tracks = this.player.getTracksFor("audio");
    const track = tracks.find(({ id }) => Number(id) === index + 1); // the manifest numbers them so
    if (track && track !== this.player.getCurrentTrackFor("audio")) this.player.setCurrentTrack(track);
  }

  /** Keep little in the buffer while the device is not measured yet. */
  expectMeasurement(expected) {
    this.buffer(expected ? BUFFER_UNMEASURED_S : BUFFER_S);
  }

  buffer(seconds) {
    if (this.#over) return;
    const goal = {
      bufferTimeDefault: seconds,
      bufferTimeAtTopQuality: seconds,
      bufferTimeAtTopQualityLongForm: seconds,
    };
    this.player.updateSettings({ streaming: { buffer: goal } });
  }

  /** Go on in another session of the same title, without a break: segments are the same, decisions are not. */
  adopt(session, telemetry) {
    const before = this.session.id;
    this.player.addRequestInterceptor(async (request) => {
      request.url = request.url.replace(`sessions/${before}/`, `sessions/${this.session.id}/`);
      return request;
    });
    Object.assign(this, { session, telemetry });
    if (this.#playing) telemetry.tell("playing", { startup_s: 0 });
  }

  /** How often and how long the picture stood still for want of data, the standstill of now included. */
  get stalls() {
    const { count, seconds } = this.#stalls;
    const runningS = this.#stalledMs ? (performance.now() - this.#stalledMs) / 1000 : 0;
    return { count: count + (runningS > 0.05), seconds: seconds + runningS };
  }

  get began() {
    return this.#playing;
  }

  /** Whether the film is over; players pause just before the end when sound and picture are not of one length. */
  get ended() {
    const { ended, paused, currentTime, duration } = this.video;
    const endS = Math.min(duration || Infinity, this.live ? Infinity : this.starts.at(-1));
    return ended || (this.#playing && paused && currentTime > endS - 0.1);
  }

  /** Of a live stream: how far behind its edge the picture is, in seconds; null otherwise. */
  get latencyS() {
    if (!this.live || !this.#playing || this.#over || !this.player.isDynamic()) return null;
    const latencyS = this.player.getCurrentLiveLatency();
    return latencyS >= 0 ? latencyS : null;
  }

  /** What can be sought in: from where to where, in media time. */
  get span() {
    const { start, end } = (this.live && !this.#over && this.player.isReady() && this.player.getDvrWindow()) || {};
    return end > 0 ? { startS: start, endS: end } : { startS: 0, endS: this.video.duration || 1 };
  }

  /** How long the first picture has been waited for; 0 once it was seen. */
  get openingMs() {
    return this.#playing ? 0 : performance.now() - this.#madeMs;
  }

  /** How long the picture has not moved although it should. */
  get stoodMs() {
    const { paused, ended } = this.video;
    return paused || ended ? 0 : performance.now() - this.#moved.atMs;
  }

  /** To be called now and then: sees a standstill that the browser does not tell of. */
  watch() {
    this.#noteShown();
    const { currentTime: atS, paused, ended, readyState } = this.video;
    if (paused || ended || (atS !== this.#moved.atS && readyState > 2)) {
      this.#moved = { atS, atMs: performance.now() };
      this.endStall();
    } else if (this.#playing && !this.#stalledMs && this.stoodMs > (this.#sought ? SOUGHT_MS : STOOD_MS)) {
      this.#stalledMs = Math.max(this.#moved.atMs, this.#countedMs);
    }
  }

  /** A page that lifts nothing tells itself what was shown, and of a live stream how late. */
  #noteShown() {
    const segment = this.segmentAt(this.video.currentTime);
    if (this.#onScreen?.segment === segment) return;
    this.#tellShown();
    this.#onScreen = { segment, frames: this.#framesShown };
  }

  #tellShown() {
    const before = this.#onScreen;
    this.#onScreen = null;
    const decision = before && this.decisions.get(before.segment);
    const frames = this.#framesShown - (before?.frames ?? 0);
    if (!decision || this.lifting || frames <= 0) return;
    this.telemetry.tell("shown", {
      segment: before.segment,
      rendition: decision.rendition,
      enhancer: decision.enhancer,
      frames,
      enhanced_frames: 0,
      plain_frames: frames,
      late_frames: 0,
      buffer_s: this.bufferS,
      ...this.behind,
    });
  }

  get #framesShown() {
    return this.video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0;
  }

  /** Tell of what is not over yet as if it were: the standstill of now, and the segment on the screen. */
  endTelling() {
    this.endStall();
    this.#tellShown();
  }

  /** What a "shown" event tells beside: how far behind the live edge. */
  get behind() {
    const { latencyS } = this;
    return latencyS === null ? {} : { latency_s: latencyS };
  }

  /** Go where the viewer wants to be. */
  seek(toS) {
    this.endStall();
    this.#sought = true;
    this.#notBeforeMs = 0;
    this.#moved = { atS: -1, atMs: performance.now() };
    this.video.currentTime = toS;
  }

  /** Count and tell the standstill of now, if there is one. */
  endStall() {
    if (!this.#stalledMs) return;
    const durationS = (performance.now() - this.#stalledMs) / 1000;
    this.#stalledMs = 0;
    this.#countedMs = performance.now();
    if (durationS < 0.05) return;
    this.#stalls.count++;
    this.#stalls.seconds += durationS;
    this.telemetry.tell("stalled", { duration_s: durationS, segment: this.segmentAt(this.video.currentTime) });
  }

  #failed(error) {
    const detail = String(error?.message ?? "the player does not say why").slice(0, 1000);
    this.telemetry.tell("failed", { what: "player", detail });
    if (DOWNLOAD_ERRORS.includes(error?.code)) this.health.heard(0);
    else if (!this.video.error) this.error ||= detail.split("\n")[0];
  }

  /** Where the browser fails again and again, or dash.js does not get over it, the film stops. */
  #notDecoded() {
    const { currentTime: atS, error } = this.video;
    const why = `this browser cannot decode it (${error?.message || "it does not say why"})`;
    if (Math.abs(atS - this.#undecoded.atS) > DECODED_S) this.#undecoded = { count: 0, atS };
    clearTimeout(this.#recovering);
    if (++this.#undecoded.count >= DECODE_TRIES) return this.#giveUp(why);
    this.#recovering = setTimeout(() => this.#decodes(atS) || this.#giveUp(why), RECOVERY_MS);
  }

  #decodes(sinceS) {
    const { error, paused, readyState, currentTime } = this.video;
    return this.#over || (!error && readyState > 1 && (paused || currentTime !== sinceS));
  }

  #giveUp(why) {
    this.error ||= why;
    this.stop();
  }

  /** The segment (0-based) on the screen at this media time. */
  segmentAt(mediaS) {
    let at = 0;
    if (this.live) return this.#liveSegmentAt(mediaS + 0.001);
    while (at + 1 < this.title.segment_duration_s.length && this.starts[at + 1] <= mediaS + 0.001) at++;
    return at;
  }

  /** Where its source broke off, a stream has a shorter segment, and a gap behind it. */
  #liveSegmentAt(mediaS) {
    for (const [segment, { startS, endS }] of this.decisions) if (startS <= mediaS && mediaS < endS) return segment;
    return Math.floor(mediaS / this.title.segment_duration_s[0]);
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
    request.toprungMs = performance.now();
    if (number === null) return request;
    const waitMs = Math.min(this.#notBeforeMs - performance.now(), 1000 * Math.max(0, this.bufferS - 2));
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const url = new URL(request.url, location.href);
    url.searchParams.set("CMCD", this.#cmcd());
    request.url = url.href;
    request.toprungMs = performance.now();
    request.toprungSegment = number;
    if (/^https?:/.test(this.session.title_url)) await this.#decideFirst(request);
    return request;
  }

  /** Where a CDN has the bytes, its answers tell nothing of the decision: so that comes first, then they are fetched. */
  async #decideFirst(request) {
    const answer = await fetch(request.url, { headers: { Accept: "application/json" } }).catch(() => null);
    if (!answer?.ok) return; // the request itself meets the same, and the player tries again
    request.toprungDecided = headers(answer);
    request.url = (await answer.json()).url;
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
    const request = response.request ?? {};
    const segment = request.toprungSegment ?? null;
    const answers = response.status > 0 && response.status < 500;
    if (segment !== null || !answers) this.health.heard(response.status); // other answers can come from the cache
    if (response.status === 404 || response.status === 410) this.health.ask(at(`sessions/${this.session.id}`));
    if (response.status >= 400 || !response.data) return response;
    const startedMs = request.toprungMs ?? performance.now();
    const { sizeBytes, durationMs, latencyMs } = request.toprungArrivals ?? (await this.#arrived(response, startedMs));
    if (segment === null) return withoutProtection(response);
    this.#notBeforeMs = performance.now() + 1000 * Number(this.#named(response)["toprung-wait-s"] ?? 0);
    const decision = Object.assign(request.toprungDecision ?? this.#decision(response), { sizeBytes, durationMs });
    this.telemetry.tell("downloaded", {
      kind: "video",
      started_s: this.telemetry.timeS(startedMs),
      latency_s: latencyMs / 1000,
      duration_s: durationMs / 1000,
      size_bytes: sizeBytes,
      segment,
      name: decision.rendition,
    });
    const last = { startedMs, sizeBytes, durationMs, latencyMs };
    if (request.toprungDecision) {
      this.#noteDownload(last); // its weights came beside it
      return response;
    }
    const { weightsBytes, opening } = await this.#take(segment, decision);
    const wholeMs = weightsBytes ? performance.now() - startedMs : durationMs;
    this.#noteDownload({ ...last, sizeBytes: sizeBytes + weightsBytes, durationMs: wholeMs });
    if (!this.#playing) await Promise.race([opening, new Promise((resolve) => setTimeout(resolve, OPEN_PATIENCE_MS))]);
    return response;
  }

  /** A segment begins to come while it is made: what was decided is known, so its weights can come beside it. */
  #begins(response) {
    const { request } = response;
    if (request.toprungSegment === undefined || response.status >= 400) return;
    request.toprungDecision = this.#decision(response);
    this.#take(request.toprungSegment, request.toprungDecision);
  }

  /** What the next request tells of this one. */
  #noteDownload({ startedMs, sizeBytes, durationMs, latencyMs }) {
    const numbers = [sizeBytes, durationMs, latencyMs, 1000 * this.telemetry.timeS(startedMs)];
    this.#lastDownload = numbers.map(Math.round).join("/");
  }

  /** How a segment came that was there, once the network that the viewer chose has carried it. */
  async #arrived({ request, data }, startedMs) {
    const sizeBytes = data.byteLength ?? data.length ?? 0;
    await this.link.carry(sizeBytes, startedMs);
    const timing = performance.getEntriesByName(request?.url ?? "").at(-1);
    performance.clearResourceTimings();
    const durationMs = performance.now() - startedMs;
    const heardMs = timing?.responseStart ? timing.responseStart - timing.startTime : 0;
    return { sizeBytes, durationMs, latencyMs: Math.min(durationMs, Math.max(heardMs, this.link.latencyMs)) };
  }

  #named(response) {
    return response.request.toprungDecided ?? headers(response);
  }

  #decision(response) {
    const named = this.#named(response);
    const { startTime = NaN, duration = NaN } = response.request.customData?.request ?? {};
    return {
      rendition: named["toprung-rendition"] ?? /video\/([^/]+)\/seg-/.exec(response.url)?.[1],
      enhancer: named["toprung-enhancer"] ?? "none",
      vmaf: Number(named["toprung-promised-vmaf"]),
      quality: Number(named["toprung-promised-quality"] ?? named["toprung-promised-vmaf"]),
      reason: named["toprung-reason"]?.replaceAll("+/-", "±"),
      sizeBytes: 0,
      durationMs: 0,
      startS: startTime,
      endS: startTime + duration,
    };
  }

  /** The weights of a decision come, and whoever lifts hears of it. */
  async #take(segment, decision) {
    const weightsBytes = await this.#weightsFor(segment, decision);
    this.decisions.set(segment, decision);
    if (this.live && this.decisions.size > KEPT_LIVE) this.decisions.delete(this.decisions.keys().next().value);
    return { weightsBytes, opening: this.decided(segment, decision) };
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
    const { signal } = this.#listening;
    const on = (name, does) => video.addEventListener(name, does, { signal });
    on("playing", () => {
      if (!this.#playing) telemetry.tell("playing", { startup_s: telemetry.timeS() });
      this.#playing = true;
      this.#sought = false;
      this.#moved = { atS: -1, atMs: performance.now() };
      this.endStall();
    });
    on("waiting", () => {
      if (this.#playing && !this.#sought && !video.ended && !this.#stalledMs) this.#stalledMs = performance.now();
    });
    on("pause", () => this.endStall());
    on("error", () => this.#notDecoded());
  }
}

function headers({ headers: given }) {
  const entries = typeof given?.entries === "function" ? [...given.entries()] : Object.entries(given ?? {});
  return Object.fromEntries(entries.map(([name, value]) => [name.toLowerCase(), value]));
}
