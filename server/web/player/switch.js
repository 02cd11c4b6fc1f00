// Whether the viewer wants to see enhanced pictures: remembered by the browser, where it may.

const KEPT = "toprung-lifts";

export function rememberedLifts() {
  try {
    return localStorage.getItem(KEPT) !== "no";
  } catch {
    return true; // storage is switched off
  }
}

export function rememberLifts(lifts) {
  try {
    localStorage.setItem(KEPT, lifts ? "yes" : "no");
  } catch {
    // it holds for this visit
  }
}
