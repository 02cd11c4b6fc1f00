// Two clips in one place, to be looked at by turns, in step and pixel by pixel. Pages that ask for opinions share this:
// the one of `toprung bench pairs`, which works from the disk and has it put in, and the server's /rate.

/** The same list in another order, each as likely. */
export function shuffle(list) {
  for (let at = list.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1));
    [list[at], list[other]] = [list[other], list[at]];
  }
  return list;
}

export class TwoClips {
  seen = [false, false];

  /** stage: holds two videos and a tag for the letter. buttons: show A, show B. looked: called when one is shown. */
  constructor({ stage, buttons, looked }) {
    Object.assign(this, { stage, buttons, looked });
    this.videos = [...stage.querySelectorAll("video")];
    for (const [index, button] of buttons.entries()) button.addEventListener("click", () => this.show(index));
    // Both play in step: who is hidden follows who is seen.
    const [first, second] = this.videos;
    first.addEventListener("timeupdate", () => {
      if (Math.abs(second.currentTime - first.currentTime) > 0.08) second.currentTime = first.currentTime;
    });
    window.addEventListener("resize", () => this.fit());
  }

  get bothSeen() {
    return this.seen[0] && this.seen[1];
  }

  /** Load two files, begin both, and show the first. */
  async load(files) {
    this.seen = [false, false];
    const ready = this.videos.map(
      (video, index) =>
        new Promise((resolve, reject) => {
          video.onloadeddata = resolve;
          video.onerror = () => reject(new Error("A clip cannot be played here."));
          video.src = files[index];
        }),
    );
    await Promise.all(ready);
    this.fit();
    for (const video of this.videos) {
      video.currentTime = 0;
      video.play().catch(() => {}); // whoever chooses at once ends the playing before it has begun
    }
    this.show(0);
  }

  show(which) {
    this.videos.forEach((video, index) => (video.style.visibility = index === which ? "visible" : "hidden"));
    this.stage.querySelector("b").textContent = "AB"[which];
    this.buttons.forEach((button, index) => button.setAttribute("aria-pressed", `${index === which}`));
    this.seen[which] = true;
    this.looked();
  }

  /** One pixel of the clip is one pixel of the screen, where there is room. Size in real pixels, or null too early. */
  fit() {
    const [video] = this.videos;
    if (!video.videoWidth) return null;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.min(video.videoWidth / ratio, document.body.clientWidth - 24);
    const height = (width * video.videoHeight) / video.videoWidth;
    Object.assign(this.stage.style, { width: `${width}px`, height: `${height}px` });
    return [Math.round(width * ratio), Math.round(height * ratio)];
  }
}
