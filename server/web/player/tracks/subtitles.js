// Subtitles over the picture. The browser keeps their time; they are drawn here, since lifted frames cover the video.

export class Subtitles {
  #shown = null; // the <track> whose cues are drawn
  #wanted = 0; // counts choices: an answer that comes late is not heeded

  /** cues: the element that they are drawn into. */
  constructor(video, cues) {
    Object.assign(this, { video, cues });
  }

  /** Show the track at this URL from now on, or none. */
  async show(url, language = "") {
    const mine = ++this.#wanted;
    this.#drop();
    if (!url) return;
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`The subtitles cannot be had: the server answers ${answer.status}.`);
    const file = URL.createObjectURL(await answer.blob());
    if (mine !== this.#wanted) return URL.revokeObjectURL(file);
    this.#shown = Object.assign(document.createElement("track"), { kind: "subtitles", src: file, srclang: language });
    this.video.append(this.#shown);
    const { track } = this.#shown;
    track.mode = "hidden"; // the browser tells of cues, and draws none
    track.addEventListener("cuechange", () => this.#draw(track.activeCues));
    this.#shown.addEventListener("load", () => this.#draw(track.activeCues));
  }

  #drop() {
    if (this.#shown) URL.revokeObjectURL(this.#shown.src);
    this.#shown?.remove();
    this.#shown = null;
    this.cues.replaceChildren();
  }

  #draw(active) {
    const lines = [...(active ?? [])].map((cue) => {
      const line = document.createElement("p");
      line.append(cue.getCueAsHTML());
      return line;
    });
    this.cues.replaceChildren(...lines);
  }
}
