// The server's feed of events, folded into sessions: what the QoE pages draw.

import { readLines } from "./session.js";

/** Follows /qoe/feed. `heard(line)` gets each line, `state("live" | "lost")` how the connection is. */
export function follow(heard, state, shown = "") {
  const source = new EventSource(`/qoe/feed${shown ? `?session=${encodeURIComponent(shown)}` : ""}`);
  source.onmessage = ({ data }) => heard(JSON.parse(data));
  source.addEventListener("live", () => state("live"));
  source.onerror = () => state("lost");
  return source;
}

/** The whole log of one session, from its beginning. */
export async function history(shown) {
  const answer = await fetch(`/qoe/${shown}/log`);
  return answer.ok ? readLines(await answer.text()) : [];
}
