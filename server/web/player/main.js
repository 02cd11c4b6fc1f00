// The player page: picks a title, measures the device, opens a session, plays it, and shows what is going on.

import { Choices } from "./choices.js";
import { Enhancer } from "./enhancer.js";
import { Ladder } from "../parts/ladder.js";
import { HOPELESS, jobs, measure, profile } from "./profile.js";
import { BUFFER_S, PUBLIC, Stream } from "./stream.js";
import { Telemetry } from "./telemetry.js";
import { Thread } from "./thread.js";
import { Weights } from "./weights.js";

const $ = (id) => document.getElementById(id);
const text = (id, words) => ($(id).textContent = words);
const json = async (url, options) => {
  const answer = await fetch(url, options);
  if (answer.status === 404 && !options) return null;
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? `the server answers ${answer.status}`);
  return body;
};
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const mean = (values) => values.reduce((a, b) => a + b, 0) / (values.length || 1);

const video = $("video");
let loaded = null;  // {title, table, measured}: the title that is picked
let showing = null;  // {stream, enhancer, telemetry, …}: the session that plays
let thread = null;

async function begin() {
  const { titles } = await json("/titles");
  if (!titles.length) throw new Error("This library has no titles yet; `toprung prepare film.mp4` makes one.");
  for (const { id, duration_s: durationS } of titles) $("titles").add(new Option(`${id} (${clock(durationS)})`, id));
  const wanted = new URLSearchParams(location.search).get("title");
  if (titles.some(({ id }) => id === wanted)) $("titles").value = wanted;
  await pick();
}

/** Load what there is to know of the picked title, and measure what its networks cost here. */
async function pick() {
  stop();
  const id = $("titles").value;
  const [title, table] = await Promise.all([json(`/titles/${id}/title.json`), json(`/titles/${id}/enhancements.json`)]);
  $("begin").disabled = true;
  text("heading", title.id);
  text("length", clock(title.segment_duration_s.reduce((a, b) => a + b, 0)));
  $("stage").style.aspectRatio = `${title.display_width_px} / ${title.display_height_px}`;
  thread ??= new Thread(lost);
  const frameMs = (1000 * title.frame_rate[1]) / title.frame_rate[0];
  const wanted = jobs(title, table);
  const measured = await measure(thread, wanted, frameMs, (words) => text("device", `${words}…`)).catch((error) => {
    console.warn(error);
    return { kind: null, adapter: "", measurements: [] };
  });
  if ($("titles").value !== id) return;
  loaded = { title, table, measured, frameMs, wanted };
  text("device", sayDevice(loaded));
  $("begin").disabled = $("play").disabled = false;
}

function sayDevice({ measured: { kind, adapter, measurements }, wanted, frameMs }) {
  if (!wanted.length) return "This title has no enhancers that run in a page; it plays plainly.";
  if (!kind) return "This browser has neither WebGPU nor WebGL2 with float textures; the video plays plainly.";
  const fits = measurements.filter((each) => each.p95_ms <= frameMs && wanted.some((job) => job.name === each.architecture));
  const best = fits.at(-1) ?? measurements[0];
  const atMost = best.p50_ms >= HOPELESS * frameMs * 0.99 ? "under " : "";  // not timed to its end
  const fps = `${atMost}${Math.round((10 * 1000) / best.p50_ms) / 10}`;
  const where = `${kind} on ${adapter || "this device"}`;
  const what = `${best.architecture} at ${best.width_px}×${best.height_px}: ${fps} frames a second`;
  return fits.length ? `${where}. ${what}.` : `${where}: too slow for this title (${what}). Playing plainly; pause with Before | after to see a frame lifted.`;
}

async function start() {
  if (!loaded) return;
  $("begin").hidden = true;
  $("problem").hidden = true;
  thread ??= new Thread(lost);
  const { title, table, measured, frameMs } = loaded;
  const request = { title: title.id, profile: profile(measured), buffer_max_s: BUFFER_S };
  const session = await json("/sessions", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request) });
  const telemetry = new Telemetry(`/sessions/${session.id}`);
  telemetry.playedS = () => video.currentTime;
  telemetry.tell("started", {
    session: session.id.slice(0, PUBLIC), title: title.id, controller: "", device: measured.adapter.slice(0, 128), network: "", software: "toprung web player",
  });
  const weights = new Weights(new URL(session.title_url, location.href), ({ name, sizeBytes, startedMs, durationMs }) =>
    telemetry.tell("downloaded", {
      kind: "weights", name, size_bytes: sizeBytes, started_s: telemetry.timeS(startedMs), latency_s: 0, duration_s: durationMs / 1000,
    }),
  );
  const ladder = new Ladder($("ladder"), $("why"), title);
  const choices = new Choices({ title, table, measured, weights, decisionOf: (segment) => stream.decisions.get(segment) });
  const stream = new Stream({
    video, session, title, choices, weights, telemetry,
    decided: (segment, decision) => {
      ladder.add(segment, decision);
      const [first] = choices.of(segment);
      return first && showing?.enhancer?.on ? showing.enhancer.prepare(first) : null;
    },
  });
  const fits = ({ widthPx, heightPx }) => widthPx === video.videoWidth && heightPx === video.videoHeight;
  const candidatesAt = (mediaS) => {
    const segment = stream.segmentAt(mediaS);
    const { rendition, enhancer: decided } = stream.decisions.get(segment) ?? {};
    return { segment, rendition, decided, candidates: choices.of(segment).filter(fits), best: () => choices.best(segment, fits) };
  };
  showing = { stream, telemetry, title, ladder, session, choices };
  const canvas = freshCanvas();
  if (measured.kind) await thread.ask("start", { kind: measured.kind, canvas }, [canvas]);
  showing.enhancer = new Enhancer({
    video, canvas: $("canvas"), thread, frameMs, candidatesAt, telemetry, bufferS: () => stream.bufferS, changed: sayState,
  });
  showing.enhancer.on = $("enhance").ariaPressed === "true";
  showing.enhancer.setSplit(splitShare());
  stream.start();
  showing.timer = setInterval(tick, 500);
  const shown = session.id.slice(0, PUBLIC);
  const link = Object.assign(document.createElement("a"), { href: `/qoe/${shown}`, textContent: shown });
  $("session").replaceChildren("Session ", link);
}

/** A canvas can be handed to a worker only once. */
function freshCanvas() {
  const fresh = Object.assign(document.createElement("canvas"), { id: "canvas", hidden: true });
  $("canvas").replaceWith(fresh);
  return fresh.transferControlToOffscreen();
}

function stop() {
  if (!showing) return;
  const { stream, enhancer, telemetry, timer } = showing;
  showing = null;
  clearInterval(timer);
  enhancer?.stop();
  telemetry.end("stopped", video.currentTime);
  stream.stop();
  $("begin").hidden = false;
  $("badge").hidden = true;
}

/** The device went away (a driver that was reset, say): play on plainly. */
function lost(what) {
  showing?.telemetry.tell("failed", { what: "enhancer", detail: `${what} was lost` });
  showing?.enhancer?.stop();
  if (showing) showing.enhancer = null;
  thread = null;
  sayState({ name: "none", reason: `${what} was lost`, stepped: true });
}

function sayState({ name, tookMs, reason, stepped }) {
  const rung = video.videoHeight ? `${video.videoHeight}p` : "";
  const lifted = name !== "none";
  const words = [lifted ? `${rung} lifted by ${name}` : `${rung}, plain`, lifted && tookMs ? `${tookMs.toFixed(0)} ms a frame` : "", reason];
  text("badge", words.filter(Boolean).join(" · "));
  text("after", lifted ? name : "not lifted");
  $("badge").hidden = !showing && !stepped;
  $("badge").classList.toggle("stepped", Boolean(stepped));
}

function tick() {
  if (!showing) return;
  const { stream, enhancer, title, ladder } = showing;
  const segment = stream.segmentAt(video.currentTime);
  const decision = stream.decisions.get(segment);
  ladder.show(segment);
  $("seek").value = video.currentTime;
  $("seek").max = video.duration || 1;
  text("now", clock(video.currentTime));
  text("t-buffer", `${stream.bufferS.toFixed(1)} s`);
  text("t-buffer-more", `of at most ${BUFFER_S} s`);
  text("t-stalls", String(stream.stalls.count));
  text("t-stalls-more", `${stream.stalls.seconds.toFixed(1)} s in all`);
  const all = [...stream.decisions.values()].slice(-8);
  const rate = (8 * mean(all.map((d) => d.sizeBytes))) / (mean(all.map((d) => d.durationMs)) || 1);
  if (all.length) text("t-rate", rate > 1000 ? `${(rate / 1000).toFixed(1)} Mbit/s` : `${rate.toFixed(0)} kbit/s`);
  text("t-rate-more", "while the last segments came");
  if (!decision) return;
  const plain = title.plain_quality[decision.rendition].vmaf[segment];
  const { frames, enhanced } = enhancer?.counts ?? { frames: 0, enhanced: 0 };
  const lifted = enhancer && enhancer.state.name !== "none";
  text("t-picture", lifted ? `${decision.rendition} → ${title.display_height_px}p` : decision.rendition);
  text("t-picture-more", `${((8 * decision.sizeBytes) / 1000 / title.segment_duration_s[segment]).toFixed(0)} kbit/s, ${lifted ? enhancer.state.name : "plain"}`);
  const offer = lifted && showing.choices.offer(enhancer.state.name, decision.rendition);
  text("t-vmaf", (offer ? offer.quality.vmaf[segment] : plain).toFixed(1));
  text("t-vmaf-more", lifted ? `${plain.toFixed(1)} without the enhancer` : `decided: ${decision.enhancer === "none" ? "plain" : decision.enhancer}`);
  text("t-share", frames ? `${Math.round((100 * enhanced) / frames)} %` : "0 %");
  text("t-share-more", `${enhanced} of ${frames} frames, none late`);
}

const splitShare = () => ($("compare").ariaPressed === "true" ? Number($("at").value) / 100 : 0);

function splitMoved() {
  $("split").hidden = $("compare").ariaPressed !== "true";
  $("stage").style.setProperty("--at", `${$("at").value}%`);
  showing?.enhancer?.setSplit(splitShare());
}

function toggle(button) {
  button.ariaPressed = String(button.ariaPressed !== "true");
  return button.ariaPressed === "true";
}

const playOrPause = () => (showing ? (video.paused ? video.play() : video.pause()) : start().catch(trouble));

function trouble(error) {
  console.warn(error);
  text("problem", error.message);
  $("problem").hidden = false;
  $("begin").hidden = Boolean(showing);
}

$("titles").addEventListener("change", () => pick().catch(trouble));
$("begin").addEventListener("click", playOrPause);
$("play").addEventListener("click", playOrPause);
$("seek").addEventListener("input", () => (video.currentTime = Number($("seek").value)));
$("mute").addEventListener("click", () => (video.muted = toggle($("mute"))));
$("enhance").addEventListener("click", () => {
  const on = toggle($("enhance"));
  showing?.enhancer?.setOn(on);
});
$("compare").addEventListener("click", () => (toggle($("compare")), splitMoved()));
$("at").addEventListener("input", splitMoved);
$("full").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen()));
video.addEventListener("click", playOrPause);
for (const [event, sign, label] of [["play", "❚❚", "Pause"], ["pause", "▶", "Play"]]) {
  video.addEventListener(event, () => {
    text("play", sign);
    $("play").ariaLabel = label;
    $("seek").disabled = false;
  });
}
video.addEventListener("ended", () => showing?.telemetry.end("finished", video.currentTime));
video.addEventListener("resize", () => showing && sayState(showing.enhancer?.state ?? { name: "none" }));

const keys = {
  k: playOrPause,
  ArrowLeft: () => (video.currentTime -= 5),
  ArrowRight: () => (video.currentTime += 5),
  e: () => $("enhance").click(),
  b: () => $("compare").click(),
  m: () => $("mute").click(),
  f: () => $("full").click(),
};
document.addEventListener("keydown", (event) => {
  const elsewhere = event.target.closest("select, input, [tabindex]");
  if (event.ctrlKey || event.metaKey || event.altKey || (elsewhere && event.key.startsWith("Arrow"))) return;
  keys[event.key]?.();
});

begin().catch(trouble);
