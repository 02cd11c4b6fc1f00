// How long a frame of a video lasts, seen from the frames that are shown: a page is not told.

const USUAL_MS = 1000 / 30;
const SEEN_MIN = 8; // intervals before they are believed
const SEEN_MAX = 48;

export class FrameClock {
  frameMs = USUAL_MS;
  #over = false;

  /** `changed` hears of another length. */
  constructor(video, changed) {
    const spans = [];
    let beforeS = null;
    const next = (_, { mediaTime }) => {
      if (this.#over) return;
      const spanS = beforeS === null ? 0 : mediaTime - beforeS;
      beforeS = mediaTime;
      if (spanS > 0.005 && spanS < 0.2) spans.push(1000 * spanS);
      if (spans.length > SEEN_MAX) spans.shift();
      if (spans.length >= SEEN_MIN) this.#settle(spans, changed);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }

  stop() {
    this.#over = true;
  }

  /** The shortest interval that is common: a frame that was not seen makes one twice as long. */
  #settle(spans, changed) {
    const sorted = [...spans].sort((a, b) => a - b);
    const frameMs = sorted[Math.floor(sorted.length / 4)];
    if (Math.abs(frameMs / this.frameMs - 1) < 0.1) return;
    this.frameMs = frameMs;
    changed(frameMs);
  }
}
