// What viewers call tracks: by the name that the source gave, or by their language.

const ROLES = {
  commentary: "commentary",
  description: "audio description",
  caption: "for the hard of hearing",
  "forced-subtitle": "foreign words only",
};

/** The name of a track of title.json. */
export function nameOf({ id, language = "und", name = "", role = "", channels = 0 }) {
  const spoken = language === "und" ? "" : (languages()?.of(language) ?? language);
  const heard = channels > 2 ? "5.1" : ["", "Mono", "Stereo"][channels];
  const words = name || spoken || heard || id;
  const more = [ROLES[role], channels > 2 && words !== heard && heard].filter(Boolean).join(", ");
  return more ? `${words} (${more})` : words;
}

function languages() {
  try {
    return new Intl.DisplayNames([navigator.language, "en"], { type: "language" });
  } catch {
    return null; // a browser with a language of its own
  }
}
