// Keys that work wherever on the page the viewer is, but where the same key chooses, moves or presses something.

function isTaken({ key, target }) {
  if (target.closest("select")) return true; // letters choose there
  if (key === " ") return Boolean(target.closest("a, button"));
  return key.startsWith("Arrow") && Boolean(target.closest("input, [tabindex]"));
}

/** actions: what each key does, by its name. An arrow that is held repeats. */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    const { key, repeat, ctrlKey, metaKey, altKey } = event;
    const act = actions[key] ?? actions[key.toLowerCase()];
    if (!act || ctrlKey || metaKey || altKey || isTaken(event)) return;
    if (key === " ") event.preventDefault(); // the page does not scroll
    if (!repeat || key.startsWith("Arrow")) act();
  });
}
