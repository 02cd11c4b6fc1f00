// The decisions so far as a row of columns, one a segment, with the reason of the one that is looked at.

import { ofSegment } from "./segments.js";

const LIVE_CELLS = 120; // segments of a live stream that stay

export class Ladder {
  #decisions = new Map();
  #picked = null;
  #shown = -1;

  /** live: the title has no end; cells come with the decisions, and old ones go. */
  constructor(box, why, title, { live = false } = {}) {
    Object.assign(this, { box, why, title, live });
    this.cells = title.segment_duration_s.map(() => document.createElement("i"));
    if (live) this.cells = [];
    this.first = 0; // the segment of the first cell
    box.replaceChildren(...this.cells);
    // Read out what the keys come to, and not each decision as it is taken.
    box.onfocus = () => (why.ariaLive = "polite");
    box.onblur = () => (why.ariaLive = "off");
    box.onkeydown = (event) => this.#key(event);
    box.onpointermove = (event) => this.#pick(this.first + this.cells.indexOf(event.target.closest("i")));
    box.onpointerleave = () => this.#pick(-1);
  }

  add(segment, decision) {
    if (this.live) this.#makeRoom(segment);
    this.#decisions.set(segment, decision);
    const rungs = this.title.renditions.map(({ id }) => id);
    const cell = this.#cell(segment);
    if (!cell) return;
    const [family, tier] = decision.enhancer.split("-");
    cell.className = ["d", family, tier ?? ""].join(" ").trim();
    cell.style.setProperty("--h", `${(100 * (rungs.indexOf(decision.rendition) + 1)) / rungs.length}%`);
    if (this.#picked === null) this.#say(segment);
  }

  #cell(segment) {
    return this.cells[segment - this.first];
  }

  /** Cells up to that segment; the oldest go. Where the viewer went elsewhere, the row begins anew. */
  #makeRoom(segment) {
    const end = this.first + this.cells.length;
    if (!this.cells.length || segment < this.first || segment > end + LIVE_CELLS) {
      this.cells = [];
      this.first = segment;
      this.#decisions.clear();
      this.#picked = null;
      this.box.replaceChildren();
    }
    while (this.first + this.cells.length <= segment) {
      this.cells.push(this.box.appendChild(document.createElement("i")));
    }
    while (this.cells.length > LIVE_CELLS) {
      if (this.#picked === this.first) this.#picked = null;
      this.#decisions.delete(this.first++);
      this.cells.shift().remove();
    }
  }

  /** Mark the segment that is on the screen. */
  show(segment) {
    if (segment === this.#shown) return;
    this.#cell(this.#shown)?.classList.remove("shown");
    this.#cell(segment)?.classList.add("shown");
    this.#shown = segment;
  }

  #pick(segment) {
    if (this.#picked !== null) this.#cell(this.#picked)?.classList.remove("picked");
    this.#picked = this.#decisions.has(segment) ? segment : null;
    if (this.#picked === null) return;
    this.#cell(segment)?.classList.add("picked");
    this.#say(segment);
  }

  #say(segment) {
    const { rendition, enhancer, vmaf, quality, reason } = this.#decisions.get(segment);
    const plain = ofSegment(this.title.plain_quality[rendition].vmaf, segment);
    const bold = document.createElement("b");
    bold.textContent = `Segment ${segment + 1}: ${rendition}${enhancer === "none" ? ", plain" : ` + ${enhancer}`}`;
    const lifted = `quality ${plain.toFixed(1)} → ${quality.toFixed(1)} (VMAF ${vmaf.toFixed(1)})`;
    const gain = enhancer === "none" ? `quality ${plain.toFixed(1)}` : lifted;
    this.why.replaceChildren(bold, ` · ${gain} · ${reason}`);
  }

  #key(event) {
    const all = [...this.#decisions.keys()].sort((a, b) => a - b);
    const at = all.indexOf(this.#picked ?? all.at(-1));
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    this.#pick(all[Math.min(all.length - 1, Math.max(0, to))]);
    event.preventDefault();
  }
}
