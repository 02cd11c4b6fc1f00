// A live title: what the server knows of it, and what changes while it runs.

import { at } from "../parts/root.js";
import { json } from "./session.js";

const LOOK_EVERY_MS = 10_000;

/**
 * {title, table, live} of a prepared title, or of a live one; live is null, or {latencyS, grows, learnt, measured}. null
 * when it is gone. grows: segments come while they are made. measured: what its pictures are worth was measured, not
 * assumed.
 * learnt: {publications, gain} of the networks that have learnt it; null where there are none.
 */
export async function load(id, isLive) {
  if (isLive) {
    const tables = await json(at(`titles/${id}/tables.json`));
    return (
      tables && {
        title: tables.typical,
        table: tables.enhancements ?? null,
        live: {
          latencyS: tables.latency_s,
          grows: Boolean(tables.chunk_frames),
          learnt: learnt(tables.learning),
          measured: Boolean(tables.measured),
        },
      }
    );
  }
  const [title, table] = await Promise.all(
    ["title", "enhancements"].map((name) => json(at(`titles/${id}/${name}.json`))),
  );
  return title && { title, table, live: null };
}

/** gain: points of the rung that gained most. */
function learnt(learning) {
  if (!learning?.sets?.length) return null;
  return { publications: learning.publications, gain: Math.max(...learning.sets.map(({ gain }) => gain.trusted)) };
}

/** Hears of what a live title offers, whenever that changes: until `over()`. */
export function watchOffers(id, { table, live }, over, changed) {
  const told = (found) => JSON.stringify([found?.table ?? null, found?.live.measured ?? false]);
  let known = told({ table, live });
  const timer = setInterval(async () => {
    if (over()) return clearInterval(timer);
    const found = await load(id, true).catch(() => null);
    const offers = told(found);
    if (!found || over() || offers === known) return;
    known = offers;
    changed(found);
  }, LOOK_EVERY_MS);
}
