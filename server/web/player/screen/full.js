// Full screen: the picture with the controls over it. They go while the film plays and nobody moves.

const IDLE_MS = 3000;
const SIGNS = ["pointermove", "pointerdown", "keydown", "focusin"]; // that somebody is there

export class FullScreen {
  #timer = 0;
  #slept = false; // when the screen was touched last

  /** player: the picture with its controls. button: switches it. video: what plays. */
  constructor({ player, controls, button, video }) {
    Object.assign(this, { player, controls, button, video });
    button.hidden = !player.requestFullscreen && !video.webkitEnterFullscreen;
    button.addEventListener("click", () => this.#toggle());
    document.addEventListener("fullscreenchange", () => this.#wake());
    for (const sign of SIGNS) player.addEventListener(sign, () => this.#wake());
    for (const change of ["play", "pause"]) video.addEventListener(change, () => this.#wake());
    // The first touch brings the controls back, and does no more.
    player.addEventListener("pointerdown", () => (this.#slept = "idle" in player.dataset), { capture: true });
    player.addEventListener("click", (event) => this.#touched(event), { capture: true });
  }

  #toggle() {
    if (document.fullscreenElement) return document.exitFullscreen();
    if (this.player.requestFullscreen) return this.player.requestFullscreen().catch(() => {});
    this.video.webkitEnterFullscreen(); // a phone that shows nothing else so; its own controls are there
  }

  #touched(event) {
    if (this.#slept && event.pointerType === "touch") event.stopPropagation();
    this.#slept = false;
  }

  #wake() {
    const isFull = document.fullscreenElement === this.player;
    this.button.ariaPressed = String(isFull);
    if (isFull) this.player.style.setProperty("--controls", `${this.controls.offsetHeight}px`); // what is over them rises
    delete this.player.dataset.idle;
    clearTimeout(this.#timer);
    if (isFull && !this.video.paused) this.#timer = setTimeout(() => (this.player.dataset.idle = ""), IDLE_MS);
  }
}
