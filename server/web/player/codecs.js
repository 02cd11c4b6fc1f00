// What this browser decodes, and the one codec that a session plays: a title may have a ladder of rungs in each of several.

const ENTRIES = { h264: ["avc1", "avc3"], hevc: ["hvc1", "hev1"], av1: ["av01"] };

const codecOf = ({ codecs }) =>
  Object.keys(ENTRIES).find((name) => ENTRIES[name].includes(codecs.split(".")[0])) ?? codecs;

/** The title with the rungs of one codec alone; as it is where it has none of that name. */
export function inCodec(title, codec) {
  const renditions = title.renditions.filter((rung) => codecOf(rung) === codec);
  return renditions.length ? { ...title, renditions } : title;
}

/**
 * Names of the codecs that the title comes in and this browser decodes: smoothly, if any. Throws where there is none, since
 * players would play the film's sound alone.
 */
export async function decodedCodecs(title) {
  const tops = [...new Map(title.renditions.map((rung) => [codecOf(rung), rung])).entries()];
  const told = await Promise.all(tops.map(async ([name, top]) => ({ name, ...(await ability(title, top)) })));
  const able = told.filter(({ supported }) => supported);
  if (!able.length) {
    const all = tops.map(([, { codecs }]) => codecs).join(", ");
    throw Object.assign(new Error(`This browser cannot decode the pictures of this film (${all}).`), { status: 415 });
  }
  const smooth = able.filter((each) => each.smooth);
  return (smooth.length ? smooth : able).map(({ name }) => name);
}

/** {supported, smooth} of the largest rung in a codec; browsers that do not tell are believed to be able. */
async function ability(title, top) {
  const contentType = `video/mp4; codecs="${top.codecs}"`;
  const source = window.ManagedMediaSource ?? window.MediaSource; // phones have the former alone
  if (source && !source.isTypeSupported(contentType)) return { supported: false, smooth: false };
  const video = {
    contentType,
    width: top.width_px,
    height: top.height_px,
    bitrate: top.bandwidth_bps,
    framerate: title.frame_rate[0] / title.frame_rate[1],
  };
  const asked = navigator.mediaCapabilities?.decodingInfo({ type: "media-source", video });
  const { supported = true, smooth = true } = (await asked?.catch(() => ({}))) ?? {};
  return { supported, smooth };
}
