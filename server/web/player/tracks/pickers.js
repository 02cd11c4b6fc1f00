// The viewer's choice of sound and of subtitles. Each picker shows where there is something to choose.

import { nameOf } from "./names.js";
import { rememberLanguage, rememberedLanguage } from "./preferences.js";
import { Subtitles } from "./subtitles.js";

const OFF = "-1";

export class TrackPickers {
  #title = {};
  #folderUrl = "";

  /** sounds, texts: <select> in a <label> each. hear(index): has the sound with this number played. */
  constructor({ video, cues, sounds, texts, hear, failed }) {
    Object.assign(this, { sounds, texts, hear, failed });
    this.subtitles = new Subtitles(video, cues);
    sounds.addEventListener("change", () => this.#pickSound());
    texts.addEventListener("change", () => this.#pickSubtitles());
  }

  /** Offer what a title has. folderUrl: where its files are. */
  offer(title, folderUrl) {
    this.#title = title;
    this.#folderUrl = folderUrl;
    const { subtitles = [] } = title;
    const audio = (title.audio ?? []).filter(({ codecs }) => codecs !== "opus"); // sessions have none; they come last
    fill(this.sounds, audio, audio.length > 1, optionsOf(audio));
    fill(this.texts, subtitles, subtitles.length > 0, [new Option("Off", OFF), ...optionsOf(subtitles)]);
    this.sounds.value = String(Math.max(0, indexOf(audio, rememberedLanguage("sound"))));
    this.texts.value = String(indexOf(subtitles, rememberedLanguage("subtitles")));
    this.hear(Number(this.sounds.value) || 0);
    this.#showSubtitles();
  }

  #pickSound() {
    const index = Number(this.sounds.value);
    rememberLanguage("sound", this.#title.audio[index].language ?? "");
    this.hear(index);
  }

  #pickSubtitles() {
    rememberLanguage("subtitles", this.#title.subtitles?.[this.texts.value]?.language ?? "");
    this.#showSubtitles();
  }

  #showSubtitles() {
    const picked = this.#title.subtitles?.[this.texts.value];
    const url = picked && new URL(`subtitles/${picked.id}.vtt`, this.#folderUrl).href;
    this.subtitles.show(url, picked?.language).catch(this.failed);
  }
}

const optionsOf = (tracks) => tracks.map((track, index) => new Option(nameOf(track), String(index)));

const indexOf = (tracks, language) => (language ? tracks.findIndex((track) => track.language === language) : -1);

function fill(select, tracks, shown, options) {
  select.replaceChildren(...options);
  select.closest("label").hidden = !shown;
}
