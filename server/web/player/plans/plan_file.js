// Reads the file of a frame plan, as abr/core/frame_plan.py describes it. Whatever it says is checked before it is used.

const MAGIC = "toprfp1\n";
const HEAD_BYTES = MAGIC.length + 32 + 1 + 4;
const EXITS_MAX = 6;
export const NOTHING = 0;
export const CARRY = 1;
export const FIRST_EXIT = 2;

/**
 * The action of each frame of a title, Uint8Array: nothing, carry, or FIRST_EXIT and on for the exits.
 *
 * segmentFrames: how many frames each segment has. weights, exits: what the plan must be for, a sha256 and how many.
 */
export async function readPlan(data, { segmentFrames, weights, exits }) {
  const head = new Uint8Array(data, 0, Math.min(HEAD_BYTES, data.byteLength));
  const text = String.fromCharCode(...head.subarray(0, MAGIC.length));
  if (head.length < HEAD_BYTES || text !== MAGIC) throw new Error("this is no frame plan of this version");
  const made = [...head.subarray(MAGIC.length, MAGIC.length + 32)].map((byte) => byte.toString(16).padStart(2, "0"));
  if (made.join("") !== weights || head[HEAD_BYTES - 5] !== exits || exits > EXITS_MAX)
    throw new Error("the frame plan is for other weights");
  const frames = new DataView(data).getUint32(HEAD_BYTES - 4, true);
  const expected = segmentFrames.reduce((sum, count) => sum + count, 0);
  if (frames !== expected) throw new Error(`the frame plan is for ${frames} frames; the title has ${expected}`);
  const pairs = await inflated(data.slice(HEAD_BYTES), (frames + 1) >> 1);
  const actions = Uint8Array.from({ length: frames }, (_, number) => (pairs[number >> 1] >> (4 * (number & 1))) & 15);
  if (!actions.every((action) => action < FIRST_EXIT + exits)) throw new Error("the frame plan has an unknown action");
  for (let segment = 0, first = 0; segment < segmentFrames.length; first += segmentFrames[segment++])
    if (actions[first] === CARRY) throw new Error(`the frame plan carries into segment ${segment}`);
  return actions;
}

/** Exactly so many bytes, and never more memory than they take. */
async function inflated(packed, bytes) {
  const found = new Uint8Array(bytes);
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (size + part.value.length > bytes) {
      await reader.cancel();
      throw new Error("the frame plan is longer than its frames need");
    }
    found.set(part.value, size);
    size += part.value.length;
  }
  if (size !== bytes) throw new Error("the frame plan ends too early");
  return found;
}
