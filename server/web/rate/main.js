// The page that asks what people think: of two clips, each on the scale of five, or of the film that they watched.

import { at } from "../parts/root.js";
import { TwoClips, shuffle } from "./two_clips.js";

const SCALE = ["Bad", "Poor", "Fair", "Good", "Excellent"]; // absolute category rating, ITU-T P.910

const $ = (id) => document.getElementById(id);
const hex = (bytes) => [...crypto.getRandomValues(new Uint8Array(bytes))].map((b) => b.toString(16).padStart(2, "0"));
const sitting = hex(8).join(""); // of this page, and forgotten with it
const sessions = location.hash.slice(1).split(",").filter(Boolean);
let left = [];
let names = []; // of the clips that are shown, in the order of the scales
let clips = null;
let count = 0;

function scale(legend, name) {
  const field = document.createElement("fieldset");
  field.append(Object.assign(document.createElement("legend"), { textContent: legend }));
  for (const [index, word] of SCALE.entries()) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name, value: `${index + 1}` });
    label.append(radio, word);
    field.append(label);
  }
  return field;
}

const scores = () => ["a", "b"].map((name) => Number(new FormData($("form")).get(name) ?? 0));

function ready() {
  const [a, b] = scores();
  $("send").disabled = clips ? !(a && b && clips.bothSeen) : !a;
}

async function send(opinion) {
  const answer = await fetch(at("rate/opinions"), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ sitting, ...opinion }),
  }).catch(() => null);
  if (answer?.ok) return "";
  const problem = answer ? await answer.json().catch(() => ({})) : {};
  return problem.detail ?? "The server does not answer; try again.";
}

function end(words) {
  for (const id of ["begin", "shown", "stage", "form", "help"]) $(id).hidden = true;
  $("heading").textContent = words;
  $("state").textContent = count ? `${count} ${count === 1 ? "opinion" : "opinions"} kept.` : "";
}

async function next() {
  $("begin").hidden = true;
  if (!left.length) return end("That is all. Thank you!");
  names = shuffle([...left[0]]);
  $("scales").replaceChildren(scale("Clip A", "a"), scale("Clip B", "b"));
  for (const id of ["shown", "stage", "form"]) $(id).hidden = false;
  $("state").textContent = `${left.length} ${left.length === 1 ? "pair" : "pairs"} left`;
  await clips.load(names.map((name) => at(`rate/clips/${name}`)));
  ready();
}

async function submit(event) {
  event.preventDefault();
  const [a, b] = scores();
  $("send").disabled = true;
  const opinion = clips
    ? { clips: names.map((clip, index) => ({ clip, score: [a, b][index] })) }
    : { sessions, score: a };
  const problem = await send(opinion);
  if (problem) {
    $("state").textContent = problem;
    return ready();
  }
  count += 1;
  if (!clips) return end("Thank you!");
  left.shift();
  await next();
}

async function begin() {
  $("form").addEventListener("change", ready);
  $("form").addEventListener("submit", (event) => submit(event).catch(failed));
  if (sessions.length) {
    $("help").textContent = "Think of all that you just watched: the picture, waiting for it, and whether it changed.";
    $("scales").replaceChildren(scale("The whole of it was", "a"));
    $("form").hidden = false;
    return;
  }
  const answer = await fetch(at("rate/pairs"));
  if (!answer.ok) throw new Error("The server does not answer; reload the page.");
  left = shuffle((await answer.json()).pairs);
  if (!left.length) return end("Watch a film first: its page asks you at the end.");
  clips = new TwoClips({ stage: $("stage"), buttons: [...$("shown").children], looked: ready });
  $("help").textContent =
    "Look at both clips as often as you like, then give each a score. Sit as you would for a film.";
  $("begin").hidden = false;
  $("begin").addEventListener("click", () => next().catch(failed));
  document.addEventListener("keydown", ({ key, ctrlKey, metaKey, altKey }) => {
    if (!ctrlKey && !metaKey && !altKey && !$("stage").hidden && (key === "1" || key === "2")) clips.show(key - 1);
  });
}

function failed(problem) {
  $("state").textContent = problem.message;
}

begin().catch(failed);
