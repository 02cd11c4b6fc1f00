// Segments that come while they are made. dash.js has a loader of its own for them, which tells nobody of an answer's head
// before its end, and takes the waits between chunks for the network's. This one stands in its place.

import { Arrivals, heldMs } from "./arrivals.js";

/**
 * What dash.js takes in the place of its FetchLoader. link: the network that downloads come over. begins(response) hears of
 * each answer when its head is there. The request's `toprungArrivals` then tells how the answer comes.
 */
export const growingLoader = (link, begins) =>
  function () {
    return {
      load: (request, response) => load(request, response, link, begins),
      abort: () => {},
      reset: () => {},
      setConfig: () => {},
    };
  };

async function load(request, response, link, begins) {
  const { customData } = request;
  const aborting = new AbortController();
  aborting.signal.onabort = () => customData.onabort?.();
  customData.abort = () => aborting.abort();
  try {
    const { url, method, headers, credentials } = request;
    const answer = await fetch(url, { method, headers, credentials, signal: aborting.signal });
    const named = Object.fromEntries(answer.headers);
    Object.assign(response, { status: answer.status, statusText: answer.statusText, url: answer.url, headers: named });
    request.toprungArrivals = new Arrivals(latencyMs(request, named["server-timing"], link));
    begins(response);
    response.data = (await receive(answer.body.getReader(), request, link)).buffer;
  } catch {
    // what came is not the whole: dash.js finds no data, and tries again
  }
  customData.onloadend?.();
}

function latencyMs({ toprungMs }, serverTiming, link) {
  const heardMs = performance.now() - toprungMs - heldMs(serverTiming);
  return Math.max(heardMs, link.latencyMs, 0);
}

/** Hands on each chunk as it comes; returns what is left behind the last one. */
async function receive(reader, { toprungMs, toprungArrivals: arrivals, customData }, link) {
  let rest = new Uint8Array();
  for (let told = false; ; told = true) {
    const { done, value } = await reader.read();
    if (done) break;
    const cameMs = performance.now();
    await link.carry(value.length, Math.max(toprungMs, cameMs - link.latencyMs));
    arrivals.piece(value.length, cameMs, link.kbps.length ? performance.now() : cameMs);
    rest = joined(rest, value);
    const end = endOfChunks(rest);
    if (end) customData.onprogress?.({ data: rest.slice(0, end).buffer, lengthComputable: false, noTrace: true });
    else if (!told) customData.onprogress?.({ lengthComputable: false, noTrace: true });
    rest = rest.slice(end);
    if (!rest.length) arrivals.caughtUp();
  }
  const { sizeBytes, durationMs } = arrivals;
  customData.onprogress?.({ loaded: sizeBytes, total: sizeBytes, lengthComputable: true, time: durationMs });
  return rest;
}

function joined(before, more) {
  const all = new Uint8Array(before.length + more.length);
  all.set(before);
  all.set(more, before.length);
  return all;
}

/** Where the last whole chunk ends: with its `mdat` (ISO/IEC 14496-12, 4.2). Our boxes have sizes of 32 bits. */
function endOfChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let end = 0;
  for (let offset = 0; offset + 8 <= bytes.length;) {
    const size = view.getUint32(offset);
    if (size < 8 || offset + size > bytes.length) break;
    if (view.getUint32(offset + 4) === MDAT) end = offset + size;
    offset += size;
  }
  return end;
}

const MDAT = 0x6d646174;
