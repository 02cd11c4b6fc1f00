// Small pictures of the film above the seek bar: what is to be seen where the pointer is.

import { clock } from "../parts/clock.js";

/** Which sheet has the picture of a media time, and where on it: {sheet (from 0), leftPx, topPx}. */
export function place(thumbnails, atS) {
  const { every_s: everyS, columns, rows, sheet_bytes: sheets, width_px: widthPx, height_px: heightPx } = thumbnails;
  const each = columns * rows;
  const picture = Math.min(Math.max(0, Math.floor(atS / everyS)), sheets.length * each - 1);
  const onSheet = picture % each;
  return {
    sheet: Math.floor(picture / each),
    leftPx: (onSheet % columns) * widthPx,
    topPx: Math.floor(onSheet / columns) * heightPx,
  };
}

export class Preview {
  #thumbnails = null;
  #folder = null;

  /** bar: the seek bar, a range of media seconds. box: shown above it, with a caption and the picture as background. */
  constructor(bar, box, caption) {
    Object.assign(this, { bar, box, caption });
    bar.addEventListener("pointermove", (event) => this.#show(event));
    for (const event of ["pointerleave", "pointercancel"]) bar.addEventListener(event, () => (box.hidden = true));
    bar.addEventListener("pointerup", ({ pointerType }) => (box.hidden ||= pointerType !== "mouse"));
  }

  /** Show those of this title from now on, whose files are beside this URL; nothing for a title without. */
  offer(title, titleUrl) {
    this.#thumbnails = title.thumbnails ?? null;
    this.#folder = titleUrl;
    this.box.hidden = true;
  }

  #show({ clientX }) {
    const thumbnails = this.#thumbnails;
    if (!thumbnails || this.bar.disabled) return;
    const { left, width } = this.bar.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (clientX - left) / width));
    const atS = Number(this.bar.min) + share * (Number(this.bar.max) - Number(this.bar.min));
    const { sheet, leftPx, topPx } = place(thumbnails, atS);
    const file = `thumbnails/sheet-${String(sheet + 1).padStart(5, "0")}.jpg`;
    this.caption.textContent = clock(atS);
    this.box.hidden = false;
    const room = this.box.offsetParent.getBoundingClientRect();
    const leftmost = clientX - room.left - thumbnails.width_px / 2;
    Object.assign(this.box.style, {
      width: `${thumbnails.width_px}px`,
      height: `${thumbnails.height_px}px`,
      left: `${Math.min(Math.max(0, leftmost), Math.max(0, room.width - thumbnails.width_px))}px`,
      top: `${this.bar.getBoundingClientRect().top - room.top - thumbnails.height_px - 8}px`,
      backgroundImage: `url("${new URL(file, this.#folder)}")`,
      backgroundPosition: `${-leftPx}px ${-topPx}px`,
    });
  }
}
