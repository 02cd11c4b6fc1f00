// The device profile, measured in the browser: how long each network on offer takes from a decoded frame to the canvas.

import { architecture, macs } from "../network/plain.js";
import { measuredMs } from "./choices.js";
import { CARRY, NOTHING } from "./plans/plan_file.js";
import { exitsOf, plainMs, planMs } from "./plans/plans.js";

const KEPT = "toprung.profile.1";
const BUDGET_MS = 300; // of timing one network
const OPEN_MS = { WebGPU: 10_000, WebGL2: 600 }; // at most, to make a network ready; WebGL2 holds the page up meanwhile
const TRIALS_MS = 20_000; // of all networks together, at most one more than that: the others are timed at the next visit
export const HOPELESS = 4; // frames' time: a network that would take longer is not even timed
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;
const CORE_MACS_PER_MS = 3e6; // of a software adapter at best; 1.7e6 was measured
export const UNMEASURED = { kind: null, adapter: "", measurements: [] };

/**
 * A network of that name at that size, to be measured; throws for what this page does not run. frames: of how many frames'
 * time a run is of use. carries: what carrying its gain and plain pictures are called in a profile, where plans do that.
 */
export const jobFor = (name, widthPx, heightPx, frames = HOPELESS, carries = null) => ({
  name,
  widthPx,
  heightPx,
  macs: macs(architecture(name), widthPx, heightPx),
  frames,
  carries,
});

/** A network at a size, as a text of its own. */
const nameOf = ({ name, widthPx, heightPx }) => `${name}@${widthPx}x${heightPx}`;

/** Whether some network is among these jobs that was not among those before. */
export function offersMore(before, wanted) {
  const known = new Set(before.map(nameOf));
  return wanted.some((job) => !known.has(nameOf(job)));
}

/** All networks that a title offers and this page runs, for whole segments or in frame plans, cheapest first. */
export function jobs(title, table) {
  const sizes = new Map(title.renditions.map((rung) => [rung.id, rung]));
  const found = new Map();
  for (const { name, rendition, frames, carries } of uses(table)) {
    const { width_px: widthPx, height_px: heightPx } = sizes.get(rendition);
    const key = nameOf({ name, widthPx, heightPx });
    const before = found.get(key);
    try {
      const most = Math.max(frames, before?.frames ?? 0);
      found.set(key, jobFor(name, widthPx, heightPx, most, carries ?? before?.carries ?? null));
    } catch {
      continue; // a network of a family that came later than this page
    }
  }
  return [...found.values()].sort((a, b) => a.macs - b.macs);
}

/** What each network of a title is used for: on every frame, or on a share of them. */
function* uses(table) {
  for (const { offers } of table?.enhancers ?? [])
    for (const { architecture: name, rendition } of offers) yield { name, rendition, frames: HOPELESS };
  for (const { offer, shares } of table?.plans ?? []) {
    for (const { architecture: name, share } of exitsOf({ shares })) {
      const carries = { plain: shares[NOTHING].architecture, carry: shares[CARRY].architecture };
      yield { name, rendition: offer.rendition, frames: Math.max(HOPELESS, 1 / share), carries };
    }
  }
}

/** The frame plans that this device can follow in time. */
export function keptUp(title, table, measured, frameMs) {
  const sizes = new Map(title.renditions.map((rung) => [rung.id, rung]));
  return (table?.plans ?? []).filter(({ offer, shares }) => {
    const { width_px: widthPx, height_px: heightPx } = sizes.get(offer.rendition) ?? {}; // of another codec's rung
    return planMs({ shares }, (name) => measuredMs(measured, name, widthPx, heightPx)) <= frameMs;
  });
}

/**
 * {kind, adapter, measurements}; kind is null where only plain video is to be had. What was measured before is believed.
 * Compiling for WebGL2 holds up pages of a software adapter: there only what may run on every frame is timed with it.
 * `say` hears what is being done. now: milliseconds.
 */
export async function measure(thread, wanted, frameMs, say, now = () => performance.now()) {
  const kinds = wanted.length ? await thread.ask("kinds") : [];
  const known = remembered(kinds);
  let pace = softwarePace(kinds); // milliseconds of a multiply-accumulate
  const isSoftware = pace > 0;
  const usefulMs = (job, kind) => frameMs * (isSoftware && kind === "WebGL2" ? HOPELESS : job.frames);
  const missing = wanted.filter((job) => !isKnown(known, job, usefulMs));
  if (!kinds.length || !missing.length) return kinds.length ? known : UNMEASURED;
  const until = now() + TRIALS_MS;
  const hopeless = pace * wanted[0].macs > HOPELESS * frameMs;
  const kind = known.kind ?? (hopeless ? kinds[0].kind : await quickest(thread, kinds, wanted[0], frameMs, say));
  const found = { kind, adapter: kinds.find((each) => each.kind === kind).adapter, measurements: known.measurements };
  for (const [index, job] of missing.entries()) {
    if (index && now() > until) break; // a viewer waits for a picture
    say(`Measuring this device: network ${index + 1} of ${missing.length}`);
    const guessed = pace * job.macs;
    const trial = guessed > usefulMs(job, kind) ? null : await timed(thread, kind, job);
    const timesMs = trial?.timesMs ?? [Math.max(guessed, HOPELESS * frameMs)];
    pace = median(timesMs) / job.macs;
    add(found, measurement(kind, job, timesMs));
    if (trial?.carryMs && job.carries) {
      add(found, measurement(kind, { ...job, name: job.carries.carry }, trial.carryMs));
      const plain = trial.plainMs.map((timedMs) => plainMs(timedMs, frameMs));
      add(found, measurement(kind, { ...job, name: job.carries.plain }, plain));
    }
  }
  localStorage.setItem(KEPT, JSON.stringify({ ...found, kinds: JSON.stringify(kinds) }));
  return found;
}

/** Whether a network was measured before, and carrying too where plans could use it. */
function isKnown({ kind, measurements }, job, usefulMs) {
  const own = measurements.find((each) => sameJob(each, job));
  if (!own || !job.carries || own.p50_ms > usefulMs(job, kind)) return Boolean(own);
  return measurements.some((each) => sameJob(each, { ...job, name: job.carries.carry }));
}

/** Add a measurement in the place of an older one of the same. */
function add(found, made) {
  const isOther = ({ architecture: name, width_px, height_px }) =>
    name !== made.architecture || width_px !== made.width_px || height_px !== made.height_px;
  found.measurements = [...found.measurements.filter(isOther), made];
}

/** The least that a software adapter needs for a multiply-accumulate; 0 where a GPU has to be asked itself. */
function softwarePace(kinds) {
  if (!kinds.every(({ adapter }) => SOFTWARE.test(adapter))) return 0;
  return 1 / (CORE_MACS_PER_MS * (navigator.hardwareConcurrency || 1));
}

/** The measurements of networks that keep up with the film, in the order of `wanted`. */
export function fitting({ measurements }, wanted, frameMs) {
  return measurements.filter((each) => each.p95_ms <= frameMs && wanted.some((job) => sameJob(each, job)));
}

/**
 * Where networks run in this session: on the kind that was measured, or on the processor when that kind is not even quick
 * enough for a frame that stands still. `lifts`: whether some network, or some frame plan, keeps up with the film.
 */
export function settled(measured, { title, table, wanted, frameMs }) {
  if (!wanted.length) return { ...UNMEASURED, lifts: false };
  const lifts = fitting(measured, wanted, frameMs).length > 0 || keptUp(title, table, measured, frameMs).length > 0;
  const timed = measured.measurements.some((each) => each.p50_ms < 0.99 * HOPELESS * frameMs);
  return { ...measured, lifts, kind: lifts || timed ? measured.kind : "Processor" };
}

/** What the server is told of this device. */
export function profile({ adapter, measurements }) {
  const device = {
    name: navigator.userAgentData?.platform || navigator.platform || "a browser",
    processor: adapter || "unknown",
    cores: navigator.hardwareConcurrency || 1,
    memory_bytes: (navigator.deviceMemory ?? 0) * 2 ** 30,
  };
  return measurements.length ? { device, measurements } : null;
}

function remembered(kinds) {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT));
    if (kept?.kinds === JSON.stringify(kinds)) return kept;
  } catch {
    localStorage.removeItem(KEPT);
  }
  return { kind: null, adapter: "", measurements: [] };
}

/** The first kind that does the lightest job with ease, else the quickest (drawing with WebGL2 can hold the page up). */
async function quickest(thread, kinds, job, frameMs, say) {
  let best = null;
  for (const { kind } of kinds) {
    say(`Trying ${kind}`);
    const { timesMs } = (await timed(thread, kind, job)) ?? {};
    if (timesMs && median(timesMs) < frameMs / 2) return kind;
    if (timesMs && (!best || median(timesMs) < best.ms)) best = { kind, ms: median(timesMs) };
  }
  return best?.kind ?? kinds[0].kind; // too slow to play with, but a frame that stands still can wait
}

/** Milliseconds of each run, and of carrying; null when it did not work, or was not ready in time. */
async function timed(thread, kind, { name, widthPx, heightPx }) {
  const late = new Promise((resolve) => setTimeout(resolve, 2 * OPEN_MS.WebGPU, null));
  const trial = thread.ask("trial", { kind, name, widthPx, heightPx, budgetMs: BUDGET_MS }).catch(() => null);
  const found = await Promise.race([trial, late]);
  return found && found.openMs <= OPEN_MS[kind] ? found : null;
}

function measurement(kind, { name, widthPx, heightPx }, timesMs) {
  const sorted = [...timesMs].sort((a, b) => a - b);
  return {
    architecture: name,
    width_px: widthPx,
    height_px: heightPx,
    backend: kind.toLowerCase(),
    threads: 1,
    p50_ms: Math.max(0.01, median(sorted)),
    p95_ms: Math.max(0.01, sorted[Math.floor((sorted.length - 1) * 0.95)]),
  };
}

const sameJob = (each, job) =>
  each.architecture === job.name && each.width_px === job.widthPx && each.height_px === job.heightPx;
const median = (values) => [...values].sort((a, b) => a - b)[(values.length - 1) >> 1];
