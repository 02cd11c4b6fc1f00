// The canvas that lies over a video of somebody else's page, wherever the video goes.

const CONTROLS_PX = 72; // of the browser's own controls, which must stay in sight

export class Cover {
  #watching;
  #listening = new AbortController();
  canvas = null;

  /** `resized` hears when the video is shown at another size. */
  constructor(video, resized) {
    Object.assign(this, { video, resized });
    this.#watching = new ResizeObserver(() => {
      this.#place();
      resized();
    });
    this.#watching.observe(video);
    const { signal } = this.#listening;
    for (const event of ["pointerenter", "pointerleave", "focus", "blur", "play", "pause"])
      video.addEventListener(event, () => this.#uncoverControls(), { signal });
    window.addEventListener("resize", () => this.#place(), { signal });
  }

  /** How many of the screen's pixels the video is high. */
  get heightPx() {
    const { clientWidth, clientHeight, videoWidth, videoHeight } = this.video;
    return Math.min(clientHeight, (clientWidth * videoHeight) / (videoWidth || 1)) * window.devicePixelRatio;
  }

  /** A fresh canvas, and the part of it that a worker draws on. */
  draw() {
    this.canvas?.remove();
    this.canvas = Object.assign(document.createElement("canvas"), { hidden: true });
    this.canvas.setAttribute("aria-hidden", "true");
    this.canvas.dataset.toprung = "lifted";
    this.video.after(this.canvas);
    this.#place();
    return { canvas: this.canvas, offscreen: this.canvas.transferControlToOffscreen() };
  }

  remove() {
    this.#listening.abort();
    this.#watching.disconnect();
    this.canvas?.remove();
  }

  #place() {
    if (!this.canvas) return;
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = this.video;
    const { objectFit, objectPosition, borderRadius } = getComputedStyle(this.video);
    Object.assign(this.canvas.style, {
      position: "absolute",
      left: `${offsetLeft}px`,
      top: `${offsetTop}px`,
      width: `${offsetWidth}px`,
      height: `${offsetHeight}px`,
      pointerEvents: "none",
      objectFit,
      objectPosition,
      borderRadius,
    });
    this.#uncoverControls();
  }

  /** Where the browser shows its own controls, the canvas leaves room for them. */
  #uncoverControls() {
    if (!this.canvas) return;
    const { video } = this;
    const seen = video.controls && (video.paused || video.matches(":hover, :focus-within"));
    this.canvas.style.clipPath = seen ? `inset(0 0 ${CONTROLS_PX}px 0)` : "";
  }
}
