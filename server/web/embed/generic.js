// The generic networks, which lie beside this module, and which of them a video asks for.

const SCALES = [1.5, 2, 3, 4];
const SQUEEZED = 2; // up to this scale networks work on the picture folded to half size
const TIERS = [
  ["high", 10],
  ["medium", 5],
  ["low", 2],
]; // blocks, the best first; as enhancers/networks/catalog.py has them
const WIDTH = 32;
const LARGER_MIN = 1.2; // times a frame's own size: less is not worth a network
const SHOWN_MAX_PX = 4096; // along a side of the lifted picture

const bodies = new Map(); // file → promise of its body

/** The scale nearest to how much larger than its pixels the video is shown; 0 when it is not. */
export function scaleFor({ videoWidth, videoHeight }, shownHeightPx) {
  const ratio = shownHeightPx / videoHeight;
  if (!(ratio >= LARGER_MIN)) return 0;
  const fitting = SCALES.filter((scale) => scale * Math.max(videoWidth, videoHeight) <= SHOWN_MAX_PX);
  const away = (scale) => Math.abs(Math.log(scale / ratio));
  return fitting.sort((a, b) => away(a) - away(b))[0] ?? 0;
}

/** All tiers at a scale, the best first: {tier, architecture, fetchChunks}. */
export function networksFor(scale) {
  const folded = scale <= SQUEEZED ? "d2" : "";
  return TIERS.map(([tier, depth], index) => ({
    tier,
    architecture: `plain-m${depth}c${WIDTH}x${scale}${folded}`,
    fetchChunks: () => Promise.all(TIERS.slice(index).map((_, number) => fetchChunk(scale, number + 1))),
  }));
}

function fetchChunk(scale, number) {
  const file = `generic-x${scale}-${number}.safetensors`;
  if (!bodies.has(file)) {
    const body = fetch(new URL(`../generic/${file}`, import.meta.url)).then((answer) => {
      if (!answer.ok) throw new Error(`the server answers ${answer.status} for ${file}`);
      return answer.arrayBuffer();
    });
    body.catch(() => bodies.delete(file)); // the next one that asks tries again
    bodies.set(file, body);
  }
  return bodies.get(file);
}
