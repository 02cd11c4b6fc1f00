// The live QoE page: all sessions of this server at once.

import { Chart, columns } from "./charts.js";
import { follow } from "./feed.js";
import { Session, know, mean, sum } from "./session.js";

const SPAN_S = 300;
const ACTIVE_S = 60;
const LOG_MAX = 120;
const BIN_S = 2;
const $ = (id) => document.getElementById(id);
const text = (id, words) => ($(id).textContent = words);
const make = (tag, className, ...children) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
};

const sessions = new Map();
const lines = [];
let dirty = false;
let aheadS = 0; // of the server's clock over ours

const ago = (atS) => {
  const s = Math.max(0, Math.round(nowS() - atS));
  return s < 1 ? "now" : s < 60 ? `${s} s ago` : `${Math.round(s / 60)} min ago`;
};
const nowS = () => Date.now() / 1000 + aheadS;
const wall = (atS) =>
  new Date(atS * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const options = { time: wall, height: 150 };
const charts = {
  rate: new Chart($("c-rate"), {
    ...options,
    unit: " kbit/s",
    series: [{ label: "bitrate", colour: "content", step: false, points: true }],
  }),
  buffer: new Chart($("c-buffer"), {
    ...options,
    unit: " s",
    height: 120,
    series: [{ label: "buffer", colour: "ink", width: 1.5, digits: 1, points: true }],
  }),
  quality: new Chart($("c-quality"), {
    ...options,
    unit: "",
    range: () => [0, 100],
    series: [
      { label: "plain", colour: "none", digits: 1, points: true },
      { label: "with enhancers", colour: "content", digits: 1, points: true },
    ],
  }),
};

function heard({ session: name, title, at_s: atS, event }) {
  aheadS = Math.max(aheadS, atS - Date.now() / 1000);
  if (!sessions.has(name)) sessions.set(name, new Session(name, title));
  sessions.get(name).add(event, atS);
  if (["decided", "stalled", "stepped", "learnt", "failed", "ended"].includes(event.event))
    lines.push({ name, atS, event });
  if (lines.length > LOG_MAX) lines.shift();
  dirty = true;
  know(title).then(() => (dirty = true));
}

/** Means over all sessions of what `of` finds in each, [[seconds since 1970, value]], in steps of BIN_S. */
function over(all, of) {
  const bins = new Map();
  const from = nowS() - SPAN_S;
  for (const session of all) {
    for (const [atS, value] of of(session)) {
      if (atS < from || value === null || value === undefined) continue;
      const bin = Math.round(atS / BIN_S) * BIN_S;
      bins.set(bin, [...(bins.get(bin) ?? []), value]);
    }
  }
  return [...bins].sort(([a], [b]) => a - b).map(([bin, values]) => [bin, mean(values)]);
}

function draw() {
  if (!dirty) return;
  dirty = false;
  const all = [...sessions.values()].sort((a, b) => b.lastAtS - a.lastAtS);
  const active = all.filter(isActive);
  $("some").hidden = !all.length;
  $("none").hidden = Boolean(all.length);
  const known = (values) => values.filter((value) => value !== null && !Number.isNaN(value));
  const or = (value, say) => (value === null ? "–" : say(value));
  const recent = active.length ? active : all;
  text("t-now", String(active.length));
  text("t-now-more", `${all.length} seen lately`);
  text(
    "t-rate",
    or(mean(known(recent.flatMap((s) => s.segments.slice(-10).map(({ kbps }) => kbps)))), (v) =>
      v > 1000 ? `${(v / 1000).toFixed(1)} Mbit/s` : `${v.toFixed(0)} kbit/s`,
    ),
  );
  text(
    "t-gain",
    or(mean(known(recent.map((s) => s.gain))), (v) => `${v >= 0 ? "+" : ""}${v.toFixed(1)}`),
  );
  text(
    "t-gain-more",
    or(mean(known(recent.map((s) => s.gainVmaf))), (v) => `${v >= 0 ? "+" : ""}${v.toFixed(1)} by VMAF alone`),
  );
  text(
    "t-share",
    or(mean(known(recent.map((s) => s.enhancedShare))), (v) => `${Math.round(100 * v)} %`),
  );
  text(
    "t-buffer",
    or(mean(known(recent.map((s) => s.buffer.at(-1)?.[1] ?? null))), (v) => `${v.toFixed(1)} s`),
  );
  text(
    "t-rate-more",
    or(mean(known(recent.map((s) => s.switches?.perMinute ?? null))), (v) => `${v.toFixed(1)} switches a minute`),
  );
  text("t-stalls", String(sum(recent.map((s) => s.stalls))));
  text("t-stalls-more", `${sum(recent.map((s) => s.stallS)).toFixed(1)} s in all`);
  const bySegment = (value) => over(all, (session) => session.segments.map((each) => [each.atS, value(each)]));
  charts.rate.draw(columns(bySegment(({ kbps }) => kbps)));
  charts.buffer.draw(columns(over(all, (session) => session.buffer.map(([, seconds, atS]) => [atS, seconds]))));
  charts.quality.draw(
    columns(
      bySegment(({ plain }) => plain),
      bySegment(({ promised }) => promised),
    ),
  );
  $("rows").replaceChildren(...all.slice(0, 30).map(row));
  $("log").replaceChildren(...[...lines].reverse().map(entry));
}

const isActive = (session) => !session.ended && nowS() - session.lastAtS < ACTIVE_S;

function row(session) {
  const { last } = session;
  const link = Object.assign(document.createElement("a"), { href: `qoe/${session.name}`, textContent: session.name });
  const now = last
    ? [chip(last.enhancer), `${last.rendition}${last.enhancer === "none" ? ", plain" : ` + ${last.enhancer}`}`]
    : ["–"];
  const behind = session.latencyS === null ? "" : `, ${session.latencyS.toFixed(1)} s behind the live edge`;
  const energy = session.energy && `, ${session.energy}`;
  const learning = session.learnt ? `, learning: +${session.learnt.gain.toFixed(1)} since start` : "";
  const state = session.ended
    ? `ended: ${session.ended.reason}`
    : isActive(session)
      ? `watching${behind}${learning}${energy}`
      : "silent";
  const share = session.enhancedShare,
    gain = session.gain,
    buffer = session.buffer.at(-1)?.[1];
  return make(
    "tr",
    "",
    cell("t", link),
    cell("t", session.started.title),
    cell("t", ...now),
    cell("", buffer === undefined ? "–" : `${buffer.toFixed(1)} s`),
    cell("", share === null ? "–" : `${Math.round(share * 100)} %`),
    cell("", gain === null ? "–" : `${gain >= 0 ? "+" : ""}${gain.toFixed(1)}`),
    cell(session.stalls ? "bad" : "", session.stalls ? `${session.stalls}, ${session.stallS.toFixed(1)} s` : "0"),
    cell("t", `${state}, ${ago(session.lastAtS)}`),
  );
}

const cell = (className, ...children) => make("td", className, ...children);
const chip = (enhancer) => make("i", `chip ${enhancer.split("-")[0]}`);

function entry({ name, atS, event }) {
  const time = make("time", "", wall(atS));
  const who = Object.assign(document.createElement("a"), { href: `qoe/${name}`, textContent: name });
  return make(
    "li",
    event.event === "stalled" || event.event === "failed" ? "bad" : "",
    time,
    " ",
    who,
    " ",
    ...told(event),
  );
}

function told(event) {
  switch (event.event) {
    case "decided":
      return [
        chip(event.enhancer),
        make(
          "b",
          "",
          `segment ${event.segment + 1}: ${event.rendition}${event.enhancer === "none" ? "" : ` + ${event.enhancer}`}`,
        ),
        ` ${event.advised ? `(the player's own choice; advised: ${event.advised}) ` : ""}${event.reason}`,
      ];
    case "stalled":
      return [make("b", "", `stalled for ${event.duration_s.toFixed(1)} s`), ` at segment ${event.segment + 1}`];
    case "stepped":
      return [make("b", "", `stepped from ${event.from_enhancer} to ${event.to_enhancer}`), ` ${event.reason}`];
    case "learnt":
      return [make("b", "", `new weights of the stream, ${event.publications}`), ` +${event.gain.toFixed(1)} points`];
    case "failed":
      return [make("b", "", event.what), ` ${event.detail}`];
    default:
      return [make("b", "", event.event), ` ${event.reason ?? ""}`];
  }
}

follow(heard, () => {
  sessions.clear();
  lines.length = 0;
  dirty = true;
});
setInterval(draw, 500);
setInterval(() => (dirty = true), 5000);
