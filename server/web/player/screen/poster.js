// Before the film begins, one of its thumbnails stands where it will be seen: large, and so softened.

import { place, sheetUrl } from "./preview.js";

const AT = 0.2; // of the film: past titles and black

export class Poster {
  #has = false;

  constructor(box) {
    this.box = box;
  }

  /** Show one of this title, whose files are beside this URL; nothing where it has no thumbnails. */
  offer(title, titleUrl) {
    const { thumbnails, segment_duration_s: lasts } = title;
    this.#has = Boolean(thumbnails);
    this.show(true);
    if (!thumbnails) return;
    const { columns, rows, width_px: widthPx, height_px: heightPx } = thumbnails;
    const { sheet, leftPx, topPx } = place(thumbnails, AT * lasts.reduce((a, b) => a + b, 0));
    const share = (px, each, count) => `${count > 1 ? (100 * px) / (each * (count - 1)) : 0}%`;
    Object.assign(this.box.style, {
      backgroundImage: `url("${sheetUrl(sheet, titleUrl)}")`,
      backgroundSize: `${100 * columns}% ${100 * rows}%`,
      backgroundPosition: `${share(leftPx, widthPx, columns)} ${share(topPx, heightPx, rows)}`,
    });
  }

  show(wanted) {
    this.box.hidden = !wanted || !this.#has;
  }
}
