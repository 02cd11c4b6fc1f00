// The page of one session: what the report of `toprung play` tells, while it happens.

import { Ladder } from "../parts/ladder.js";
import { at } from "../parts/root.js";
import { clock } from "../parts/clock.js";
import { Chart, columns } from "./charts.js";
import { follow, history } from "./feed.js";
import { Session, know, mean, sum, titles } from "./session.js";

const LIVE_SEGMENTS = 100; // of a live stream, whose row slides
const name = location.pathname.split("/").pop();
const $ = (id) => document.getElementById(id);
const text = (id, words) => ($(id).textContent = words);
const make = (tag, className, words) => Object.assign(document.createElement(tag), { className, textContent: words });

const session = new Session(name);
const known = new Set();
let ladder = null;
let dirty = false;

const bands = () =>
  session.events.filter(({ event }) => event === "stalled").map((event) => [event.t_s - event.duration_s, event.t_s]);
const charts = {
  rate: new Chart($("c-rate"), {
    unit: " kbit/s",
    log: true,
    bands,
    series: [
      { label: "network", colour: "network", points: true },
      { label: "chosen", colour: "ink", points: true },
    ],
  }),
  buffer: new Chart($("c-buffer"), {
    unit: " s",
    height: 120,
    bands,
    series: [{ label: "buffer", colour: "ink", width: 1.5, digits: 1 }],
  }),
  quality: new Chart($("c-quality"), {
    unit: "",
    height: 170,
    bands,
    range: () => [0, 100],
    series: [
      { label: "plain", colour: "none", digits: 1, step: true },
      { label: "promised", colour: "content", digits: 1, step: true },
      { label: "shown", colour: "ink", digits: 1, points: true, width: 0 },
    ],
  }),
};

/** The same event comes once in the history and again in the feed. */
function add(event, atS = 0) {
  const key = [event.event, event.t_s, event.segment, event.name].join();
  if (known.has(key)) return;
  known.add(key);
  $("none").hidden = true;
  $("some").hidden = false;
  session.add(event, atS);
  dirty = true;
}

/** Quality of the frames that were shown of a segment, where `promised` is that of a lifted frame. */
const shownOf = ({ plain, seen }, promised) =>
  seen && plain !== null ? plain + (promised - plain) * (seen.enhanced_frames / Math.max(1, seen.frames)) : null;
const fixed = (value, digits = 1) => (value === null || value === undefined ? "–" : value.toFixed(digits));

function draw() {
  if (!dirty) return;
  dirty = false;
  const { started, bytes } = session;
  const title = titles.get(started.title);
  const segments = session.segments;
  const all = segments.map((each) => ({
    ...each,
    quality: shownOf(each, each.promised),
    vmaf: shownOf(each, each.promisedVmaf),
  }));
  const lived = all.filter(({ quality }) => quality !== null);
  const quality = mean(lived.map((each) => each.quality)),
    vmaf = mean(lived.map((each) => each.vmaf)),
    plain = mean(lived.map((each) => each.plain));
  const gain = quality === null ? 0 : quality - plain;
  text(
    "heading",
    gain >= 0.5
      ? `${started.title}: enhancement lifts the picture by ${gain.toFixed(1)} points (${(vmaf - plain).toFixed(1)} by VMAF alone)`
      : started.title || "Session",
  );
  text(
    "about",
    [
      `controller ${started.controller || "unknown"}`,
      started.arm && `arm ${started.arm} of the experiment`,
      started.device,
      started.software,
      session.latencyS !== null && `${session.latencyS.toFixed(1)} s behind the live edge`,
      session.energy,
      started.wish && `energy: ${started.wish}`,
      session.learnt && `learning: +${session.learnt.gain.toFixed(1)} since start`,
      session.ended ? `ended: ${session.ended.reason}` : `at ${clock(session.timeS)}`,
    ]
      .filter(Boolean)
      .join(" · "),
  );
  text("t-quality", fixed(quality));
  text("t-quality-more", `promised ${fixed(mean(lived.map((each) => each.promised)))}`);
  text("t-vmaf", fixed(vmaf));
  text("t-vmaf-more", `promised ${fixed(mean(lived.map((each) => each.promisedVmaf)))}`);
  text("t-plain", fixed(plain));
  const share = session.enhancedShare;
  text("t-share", share === null ? "–" : `${Math.round(100 * share)} %`);
  const late = sum([...session.shown.values()].map((event) => event.late_frames));
  text("t-share-more", share === null ? "no player has told yet" : `${late} late`);
  text("t-stalls", `${session.stallS.toFixed(1)} s`);
  text(
    "t-stalls-more",
    `${session.stalls} in all${session.startupS === null ? "" : `, start-up ${session.startupS.toFixed(2)} s`}`,
  );
  const video = bytes.video || sum(segments.map(({ decision }) => decision.size_bytes));
  text("t-bytes", `${((video + bytes.audio + bytes.weights + bytes.init) / 1e6).toFixed(2)} MB`);
  text("t-bytes-more", bytes.weights ? `weights ${(bytes.weights / 1000).toFixed(0)} kB of it` : "no weights among it");
  const rate = mean(segments.map(({ kbps }) => kbps).filter((kbps) => kbps !== null));
  text("t-rate", rate === null ? "–" : `${rate.toFixed(0)} kbit/s`);
  const { switches } = session;
  if (switches) {
    const { count, perMinute } = switches;
    text("t-rate-more", `${count} ${count === 1 ? "switch" : "switches"} of rung, ${perMinute.toFixed(1)} a minute`);
  }
  charts.rate.draw(
    columns(
      session.rate,
      segments.map(({ decision, kbps }) => [decision.t_s, kbps]),
    ),
  );
  charts.buffer.draw(columns(session.buffer.map(([t, seconds]) => [t, seconds])));
  const at = ({ decision }) => decision.t_s;
  charts.quality.draw(
    columns(
      all.map((each) => [at(each), each.plain]),
      all.map((each) => [at(each), each.promised]),
      all.map((each) => [at(each), each.quality]),
    ),
  );
  if (title) {
    ladder ??= new Ladder($("ladder"), $("why"), title, { live: title.live });
    for (const { decision } of title.live ? segments.slice(-LIVE_SEGMENTS) : segments) {
      ladder.add(decision.segment, {
        rendition: decision.rendition,
        enhancer: decision.enhancer,
        vmaf: decision.promised_vmaf,
        quality: decision.promised_quality ?? decision.promised_vmaf,
        reason: decision.reason,
      });
    }
  }
  $("rows").replaceChildren(...all.map(row));
  const told = session.events.map(entry);
  $("log").replaceChildren(...(told.length ? told : [make("li", "soft", "No stall, no step, no failure.")]));
}

function row({ segment, decision, kbps, plain, promised, promisedVmaf, seen }) {
  const tr = document.createElement("tr");
  const choice = `${decision.rendition}${decision.enhancer === "none" ? "" : ` + ${decision.enhancer}`}`;
  const share = seen ? `${seen.enhanced_frames} of ${seen.frames}` : "–";
  const cells = [
    [String(segment + 1)],
    [choice, "t"],
    [fixed(kbps, 0)],
    [fixed(plain)],
    [fixed(promised)],
    [fixed(promisedVmaf)],
    [share],
    [seen?.enhance_p95_ms ? seen.enhance_p95_ms.toFixed(1) : "–"],
    [decision.reason, "why"],
  ];
  tr.append(...cells.map(([words, className = ""]) => make("td", className, words)));
  return tr;
}

function entry(event) {
  const li = make("li", event.event === "stepped" ? "" : "bad", "");
  const words = {
    stalled: () => `stalled for ${event.duration_s.toFixed(1)} s at segment ${event.segment + 1}`,
    stepped: () => `stepped from ${event.from_enhancer} to ${event.to_enhancer}: ${event.reason}`,
    failed: () => `${event.what}: ${event.detail}`,
  };
  li.append(make("time", "", clock(event.t_s)), " ", words[event.event]());
  return li;
}

async function begin() {
  $("raw").href = at(`qoe/${name}/log`);
  const events = await history(name).catch(() => []);
  events.forEach((event) => add(event));
  const started = events.find(({ event }) => event === "started");
  if (started) know(started.title).then((isNew) => (dirty ||= isNew));
  $("none").hidden = events.length > 0;
  $("some").hidden = !events.length;
  follow(
    ({ title, at_s: atS, event }) => {
      session.started.title ||= title;
      add(event, atS);
      know(title).then((isNew) => (dirty ||= isNew));
    },
    () => {},
    name,
  );
  setInterval(draw, 400);
}

begin();
