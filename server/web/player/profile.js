// The device profile, measured in the browser: how long each network on offer takes from a decoded frame to the canvas.

import { architecture, macs } from "../network/plain.js";

const KEPT = "toprung.profile.1";
const BUDGET_MS = 300; // of timing one network
const OPEN_MS = { WebGPU: 4000, WebGL2: 600 }; // at most, to make a network ready; WebGL2 holds the page up meanwhile
export const HOPELESS = 4; // frames' time: a network that would take longer is not even timed
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;
const CORE_MACS_PER_MS = 3e6; // of a software adapter at best; 1.7e6 was measured
export const UNMEASURED = { kind: null, adapter: "", measurements: [] };

/** A network of that name at that size, to be measured; throws for what this page does not run. */
export const jobFor = (name, widthPx, heightPx) => ({
  name,
  widthPx,
  heightPx,
  macs: macs(architecture(name), widthPx, heightPx),
});

/** All networks that a title offers and this page runs, cheapest first: [{name, widthPx, heightPx, macs}]. */
export function jobs(title, table) {
  const sizes = new Map(title.renditions.map((rung) => [rung.id, rung]));
  const found = new Map();
  for (const { offers } of table?.enhancers ?? []) {
    for (const { architecture: name, rendition } of offers) {
      const { width_px: widthPx, height_px: heightPx } = sizes.get(rendition);
      try {
        found.set(`${name}@${widthPx}x${heightPx}`, jobFor(name, widthPx, heightPx));
      } catch {
        continue; // a network of a family that came later than this page
      }
    }
  }
  return [...found.values()].sort((a, b) => a.macs - b.macs);
}

/**
 * {kind, adapter, measurements}; kind is null where only plain video is to be had. What was measured before is believed.
 * `say` hears what is being done.
 */
export async function measure(thread, wanted, frameMs, say) {
  const kinds = wanted.length ? await thread.ask("kinds") : [];
  const known = remembered(kinds);
  const missing = wanted.filter((job) => !known.measurements.some((each) => sameJob(each, job)));
  if (!kinds.length || !missing.length) return kinds.length ? known : UNMEASURED;
  let pace = softwarePace(kinds); // milliseconds of a multiply-accumulate
  const hopeless = pace * wanted[0].macs > HOPELESS * frameMs;
  const kind = known.kind ?? (hopeless ? kinds[0].kind : await quickest(thread, kinds, wanted[0], frameMs, say));
  const found = { kind, adapter: kinds.find((each) => each.kind === kind).adapter, measurements: known.measurements };
  for (const [index, job] of missing.entries()) {
    say(`Measuring this device: network ${index + 1} of ${missing.length}`);
    const guessed = pace * job.macs;
    const timesMs =
      guessed > HOPELESS * frameMs ? [guessed] : ((await timed(thread, kind, job)) ?? [HOPELESS * frameMs]);
    pace = median(timesMs) / job.macs;
    found.measurements.push(measurement(kind, job, timesMs));
  }
  localStorage.setItem(KEPT, JSON.stringify({ ...found, kinds: JSON.stringify(kinds) }));
  return found;
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
 * enough for a frame that stands still. `lifts`: whether some network keeps up with the film.
 */
export function settled(measured, wanted, frameMs) {
  if (!wanted.length) return { ...UNMEASURED, lifts: false };
  const lifts = fitting(measured, wanted, frameMs).length > 0;
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
    const timesMs = await timed(thread, kind, job);
    if (timesMs && median(timesMs) < frameMs / 2) return kind;
    if (timesMs && (!best || median(timesMs) < best.ms)) best = { kind, ms: median(timesMs) };
  }
  return best?.kind ?? kinds[0].kind; // too slow to play with, but a frame that stands still can wait
}

/** Milliseconds of each run; null when it did not work, or was not ready in time. */
async function timed(thread, kind, { name, widthPx, heightPx }) {
  const late = new Promise((resolve) => setTimeout(resolve, 2 * OPEN_MS.WebGPU, null));
  const trial = thread.ask("trial", { kind, name, widthPx, heightPx, budgetMs: BUDGET_MS }).catch(() => null);
  const found = await Promise.race([trial, late]);
  return found && found.openMs <= OPEN_MS[kind] ? found.timesMs : null;
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
