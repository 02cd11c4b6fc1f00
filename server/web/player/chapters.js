// The chapters of a title: marks on the seek bar, and a picker that leads to them.

/** Chapters with a name each, by their start: [{startS, name}]. */
export const chaptersOf = ({ chapters = [] }) =>
  chapters.map(({ start_s: startS, name }, place) => ({ startS, name: name || `Chapter ${place + 1}` }));

/** The place of the chapter that a media time is in; -1 before the first. */
export const chapterAt = (chapters, atS) => chapters.findLastIndex(({ startS }) => startS <= atS);

export class Chapters {
  #all = [];

  /** picker: a <select> in a <label>. marks: the <datalist> of the seek bar. seek(mediaS): leads there. */
  constructor({ picker, marks, seek }) {
    Object.assign(this, { picker, marks });
    picker.addEventListener("change", () => seek(this.#all[picker.value].startS));
  }

  /** Show those of this title from now on. */
  offer(title) {
    this.#all = chaptersOf(title);
    this.picker.parentElement.hidden = this.#all.length < 2;
    this.picker.replaceChildren(...this.#all.map(({ name }, place) => new Option(name, place)));
    this.marks.replaceChildren(...this.#all.map(({ name, startS }) => new Option(name, startS)));
  }

  /** The picture is at this media time. */
  show(atS) {
    const place = chapterAt(this.#all, atS);
    if (this.picker.ownerDocument.activeElement !== this.picker) this.picker.value = String(place);
  }
}
