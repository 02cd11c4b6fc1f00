// The languages that the viewer picked, remembered by the browser, where it may.

const key = (kind) => `toprung-${kind}`;

/** kind: sound or subtitles. The language, or "" where none was picked. */
export function rememberedLanguage(kind) {
  try {
    return localStorage.getItem(key(kind)) ?? "";
  } catch {
    return ""; // storage is switched off
  }
}

export function rememberLanguage(kind, language) {
  try {
    localStorage.setItem(key(kind), language);
  } catch {
    // it holds for this visit
  }
}
