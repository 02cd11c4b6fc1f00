// A running experiment on the live QoE page: its arms, how they differ, and how sure that is.

import { at } from "../parts/root.js";

const EVERY_MS = 5000;
const $ = (id) => document.getElementById(id);

const digits = (value, count) => value.toFixed(count).replace("-", "−");
const FIGURES = [
  ["qoe", (value) => digits(value, 1)],
  ["quality", (value) => digits(value, 1)],
  ["rebuffering", (value) => `${digits(100 * value, 2)} %`],
  ["switches_per_minute", (value) => digits(value, 2)],
];

const signed = (say) => (value) => `${value > 0 ? "+" : ""}${say(value)}`;
const leavesOutZero = ({ low, high }) => low !== null && (low > 0 || high < 0);

/** Two lines: what counts, and what belongs to it in small. */
function cell(words, more, className = "") {
  const td = Object.assign(document.createElement("td"), { className });
  td.append(words, Object.assign(document.createElement("span"), { className: "more", textContent: more || "\u00a0" }));
  return td;
}

/** A mean with its interval below it; a dash before the first visit. */
function figure(estimate, say, className) {
  if (!estimate) return cell("–", "");
  const { mean, low, high } = estimate;
  return cell(say(mean), low === null ? "" : `${say(low)} to ${say(high)}`, className);
}

function row(...cells) {
  const tr = document.createElement("tr");
  tr.append(...cells);
  return tr;
}

const arm = (each) =>
  row(
    cell(each.name, `${each.controller}, ${Math.round(100 * each.share)} %`, "t"),
    cell(String(each.visits), ""),
    ...FIGURES.map(([name, say]) => figure(each[name], say)),
  );

const difference = (each) =>
  row(
    cell(`${each.arm} less ${each.control}`, "", "t"),
    cell("", ""),
    ...FIGURES.map(([name, say]) => figure(each[name], signed(say), leavesOutZero(each[name]) ? "apart" : "")),
  );

function draw({ arms, differences, confidence, least_visits: least, warning }) {
  $("experiment").hidden = false;
  $("e-warning").hidden = !warning;
  $("e-warning").textContent = warning;
  $("e-verdict").textContent = differences.map(({ verdict }) => verdict).join(" ") || "No visit has been counted yet.";
  $("e-arms").replaceChildren(...arms.map(arm), ...differences.map(difference));
  $("e-note").textContent =
    `Below each mean is its ${Math.round(100 * confidence)} % interval. It holds however often you look, ` +
    `and is shown once an arm has ${least} visits. Bold: the arms differ.`;
}

async function tell() {
  const answer = await fetch(at("qoe"), { headers: { Accept: "application/json" }, cache: "no-store" }).catch(
    () => null,
  );
  if (!answer?.ok) return; // the next one may come through
  const { experiment } = await answer.json();
  if (experiment) draw(experiment);
  else clearInterval(timer); // none will begin before the server starts anew
}

const timer = setInterval(() => document.hidden || tell(), EVERY_MS);
tell();
