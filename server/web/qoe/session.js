// One session as its events tell it. Pure: events in, numbers out.

import { at } from "../parts/root.js";
import { ofSegment } from "../parts/segments.js";

export const readLines = (text) =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));

/** Plain VMAF of a rendition's segment; the pages fill this in when a title's title.json has come. */
export const titles = new Map();

const SEGMENTS_MAX = 3600; // of a session that are remembered: a live one may last for days

function forgetOldest(segments) {
  if (segments.size > SEGMENTS_MAX) segments.delete(segments.keys().next().value);
}

export class Session {
  started = { title: "", controller: "", device: "", software: "", arm: "" };
  decided = new Map();
  shown = new Map();
  buffer = []; // [t_s, seconds, seconds since 1970]
  rate = []; // [t_s, kbit/s] of each video download, or of what the server heard
  events = []; // steps, stalls, failures
  stallS = 0;
  stalls = 0;
  startupS = null;
  ended = null;
  bytes = { video: 0, audio: 0, weights: 0, init: 0 };
  #atS = 0;
  #told = false; // whether the player itself tells of its downloads

  constructor(name, title = "") {
    this.name = name;
    this.started.title = title;
    this.lastAtS = 0;
    this.timeS = 0;
  }

  add(event, atS = 0) {
    this.#atS = atS;
    this.lastAtS = Math.max(this.lastAtS, atS);
    this.timeS = Math.max(this.timeS, event.t_s);
    this[`_${event.event}`]?.(event);
  }

  _started({ title, controller, device, software, arm }) {
    const told = { title, controller, device, software, arm };
    for (const key of Object.keys(told)) this.started[key] = told[key] || this.started[key];
  }

  _decided(event) {
    this.decided.set(event.segment, { ...event, atS: this.#atS });
    forgetOldest(this.decided);
    const { seen } = event;
    if (!seen) return;
    this.buffer.push([event.t_s, seen.buffer_s, this.#atS]);
    const [last] = seen.downloads.slice(-1);
    if (last && !this.#told && last[1] > 0) this.#sped(event.t_s, last[3], last[1]);
  }

  _downloaded({ t_s: timeS, kind, size_bytes: bytes, duration_s: durationS }) {
    this.bytes[kind] = (this.bytes[kind] ?? 0) + bytes;
    if (kind !== "video") return;
    if (!this.#told) this.rate = [];
    this.#told = true;
    this.#sped(timeS, bytes, durationS);
  }

  _playing({ startup_s: startupS }) {
    this.startupS ??= startupS;
  }

  _stalled(event) {
    this.stalls++;
    this.stallS += event.duration_s;
    this.events.push(event);
  }

  _shown(event) {
    this.shown.set(event.segment, event);
    forgetOldest(this.shown);
    this.buffer.push([event.t_s, event.buffer_s, this.#atS]);
  }

  _stepped(event) {
    this.events.push(event);
  }

  _learnt(event) {
    this.learnt = event;
  }

  _failed(event) {
    this.events.push(event);
  }

  _ended(event) {
    this.ended ??= event;
  }

  #sped(timeS, bytes, durationS) {
    this.rate.push([timeS, (8 * bytes) / 1000 / Math.max(0.001, durationS)]);
  }

  /**
   * Segments in order: {segment, decision, seen, plain, promised, promisedVmaf}; plain is null until the title is known.
   * `promised` is what decisions count, VMAF in logs that do not tell.
   */
  get segments() {
    const title = titles.get(this.started.title);
    return [...this.decided.values()]
      .sort((a, b) => a.segment - b.segment)
      .map((decision) => ({
        segment: decision.segment,
        atS: decision.atS,
        decision,
        seen: this.shown.get(decision.segment) ?? null,
        plain: ofSegment(title?.plain_quality[decision.rendition]?.vmaf ?? [null], decision.segment),
        promised: decision.promised_quality ?? decision.promised_vmaf,
        promisedVmaf: decision.promised_vmaf,
        kbps: title ? (8 * decision.size_bytes) / 1000 / ofSegment(title.segment_duration_s, decision.segment) : null,
      }));
  }

  /** Of a live stream: how far behind its edge the last picture was shown, in seconds; null otherwise. */
  get latencyS() {
    return [...this.shown.values()].at(-1)?.latency_s ?? null;
  }

  /** Millijoules that enhancing took, a minute of media shown; null where no player has told of any. */
  get energyMjPerMinute() {
    const title = titles.get(this.started.title);
    const told = [...this.shown.values()].filter((event) => event.energy_j !== undefined);
    if (!title || !told.length) return null;
    const mediaS = sum([...this.shown.values()].map((event) => ofSegment(title.segment_duration_s, event.segment)));
    return mediaS ? (60_000 * sum(told.map((event) => event.energy_j))) / mediaS : null;
  }

  /** The same in words, which say whether it is an estimate; empty where nothing is known. */
  get energy() {
    const { energyMjPerMinute: amount, started } = this;
    if (amount === null) return "";
    const source = started.energy_source && started.energy_source !== "model" ? started.energy_source : "estimated";
    return `enhancing takes ${amount.toFixed(0)} mJ a minute (${source})`;
  }

  /** Share of shown frames that were enhanced, 0 to 1; null before any was shown. */
  get enhancedShare() {
    const all = [...this.shown.values()];
    const frames = sum(all.map((event) => event.frames));
    return frames ? sum(all.map((event) => event.enhanced_frames)) / frames : null;
  }

  /** Mean points that enhancers added, in what decisions count. */
  get gain() {
    return this.#gain(({ promised }) => promised);
  }

  /** Mean VMAF that enhancers added. */
  get gainVmaf() {
    return this.#gain(({ promisedVmaf }) => promisedVmaf);
  }

  /** Over what was shown, or decided, before any segment is told to be shown; null when nothing is known. */
  #gain(of) {
    const gains = this.segments
      .filter(({ plain }) => plain !== null)
      .map(
        ({ seen, plain, ...each }) =>
          (of(each) - plain) * (seen ? seen.enhanced_frames / Math.max(1, seen.frames) : this.shown.size ? NaN : 1),
      )
      .filter((gain) => !Number.isNaN(gain));
    return gains.length ? sum(gains) / gains.length : null;
  }

  /** Changes of rung between neighbouring segments, in all and a minute of them; null until the title is known. */
  get switches() {
    const segments = this.segments;
    const lengths = titles.get(this.started.title)?.segment_duration_s;
    if (!lengths || !segments.length) return null;
    const count = segments.filter(
      ({ decision }, index) => index && decision.rendition !== segments[index - 1].decision.rendition,
    ).length;
    return { count, perMinute: (60 * count) / sum(segments.map(({ segment }) => ofSegment(lengths, segment))) };
  }

  get last() {
    return this.segments.at(-1)?.decision ?? null;
  }
}

export const sum = (values) => values.reduce((a, b) => a + b, 0);
export const mean = (values) => (values.length ? sum(values) / values.length : null);

/** Fetch what is known of a title, once; resolves to whether it is new. */
export async function know(id) {
  if (!id || titles.has(id)) return false;
  titles.set(id, null);
  const folder = `titles/${encodeURIComponent(id)}`;
  let answer = await fetch(at(`${folder}/title.json`));
  const isLive = answer.status === 404;
  if (isLive) answer = await fetch(at(`${folder}/tables.json`));
  const found = answer.ok ? await answer.json() : null;
  if (found) titles.set(id, isLive ? { ...found.typical, live: true } : found);
  return answer.ok;
}
