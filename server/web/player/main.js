// The player page: picks a title, plays it at once, measures the device meanwhile, and shows what is going on.

import { clock } from "../parts/clock.js";
import { Ladder } from "../parts/ladder.js";
import { at } from "../parts/root.js";
import { ofSegment } from "../parts/segments.js";
import { Chapters } from "./chapters.js";
import { countedQuality } from "./choices.js";
import { Health } from "./health.js";
import { load, watchOffers } from "./live.js";
import { Link, NETWORKS } from "./link.js";
import { HOPELESS, UNMEASURED, fitting, jobs, keptUp, measure, offersMore, settled } from "./profile.js";
import { UNREADABLE } from "./protection.js";
import { FullScreen } from "./screen/full.js";
import { listen } from "./screen/keys.js";
import { Poster } from "./screen/poster.js";
import { Preview } from "./screen/preview.js";
import { Session, json } from "./session.js";
import { hint, status } from "./status.js";
import { BUFFER_S } from "./stream.js";
import { rememberedLifts, rememberLifts } from "./switch.js";
import { Thread } from "./thread.js";
import { TrackPickers } from "./tracks/pickers.js";

const LOAD_AGAIN_MS = 2000;
const REMEMBERED_MS = 400; // how long a start waits for what an earlier visit measured

const $ = (id) => document.getElementById(id);
const text = (id, words) => {
  if ($(id).textContent !== words) $(id).textContent = words; // what does not change is not read out again
};
const mean = (values) => values.reduce((a, b) => a + b, 0) / (values.length || 1);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const video = $("video");
let lives = new Map(); // what the live titles are in, by id
let loaded = null; // {title, table, live, wanted, frameMs, measured}: the title that is picked
let showing = null; // {session, ladder}: what plays
let thread = null;
let asked = false; // the viewer wants to watch
let opening = false;
let renewing = ""; // why a new session is being opened
let error = ""; // why the film cannot go on
let measuring = "";
let resumeS = 0; // where to go on after a failure

const LOST = "lost by the server";
const GONE = {
  404: "the library no longer has it.",
  410: "it was prepared anew meanwhile, and the version that you watched is gone.",
}; // by what a request for a session is answered
const BEGAN_ANEW = "the stream began anew.";
const health = new Health({ lost: () => renew(LOST) });
const pickers = new TrackPickers({
  video,
  cues: $("cues"),
  sounds: $("sounds"),
  texts: $("subtitles"),
  hear: (index) => showing?.session.stream.hear(index),
  failed: (problem) => console.warn(problem),
});

const chapters = new Chapters({
  picker: $("chapters"),
  marks: $("chapter-marks"),
  seek: (toS) => showing && seekTo(toS),
});
const preview = new Preview($("seek"), $("preview"), $("preview-at"));
const poster = new Poster($("poster"));
new FullScreen({ player: $("player"), controls: $("controls"), button: $("full"), video });

async function begin() {
  const { titles: all } = await json(at("titles"), {});
  const titles = all.filter(({ live }) => live !== "waiting");
  health.heard(200);
  if (!titles.length) throw new Error("This library has no titles yet; `toprung prepare film.mp4` makes one.");
  lives = new Map(titles.filter(({ live }) => live).map(({ id, live }) => [id, live]));
  const lasts = ({ live, duration_s: durationS }) => (live === "running" ? "live" : clock(durationS));
  const options = titles.map((title) => new Option(`${title.id} (${lasts(title)})`, title.id));
  $("titles").replaceChildren(...options);
  const wanted = new URLSearchParams(location.search).get("title") ?? titles[0].id;
  $("titles").value = wanted;
  if ($("titles").selectedIndex < 0) throw new Error(`There is no title “${wanted}” here. Pick another above.`);
  await pick();
}

/** Load what there is to know of the picked title. */
async function pick() {
  stop();
  loaded = null;
  resumeS = 0;
  $("begin").disabled = $("play").disabled = true;
  const id = $("titles").value;
  const found = await load(id, lives.has(id));
  if ($("titles").value !== id) return;
  if (!found) throw new Error(`The library no longer has ${id}; reload the page.`);
  const { title, table, live } = found;
  const frameMs = (1000 * title.frame_rate[1]) / title.frame_rate[0];
  const mine = { ...found, frameMs, wanted: jobs(title, table), measured: null };
  loaded = mine;
  if (live)
    watchOffers(
      id,
      found,
      () => mine !== loaded,
      (more) => offered(mine, more),
    );
  text("heading", title.id);
  document.title = `${title.id} · Toprung`;
  text("length", live ? "live" : clock(title.segment_duration_s.reduce((a, b) => a + b, 0)));
  $("stage").style.aspectRatio = `${title.display_width_px} / ${title.display_height_px}`;
  $("begin").disabled = $("play").disabled = false;
  const isPlain = title.no_enhancement || title.protection || !(live || mine.wanted.length);
  for (const button of ["enhance", "compare"]) $(button).disabled = Boolean(isPlain);
  offerTracks(title, at(`titles/${id}/${title.version ? `v-${title.version}/` : ""}`));
  mine.measuring = measureBeside(mine);
  if (asked) await start();
}

/** What there is to choose in a title, and to see of it beforehand. */
function offerTracks(title, titleUrl) {
  poster.offer(title, titleUrl);
  pickers.offer(title, titleUrl);
  preview.offer(title, titleUrl);
  chapters.offer(title);
}

/** A live title offers other enhancers by now: measure what is new, and lift by them. */
async function offered(mine, { title, table, live }) {
  const before = mine.wanted;
  Object.assign(mine, { title, table, live, wanted: jobs(title, table) });
  if (showing?.session.loaded === mine) showing.session.offered(table, live.learnt);
  // One after the other: two measurements at once would each find half a device.
  if (offersMore(before, mine.wanted)) mine.measuring = mine.measuring.then(() => measureBeside(mine));
  else if (mine.measured) text("device", sayDevice(mine));
}

/** Measure what the title's networks cost here, while the film may play already. */
async function measureBeside(mine) {
  thread ??= new Thread(lost);
  measuring = "Looking at this device";
  delete document.body.dataset.measured;
  const say = (words) => mine === loaded && (measuring = words);
  const measured = await measure(thread, mine.wanted, mine.frameMs, say).catch((problem) => {
    console.warn(problem);
    return UNMEASURED;
  });
  if (mine !== loaded) return;
  mine.measured = measured;
  measuring = "";
  text("device", sayDevice(mine));
  document.body.dataset.measured = "yes";
  if (showing?.session.loaded === mine) await equip(showing.session);
}

function sayDevice(mine) {
  const { measured, title, table, wanted, frameMs, live } = mine;
  if (title.protection) return UNREADABLE;
  if (title.no_enhancement) return "The makers of this title do not want its pictures enhanced; it plays plainly.";
  if (!wanted.length && live && !live.measured)
    return "What could lift this stream has not been measured; it plays plainly.";
  if (!wanted.length) return "This title has no enhancers that run in a page; it plays plainly.";
  const { kind, lifts } = settled(measured, mine);
  const { adapter, measurements } = measured;
  if (!measurements.length) {
    return "This browser has neither WebGPU nor WebGL2 with float textures: a moving picture stays plain. Pause to see a frame lifted, by the processor.";
  }
  const best =
    fitting(measured, wanted, frameMs).at(-1) ??
    measurements.find(({ architecture }) => wanted.some(({ name }) => name === architecture));
  if (!best) return "Looking at this device"; // other networks are on offer since it was measured
  const atMost = best.p50_ms >= HOPELESS * frameMs * 0.99 ? "under " : ""; // not timed to its end
  const fps = `${atMost}${Math.round((10 * 1000) / best.p50_ms) / 10}`;
  const where = `${measured.kind} on ${adapter || "this device"}`;
  const what = `${best.architecture} at ${best.width_px}×${best.height_px}: ${fps} frames a second`;
  const by = kind === "Processor" ? ", by the processor" : "";
  const planned = !fitting(measured, wanted, frameMs).length && keptUp(title, table, measured, frameMs).length > 0;
  if (planned) return `${where}. ${what}; a frame plan spreads that over the film.`;
  return lifts
    ? `${where}. ${what}.`
    : `${where}: too slow for a moving picture (${what}). Pause to see a frame lifted${by}.`;
}

/** Play the picked title, from a media time on. */
async function start(atS = 0) {
  asked = true;
  if (!loaded || opening) return;
  opening = true;
  error = "";
  $("begin").hidden = true;
  say();
  const mine = loaded;
  try {
    await Promise.race([mine.measuring, pause(REMEMBERED_MS)]);
    let ladder = null; // of the rungs in the codec that the session plays
    const told = { decided: (...decision) => ladder.add(...decision), changed: sayState, renewed: sayLink };
    const link = new Link($("network").value);
    const session = await Session.open({ video, loaded: mine, link, health, lifts: lifts(), told });
    health.heard(200);
    if (mine !== loaded) return session.stop("stopped");
    ladder = new Ladder($("ladder"), $("why"), mine.title, { live: Boolean(mine.live) });
    showing = { session, ladder };
    offerTracks(mine.title, session.titleUrl());
    session.stream.expectMeasurement(!mine.measured);
    if (mine.measured) await equip(session);
    session.stream.start(atS);
    sayLink();
  } finally {
    opening = false;
  }
}

/** Once the device is measured: lift frames, and have the server decide for a device that can. */
async function equip(session) {
  const { loaded: mine } = session;
  thread ??= new Thread(lost);
  await session.equip(thread, freshCanvas, { split: splitShare() }).catch((problem) => console.warn(problem));
  session.stream.expectMeasurement(false);
  const found = settled(mine.measured, mine);
  if (found.lifts && !session.profiled && session === showing?.session) await renew("measured");
}

/** Have a new session in place of the one that plays, without a break. */
async function renew(reason) {
  if (!showing || renewing) return;
  renewing = reason;
  say();
  try {
    await showing.session.renew(reason);
    health.heard(200);
  } catch (problem) {
    if (problem.status >= 400 && problem.status < 500) fail(problem);
    else health.heard(0);
    return;
  } finally {
    renewing = "";
  }
  await tellLifts(); // it may have changed meanwhile
}

/** Begin again where the picture is: over another network, or after a failure. */
async function restart() {
  if (loaded?.gone) return pick();
  if (showing) resumeS = showing.session.stream.ended || loaded?.live ? 0 : showing.session.stream.positionS;
  stop();
  if (!loaded) return begin();
  await start(resumeS);
}

function retry() {
  const failed = error || showing?.session.stream.error;
  if (!failed && health.awayMs && showing) return health.ask(at(`sessions/${showing.session.id}`), { now: true });
  return restart().catch(trouble);
}

function sayLink() {
  const { shownId } = showing.session;
  const link = Object.assign(document.createElement("a"), { href: at(`qoe/${shownId}`), textContent: shownId });
  $("session").replaceChildren("Session ", link);
}

/** A canvas can be handed to a worker only once. */
function freshCanvas() {
  const canvas = Object.assign(document.createElement("canvas"), { id: "canvas", hidden: true });
  $("canvas").replaceWith(canvas);
  return { canvas, offscreen: canvas.transferControlToOffscreen() };
}

function stop() {
  if (!showing) return;
  const { session } = showing;
  showing = null;
  session.stop("stopped");
  $("badge").hidden = true;
}

/** The device went away (a driver that was reset, say): play on plainly. */
function lost(what) {
  const session = showing?.session;
  session?.telemetry.tell("failed", { what: "enhancer", detail: `${what} was lost` });
  session?.enhancer?.stop();
  if (session) Object.assign(session, { enhancer: null }).stream.lifting = false;
  thread = null;
  sayState({ name: "none", reason: `${what} was lost`, stepped: true });
}

function sayState({ name, tookMs, reason, stepped, still }) {
  const rung = video.videoHeight ? `${video.videoHeight}p` : "";
  const lifted = name !== "none";
  const took = still ? ` in ${(tookMs / 1000).toFixed(1)} s` : tookMs ? ` · ${tookMs.toFixed(0)} ms a frame` : "";
  const words = [lifted ? `${rung} lifted by ${name}${took}` : `${rung}, plain`, reason];
  text("badge", words.filter(Boolean).join(" · "));
  text("after", lifted ? name : "not lifted");
  $("badge").hidden = !showing && !stepped;
  $("badge").classList.toggle("stepped", Boolean(stepped));
  if (still) tick(); // all else on the page tells of the same picture at once
}

/** Tell how playing goes, in words. */
function say() {
  const { stream } = showing?.session ?? {};
  if (stream) {
    stream.watch();
    if (stream.ended) showing.session.telemetry.end("finished", video.currentTime);
    if (!error && (health.awayMs || stream.stoodMs > 2000)) health.ask(at(`sessions/${showing.session.id}`));
  }
  const now = status({
    loaded: Boolean(loaded),
    asked,
    began: Boolean(stream?.began),
    openingMs: stream?.openingMs ?? 0,
    paused: video.paused,
    ended: Boolean(stream?.ended),
    stoodMs: stream?.began ? stream.stoodMs : 0,
    awayMs: health.awayMs,
    bufferS: stream?.bufferS ?? 0,
    error: error || stream?.error || "",
    gone: Boolean(loaded?.gone),
    measuring,
    latencyS: stream?.latencyS ?? null,
    learnt: loaded?.live?.learnt ?? null,
    lost: renewing === LOST,
  });
  document.body.dataset.state = now.name;
  text("state", now.words);
  $("notice").hidden = !now.covers && !now.retry;
  $("notice").classList.toggle("covers", now.covers);
  text("notice-words", now.words);
  $("retry").hidden = !now.retry;
  if (now.retry) text("retry", now.retry);
  $("begin").hidden = asked || now.covers;
  poster.show(!stream?.began);
  offerRating(now.name === "ended" ? showing.session : null);
}

/** Who has watched to the end may say what it was like, where the server asks. The page learns the sessions alone. */
function offerRating(session) {
  $("rate").hidden = !session?.rateUrl;
  if (session?.rateUrl) $("rate").firstElementChild.href = `${session.rateUrl}#${session.ids.slice(-8).join()}`;
}

function tick() {
  say();
  if (!showing) return;
  const { session, ladder } = showing;
  const { stream, enhancer, choices } = session;
  const { title } = session.loaded;
  const segment = stream.segmentAt(video.currentTime);
  const decision = stream.decisions.get(segment);
  ladder.show(segment);
  const { startS, endS } = stream.span;
  Object.assign($("seek"), { min: startS, max: endS, value: video.currentTime });
  chapters.show(video.currentTime);
  const { latencyS } = stream;
  text("now", latencyS === null ? clock(video.currentTime) : `−${latencyS.toFixed(1)} s`);
  text("t-buffer", `${stream.bufferS.toFixed(1)} s`);
  text("t-buffer-more", `of at most ${BUFFER_S} s`);
  const { count, seconds } = stream.stalls;
  text("t-stalls", String(count));
  text("t-stalls-more", `${seconds.toFixed(1)} s in all`);
  const all = [...stream.decisions.values()].slice(-8);
  const rate = (8 * mean(all.map((d) => d.sizeBytes))) / (mean(all.map((d) => d.durationMs)) || 1);
  if (all.length) text("t-rate", rate > 1000 ? `${(rate / 1000).toFixed(1)} Mbit/s` : `${rate.toFixed(0)} kbit/s`);
  text("t-rate-more", "while the last segments came");
  const lifted = enhancer && enhancer.state.name !== "none";
  text("hint", hint({ title, decision, lifted, measuring, choices }));
  if (!decision) return;
  const plain = ofSegment(title.plain_quality[decision.rendition].vmaf, segment);
  const { frames, enhanced } = enhancer?.counts ?? { frames: 0, enhanced: 0 };
  text("t-picture", lifted ? `${decision.rendition} → ${title.display_height_px}p` : decision.rendition);
  text(
    "t-picture-more",
    `${((8 * decision.sizeBytes) / 1000 / ofSegment(title.segment_duration_s, segment)).toFixed(0)} kbit/s, ${lifted ? enhancer.state.name : "plain"}`,
  );
  const offer = lifted && choices.offer(enhancer.state.name, decision.rendition);
  const shown = offer ? ofSegment(countedQuality(offer.quality), segment) : plain;
  text("t-quality", shown.toFixed(1));
  text(
    "t-quality-more",
    lifted
      ? `${plain.toFixed(1)} plain; VMAF ${(offer ? ofSegment(offer.quality.vmaf, segment) : plain).toFixed(1)}`
      : `decided: ${decision.enhancer === "none" ? "plain" : decision.enhancer}`,
  );
  text("t-share", `${frames ? Math.round((100 * enhanced) / frames) : 0} %`);
  text("t-share-more", frames ? `${enhanced} of ${frames} frames, none late` : "no frame yet");
}

const lifts = () => $("enhance").ariaPressed === "true";

/** The viewer's word on enhanced pictures holds for later visits, and the server decides by it. */
function liftsChanged() {
  rememberLifts(toggle($("enhance")));
  showing?.session.setLifts(lifts());
  return tellLifts();
}

/** Have the server decide by what the viewer wants, if it does not yet. */
async function tellLifts() {
  const session = showing?.session;
  if (!session || session.lifts === session.toldLifts) return;
  await renew(session.lifts ? "enhancement switched on" : "enhancement switched off");
}

const splitShare = () => ($("compare").ariaPressed === "true" ? Number($("at").value) / 100 : 0);

function splitMoved() {
  $("split").hidden = $("compare").ariaPressed !== "true";
  $("stage").style.setProperty("--at", `${$("at").value}%`);
  showing?.session.enhancer?.setSplit(splitShare());
}

function toggle(button) {
  button.ariaPressed = String(button.ariaPressed !== "true");
  return button.ariaPressed === "true";
}

/** Play or pause; before all is loaded the wish is kept. */
function playOrPause() {
  if (!showing) return start().catch(trouble);
  if (showing.session.stream.ended) return restart().catch(trouble);
  return video.paused ? video.play().catch(() => {}) : video.pause();
}

/** Something failed: keep trying when the server does not answer, say so when it will not help. */
function trouble(problem) {
  console.warn(problem);
  if (problem.status === 0 || problem.status >= 500) {
    health.heard(0);
    setTimeout(() => !showing && restart().catch(trouble), LOAD_AGAIN_MS);
  } else {
    fail(problem);
  }
  say();
}

/** The film cannot go on. A title that was prepared anew, or removed, is loaded again when the viewer tries again. */
function fail({ status, message }) {
  const gone = loaded && (loaded.live && status === 410 ? BEGAN_ANEW : GONE[status]);
  error = gone || message;
  if (gone) loaded.gone = true;
}

for (const [name, { label }] of Object.entries(NETWORKS)) $("network").add(new Option(label, name));
$("network").value = new URLSearchParams(location.search).get("network") ?? "";
if ($("network").selectedIndex < 0) $("network").value = "";
$("network").addEventListener("change", () => showing && restart().catch(trouble));
$("titles").addEventListener("change", () => {
  asked = false;
  error = "";
  const here = new URL(location.href);
  here.searchParams.set("title", $("titles").value);
  history.replaceState(null, "", here);
  pick().catch(trouble);
});
$("begin").addEventListener("click", playOrPause);
$("retry").addEventListener("click", retry);
$("play").addEventListener("click", playOrPause);
$("seek").addEventListener("input", () => showing?.session.stream.seek(Number($("seek").value)));
$("mute").addEventListener("click", () => (video.muted = toggle($("mute"))));
$("enhance").ariaPressed = String(rememberedLifts());
$("enhance").addEventListener("click", liftsChanged);
$("compare").addEventListener("click", () => (toggle($("compare")), splitMoved()));
$("at").addEventListener("input", splitMoved);
video.addEventListener("click", playOrPause);
for (const [event, sign, label] of [
  ["play", "❚❚", "Pause"],
  ["pause", "▶", "Play"],
]) {
  video.addEventListener(event, () => {
    text("play", sign);
    $("play").ariaLabel = label;
    $("seek").disabled = false;
  });
}
video.addEventListener("ended", tick);
video.addEventListener("resize", () => showing && sayState(showing.session.enhancer?.state ?? { name: "none" }));

function seekTo(toS) {
  const { stream } = showing.session;
  stream.seek(Math.max(stream.span.startS, Math.min(stream.span.endS, toS)));
}

listen({
  " ": playOrPause,
  k: playOrPause,
  ArrowLeft: () => showing && seekTo(video.currentTime - 5),
  ArrowRight: () => showing && seekTo(video.currentTime + 5),
  e: () => $("enhance").click(),
  b: () => $("compare").click(),
  m: () => $("mute").click(),
  f: () => $("full").click(),
});

setInterval(tick, 500);
tick();
begin().catch(trouble);
