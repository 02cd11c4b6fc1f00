// Small pictures of the film above the seek bar: what is to be seen where the pointer is, and in which chapter that is.

import { clock } from "../../parts/clock.js";
import { chapterAt, chaptersOf } from "../chapters.js";

const NO_PICTURE = { width_px: 160, height_px: 24 };

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

/** The file of a sheet, counted from 0. */
export const sheetUrl = (sheet, titleUrl) =>
  new URL(`thumbnails/sheet-${String(sheet + 1).padStart(5, "0")}.jpg`, titleUrl).href;

export class Preview {
  #thumbnails = null;
  #chapters = [];
  #folder = null;

  /** bar: the seek bar, a range of media seconds. box: shown above it, with a caption and the picture as background. */
  constructor(bar, box, caption) {
    Object.assign(this, { bar, box, caption });
    bar.addEventListener("pointermove", (event) => this.#show(event));
    for (const event of ["pointerleave", "pointercancel"]) bar.addEventListener(event, () => (box.hidden = true));
    bar.addEventListener("pointerup", ({ pointerType }) => (box.hidden ||= pointerType !== "mouse"));
  }

  /** Show those of this title from now on, whose files are beside this URL. */
  offer(title, titleUrl) {
    this.#thumbnails = title.thumbnails ?? null;
    this.#chapters = chaptersOf(title);
    this.#folder = titleUrl;
    this.box.hidden = true;
  }

  #show({ clientX }) {
    const thumbnails = this.#thumbnails;
    if ((!thumbnails && !this.#chapters.length) || this.bar.disabled) return;
    const { left, width } = this.bar.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (clientX - left) / width));
    const atS = Number(this.bar.min) + share * (Number(this.bar.max) - Number(this.bar.min));
    const chapter = this.#chapters[chapterAt(this.#chapters, atS)];
    this.caption.textContent = [clock(atS), chapter?.name].filter(Boolean).join(" · ");
    this.box.hidden = false;
    const { width_px: widthPx, height_px: heightPx } = thumbnails ?? NO_PICTURE;
    const room = this.box.offsetParent.getBoundingClientRect();
    const leftmost = clientX - room.left - widthPx / 2;
    Object.assign(this.box.style, {
      width: `${widthPx}px`,
      height: `${heightPx}px`,
      left: `${Math.min(Math.max(0, leftmost), Math.max(0, room.width - widthPx))}px`,
      top: `${this.bar.getBoundingClientRect().top - room.top - heightPx - 8}px`,
      ...(thumbnails ? this.#picture(thumbnails, atS) : { backgroundImage: "none" }),
    });
  }

  #picture(thumbnails, atS) {
    const { sheet, leftPx, topPx } = place(thumbnails, atS);
    return {
      backgroundImage: `url("${sheetUrl(sheet, this.#folder)}")`,
      backgroundPosition: `${-leftPx}px ${-topPx}px`,
    };
  }
}
