// Charts with uPlot in the pages' colours, drawn anew when those change with the system's mode.

import { clock } from "../parts/clock.js";
import uPlot from "../vendor/uPlot.esm.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const STEPS_S = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Where a scale by powers of ten has its lines: at 1, 2 and 5 of each power; over many powers at 1 alone. */
function powers(low, high) {
  const steps = high / low > 500 ? [1] : [1, 2, 5];
  const all = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
    all.push(...steps.map((step) => step * power));
  return all.filter((value) => value >= low && value <= high);
}

const aboveZero = (_, low, high) => [Math.min(0, low ?? 0), Math.max(1, (high ?? 1) * 1.08)];

export class Chart {
  #plot = null;
  #data = null;

  /**
   * series: [{label, colour, width, fill, step, points, dash}]; `colour` names a variable of the style sheet. unit: of
   * a value. time: how x is written. log: y by powers of ten. bands(): [[from, to]] of x to be shaded, such as stalls.
   */
  constructor(box, { series, unit, height = 150, time = clock, range = null, log = false, bands = () => [] }) {
    Object.assign(this, { box, series, unit, height, time, range, log, bands });
    new ResizeObserver(() => this.#plot?.setSize({ width: this.#width(), height })).observe(box);
    dark.addEventListener("change", () => this.#rebuild());
  }

  /** data: [x values, y values of each series]. */
  draw(data) {
    this.#data = data;
    if (!this.#plot) return this.#rebuild();
    this.#plot.setData(data);
    this.#tellLast(this.#plot);
  }

  #width() {
    return Math.max(120, Math.floor(this.box.clientWidth));
  }

  #rebuild() {
    if (!this.#data) return;
    this.#plot?.destroy();
    const axis = {
      stroke: colour("soft"),
      grid: { stroke: colour("line"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
    };
    const options = {
      width: this.#width(),
      height: this.height,
      padding: [10, 26, 0, 0],
      cursor: { y: false, points: { size: 6 } },
      legend: { live: true },
      scales: { x: { time: false }, y: this.log ? { distr: 3 } : { range: this.range ?? aboveZero } },
      axes: [
        {
          ...axis,
          values: (_, ticks) => ticks.map(this.time),
          grid: { show: false },
          space: 90,
          size: 28,
          incrs: STEPS_S,
        },
        { ...axis, size: 52, space: 26, ...(this.log ? { splits: (_, axisAt, low, high) => powers(low, high) } : {}) },
      ],
      series: [
        { label: "time", value: (_, x) => (x === null ? "–" : this.time(x)) },
        ...this.series.map((each) => this.#series(each)),
      ],
      hooks: { drawClear: [(plot) => this.#shade(plot)], setLegend: [(plot) => this.#tellLast(plot)] },
    };
    this.#plot = new uPlot(options, this.#data, this.box);
    this.#tellLast(this.#plot);
  }

  /** While nobody points at a chart, its legend tells the last value of each series. */
  #tellLast(plot) {
    if ((plot.cursor.idx ?? null) !== null) return;
    const idxs = this.#data.map((column) => column.findLastIndex((value) => value !== null));
    plot.setLegend({ idxs: idxs.map((index) => (index < 0 ? null : index)) }, false);
  }

  #series({ label, colour: name, width = 2, fill = null, step = false, points = false, dash = undefined, digits = 0 }) {
    return {
      label,
      stroke: colour(name),
      width,
      dash,
      fill: fill ? colour(fill) : undefined,
      paths: step ? uPlot.paths.stepped({ align: 1 }) : undefined,
      points: { show: points, size: 5, fill: colour("card"), stroke: colour(name) },
      spanGaps: true,
      value: (_, y) => (y === null || y === undefined ? "–" : `${y.toFixed(digits)}${this.unit}`),
    };
  }

  #shade(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = colour("stall");
    ctx.globalAlpha = 0.18;
    for (const [from, to] of this.bands()) {
      const left = plot.valToPos(from, "x", true),
        right = plot.valToPos(to, "x", true);
      ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
    }
    ctx.restore();
  }
}

/** Columns of several [x, y] lists over all their x values: what uPlot takes. */
export function columns(...lists) {
  const xs = [...new Set(lists.flat().map(([x]) => x))].sort((a, b) => a - b);
  const at = new Map(xs.map((x, index) => [x, index]));
  return [
    xs,
    ...lists.map((list) => {
      const column = new Array(xs.length).fill(null);
      for (const [x, y] of list) column[at.get(x)] = y;
      return column;
    }),
  ];
}
