// The server's feed of events, folded into sessions: what the QoE pages draw.

import { at } from "../parts/root.js";
import { readLines } from "./session.js";

const STATES = {
  live: ["live", "on"],
  alone: ["sessions of this server process only: the store that it shares does not answer", "off"],
  lost: ["connection lost, trying again", "off"],
};

/** Follows /qoe/feed and says in #live how that goes. `heard(line)` gets each line; `lost()` is called when all begins anew. */
export function follow(heard, lost, shown = "") {
  const mark = document.getElementById("live");
  const say = (state) => {
    const [words, look] = STATES[state];
    mark.textContent = words;
    mark.className = `live ${look}`;
  };
  const source = new EventSource(at(`qoe/feed${shown ? `?session=${encodeURIComponent(shown)}` : ""}`));
  source.onmessage = ({ data }) => heard(JSON.parse(data));
  source.addEventListener("live", () => say("live"));
  source.addEventListener("together", () => say("live"));
  source.addEventListener("alone", () => say("alone"));
  source.onerror = () => {
    say("lost");
    lost();
  };
}

/** The whole log of one session, from its beginning. */
export async function history(shown) {
  const answer = await fetch(at(`qoe/${shown}/log`));
  return answer.ok ? readLines(await answer.text()) : [];
}
