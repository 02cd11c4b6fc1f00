// The decisions so far as a row of columns, one a segment, with the reason of the one that is looked at.

export class Ladder {
  #decisions = new Map();
  #picked = null;
  #shown = -1;

  constructor(box, why, title) {
    Object.assign(this, { box, why, title });
    this.cells = title.segment_duration_s.map(() => document.createElement("i"));
    box.replaceChildren(...this.cells);
    box.onkeydown = (event) => this.#key(event);
    box.onpointermove = (event) => this.#pick(this.cells.indexOf(event.target.closest("i")));
    box.onpointerleave = () => this.#pick(-1);
  }

  add(segment, decision) {
    this.#decisions.set(segment, decision);
    const rungs = this.title.renditions.map(({ id }) => id);
    const cell = this.cells[segment];
    const [family, tier] = decision.enhancer.split("-");
    cell.className = ["d", family, tier ?? ""].join(" ").trim();
    cell.style.setProperty("--h", `${(100 * (rungs.indexOf(decision.rendition) + 1)) / rungs.length}%`);
    if (this.#picked === null) this.#say(segment);
  }

  /** Mark the segment that is on the screen. */
  show(segment) {
    if (segment === this.#shown) return;
    this.cells[this.#shown]?.classList.remove("shown");
    this.cells[segment]?.classList.add("shown");
    this.#shown = segment;
  }

  #pick(segment) {
    if (this.#picked !== null) this.cells[this.#picked].classList.remove("picked");
    this.#picked = this.#decisions.has(segment) ? segment : null;
    if (this.#picked === null) return;
    this.cells[segment].classList.add("picked");
    this.#say(segment);
  }

  #say(segment) {
    const { rendition, enhancer, vmaf, quality, reason } = this.#decisions.get(segment);
    const plain = this.title.plain_quality[rendition].vmaf[segment];
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
