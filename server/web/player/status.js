// What the page says of how playing goes. Pure: facts in, a state with its words out.

const STILL_MS = 700; // a shorter standstill is not worth a word
const OPENING_MS = 15000; // a first picture that takes longer may never come
const signed = (points) => `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(1)}`;
const seconds = (ms) => `${Math.max(1, Math.round(ms / 1000))} s`;

/**
 * {name, words, retry, covers}: `retry` labels the button that helps, or is null; `covers`: say it over the picture.
 *
 * loaded: the title is known. asked: the viewer wants to watch. began: the first picture was seen. openingMs: how long
 * it has been waited for. stoodMs: how long the picture has stood although it should move. awayMs: how long the server
 * has not answered. error: why the film cannot go on, or "". gone: what was watched is there no longer. measuring: what
 * is being measured, or "". latencyS: how far a live picture is behind its edge, or null. learnt: {gain} in points
 * of the networks that learn a live title, or null. lost: a session that the server forgot is being replaced.
 */
export function status({
  loaded,
  asked,
  began,
  openingMs,
  paused,
  ended,
  stoodMs,
  awayMs,
  bufferS,
  error,
  gone,
  measuring,
  latencyS,
  learnt,
  lost,
}) {
  const again = gone ? "Begin again" : "Try again";
  if (error) return state("failed", loaded ? `The film stopped: ${error}` : error, { retry: again, covers: true });
  if (awayMs) return away({ loaded, asked, stoodMs, awayMs, bufferS });
  if (lost) return state("lost", "The server no longer knows this session. Opening a new one…");
  if (!loaded) return state("connecting", "Connecting to the server…", { covers: asked });
  const meanwhile = measuring ? ` ${measuring}…` : "";
  if (!asked) return state(measuring ? "measuring" : "ready", `Ready to play.${meanwhile}`);
  if (ended) return state("ended", "The film is over.", { retry: "Play again", covers: true });
  if (!began) return opening(openingMs, meanwhile);
  if (paused) return state("paused", `Paused.${meanwhile}`);
  if (stoodMs > STILL_MS) {
    const words = `Waiting for data: the picture has stood still for ${seconds(stoodMs)}.`;
    return state("waiting", words, { retry: stoodMs > 8000 ? "Try again" : null, covers: true });
  }
  const learning = learnt ? `; learning: ${signed(learnt.gain)} since start` : "";
  const playing =
    latencyS === null ? "Playing." : `Playing live, ${latencyS.toFixed(1)} s behind the stream${learning}.`;
  return state(measuring ? "measuring" : "playing", `${playing}${meanwhile}`);
}

function opening(openingMs, meanwhile) {
  const long = openingMs > OPENING_MS;
  const way = long ? `has not come for ${seconds(openingMs)}` : "is on its way";
  const words = `Connecting: the first picture ${way}.${meanwhile}`;
  return state("connecting", words, { retry: long ? "Try again" : null, covers: true });
}

function away({ loaded, asked, stoodMs, awayMs, bufferS }) {
  const runsOn = asked && loaded && bufferS > 0.5 && stoodMs <= STILL_MS;
  const picture = runsOn ? ` The film goes on for ${seconds(1000 * bufferS)} from the buffer.` : "";
  const stood = stoodMs > STILL_MS ? ` The picture has stood still for ${seconds(stoodMs)}.` : "";
  const words = `The server has not answered for ${seconds(awayMs)}.${picture}${stood} The page keeps trying.`;
  return state("unreachable", words, { retry: "Try now", covers: !runsOn });
}

const state = (name, words, more = {}) => ({ name, words, retry: null, covers: false, ...more });

/** Why enhancement is not seen right now, and what to do about it; "" when it is seen. */
export function hint({ title, decision, lifted, measuring, choices }) {
  if (!decision || lifted || !choices.any) return "";
  const { rendition, enhancer } = decision;
  const top = title.renditions.at(-1).id;
  if (rendition === top) {
    return `The network carries ${top}, the top rung, so there is nothing to lift. Choose a slower network to see enhancement.`;
  }
  if (!choices.offers(rendition)) return `This title offers no enhancer for ${rendition}.`;
  if (measuring) return "Nothing is lifted before this device is measured.";
  if (!choices.measured.kind) return "This device cannot run the enhancers of this title.";
  if (!choices.measured.lifts) return "This device is too slow to lift a moving picture. Pause to see a frame lifted.";
  if (enhancer === "none") return "The server chose to send this rung without an enhancer; Decisions says why.";
  return "";
}
