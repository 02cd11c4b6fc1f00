// One viewing of one title: opens the session at the server, streams it, and lifts its frames once the device is measured.

import { at } from "../parts/root.js";
import { Choices, fits } from "./choices.js";
import { Enhancer } from "./enhancer.js";
import { decodedCodecs, inCodec } from "./codecs.js";
import { UNMEASURED, profile, settled } from "./profile.js";
import { unlock } from "./protection.js";
import { BUFFER_S, PUBLIC, Stream } from "./stream.js";
import { Telemetry } from "./telemetry.js";
import { Weights } from "./weights.js";

/** The server's answer, or an Error that has its status (0 when none came) and says what is wrong. */
export async function json(url, options) {
  const answer = await fetch(url, options).catch(() => {
    throw Object.assign(new Error("The server does not answer."), { status: 0 });
  });
  if (answer.status === 404 && !options) return null;
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  throw Object.assign(new Error(body.detail ?? `The server answers ${answer.status}.`), { status: answer.status });
}

const VISIT_KEY = "toprung-visit";
let unkept = null;

/** Names this visit, which lasts as long as the tab: a server that compares controllers keeps to one for all of it. */
function visit() {
  const fresh = () => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16)).join("-");
  try {
    const known = sessionStorage.getItem(VISIT_KEY) ?? fresh();
    sessionStorage.setItem(VISIT_KEY, known);
    return known;
  } catch {
    return (unkept ??= fresh()); // storage is switched off
  }
}

/** Names the link that this viewer shares with others, for a server to decide for all of them: `?group=`. */
const group = new URLSearchParams(location.search).get("group") || undefined;

/** loaded: as of `Session.open`. lifts: whether the viewer wants to see enhanced pictures; who does not is offered none. */
const open = ({ title, codecs, measured }, lifts) =>
  json(at("sessions"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      title: title.id,
      version: title.version,
      profile: profile(measured ?? UNMEASURED),
      families: lifts ? undefined : [],
      buffer_max_s: BUFFER_S,
      visit: visit(),
      group,
      codecs,
    }),
  });

export class Session {
  enhancer = null;
  ids = []; // of all sessions at the server in which this was watched
  #over = false;
  #profiled = false;

  /**
   * loaded: the title, its table, and what was measured of this device (or null yet); it gets the codecs that the browser
   * decodes, and of the title the rungs in the one that the server chose. link, health: see there.
   * lifts: whether the viewer wants to see enhanced pictures. told: {decided(segment, decision), changed(state), renewed()}.
   */
  static async open({ video, loaded, link, health, lifts, told }) {
    await unlock(video, loaded.title.protection);
    loaded.codecs ??= await decodedCodecs(loaded.title);
    const answer = await open(loaded, lifts);
    loaded.title = inCodec(loaded.title, answer.codec);
    return new Session({ video, loaded, link, health, lifts, told, answer });
  }

  constructor({ video, loaded, link, health, lifts, told, answer }) {
    Object.assign(this, { video, loaded, link, lifts, toldLifts: lifts, told });
    const { title, table, live } = loaded;
    this.#begin(answer);
    const weights = new Weights(this.titleUrl(), link, ({ name, sizeBytes, startedMs, durationMs }) =>
      this.telemetry.tell("downloaded", {
        kind: "weights",
        name,
        size_bytes: sizeBytes,
        started_s: this.telemetry.timeS(startedMs),
        latency_s: 0,
        duration_s: durationMs / 1000,
      }),
    );
    this.choices = new Choices({
      title,
      table,
      weights,
      measured: { ...UNMEASURED, lifts: false },
      decisionOf: (segment) => this.stream.decisions.get(segment),
    });
    this.stream = new Stream({
      video,
      title,
      live,
      weights,
      link,
      health,
      session: answer,
      choices: this.choices,
      telemetry: this.telemetry,
      decided: (segment, decision) => {
        told.decided(segment, decision);
        const [first] = this.choices.of(segment);
        return first && this.enhancer?.on ? this.enhancer.prepare(first) : null;
      },
    });
  }

  get id() {
    return this.answer.id;
  }

  /** Where the viewer may say what it was like; "" where nobody is asked. */
  get rateUrl() {
    return this.answer.rate_url;
  }

  /** Whether the server was told what this device can do. */
  get profiled() {
    return this.#profiled;
  }

  /** Characters of the id that may be told. */
  get shownId() {
    return this.id.slice(0, PUBLIC);
  }

  /** A new session at the server in place of this one, which plays on; the server is told what is known of the device by now. */
  async renew(reason) {
    const { lifts } = this;
    const answer = await open(this.loaded, lifts);
    if (this.#over) return;
    this.toldLifts = lifts;
    this.telemetry.end(reason, this.video.currentTime);
    this.#begin(answer);
    this.stream.adopt(answer, this.telemetry);
    if (this.enhancer) this.enhancer.telemetry = this.telemetry;
    this.told.renewed();
  }

  /** The viewer wants enhanced pictures from now on, or none; `renew` tells the server. */
  setLifts(lifts) {
    this.lifts = lifts;
    this.enhancer?.setOn(lifts);
  }

  /** A live title offers other enhancers by now. */
  offered(table, learnt) {
    if (learnt) this.telemetry.tell("learnt", { publications: learnt.publications, gain: learnt.gain });
    this.choices.table = table;
    this.choices.remeasured(this.choices.measured);
  }

  /** Begin to lift frames in the worker, drawing on `canvas` (what gives one). */
  async equip(thread, canvas, { split }) {
    const { measured, frameMs } = this.loaded;
    const found = settled(measured, this.loaded);
    this.choices.remeasured(found);
    if (!found.kind) return;
    const surface = canvas();
    await thread.ask("start", { kind: found.kind, canvas: surface.offscreen }, [surface.offscreen]);
    if (this.#over) return;
    this.enhancer?.stop();
    this.stream.lifting = true;
    this.enhancer = new Enhancer({
      video: this.video,
      canvas: surface.canvas,
      thread,
      frameMs,
      on: this.lifts,
      split,
      candidatesAt: (mediaS) => this.#candidatesAt(mediaS),
      telemetry: this.telemetry,
      bufferS: () => this.stream.bufferS,
      behind: () => this.stream.behind,
      changed: this.told.changed,
    });
  }

  stop(reason) {
    this.#over = true;
    this.enhancer?.stop();
    this.telemetry.end(reason, this.stream.positionS);
    this.stream.stop();
  }

  /** Where the title's files are: at the server, or at a CDN. */
  titleUrl() {
    if (/^https?:/.test(this.answer.title_url)) return new URL(this.answer.title_url); // a CDN has the weights
    return new URL(at(/.*\/(titles\/.+)/.exec(this.answer.title_url)[1])); // wherever a proxy shows the server
  }

  #begin(answer) {
    this.#profiled = Boolean(this.loaded.measured);
    this.answer = answer;
    this.ids.push(answer.id);
    this.telemetry = new Telemetry(at(`sessions/${answer.id}`));
    this.telemetry.playedS = () => this.stream.positionS;
    this.telemetry.ending = () => this.stream?.endTelling();
    this.telemetry.tell("started", {
      session: this.shownId,
      title: this.loaded.title.id,
      controller: "",
      device: (this.loaded.measured?.adapter ?? "").slice(0, 128),
      network: this.link.kbps.length ? this.link.label : "",
      software: "toprung web player",
    });
  }

  #candidatesAt(mediaS) {
    const segment = this.stream.segmentAt(mediaS);
    const { rendition, enhancer: decided } = this.stream.decisions.get(segment) ?? {};
    const shown = (candidate) => fits(candidate, this.video);
    const candidates = this.choices.of(segment).filter(shown);
    return { segment, rendition, decided, candidates, best: () => this.choices.best(segment, shown) };
  }
}
