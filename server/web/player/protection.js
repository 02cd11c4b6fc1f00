// Protected titles: the browser asks for their key where the title says (W3C Encrypted Media Extensions, ClearKey).

const SYSTEM = "org.w3.clearkey";

/** Why enhancers leave a protected title alone. */
export const UNREADABLE =
  "This title is protected: the browser keeps its frames to itself, so that no enhancer can read them; it plays plainly.";

/** Let `video` play a title that is protected so; one that is not plays as before. Throws when there is no key to be had. */
export async function unlock(video, protection) {
  if (!protection) return video.mediaKeys && video.setMediaKeys(null);
  if (!protection.licence_url)
    throw new Error("This title is protected, and does not say where this page could ask for its key.");
  const access = await navigator.requestMediaKeySystemAccess(SYSTEM, [configuration(protection.scheme)]).catch(() => {
    throw new Error("This title is protected, and this browser knows no ClearKey; it may want a page sent by HTTPS.");
  });
  const keys = await access.createMediaKeys();
  await video.setMediaKeys(keys);
  video.addEventListener("encrypted", ({ initDataType, initData }) => {
    if (video.mediaKeys !== keys) return;
    const session = keys.createSession();
    session.addEventListener("message", ({ message }) => answer(session, message, protection.licence_url));
    session.generateRequest(initDataType, initData).catch(console.warn);
  });
}

/** The page's build of dash.js knows nothing of protection, and refuses manifests that tell of it. */
export function withoutProtection(response) {
  const { data } = response;
  if (typeof data === "string")
    response.data = data.replace(/<ContentProtection\b[^>]*?(\/>|>[\s\S]*?<\/ContentProtection>)/g, "");
  return response;
}

async function answer(session, body, url) {
  const headers = { "Content-Type": "application/json" };
  const reply = await fetch(url, { method: "POST", body, headers }).catch((problem) => problem);
  if (!reply.ok) return console.warn(`No key for this title: ${url} says ${reply.status ?? reply.message}.`);
  await session.update(await reply.arrayBuffer()).catch(console.warn);
}

function configuration(encryptionScheme) {
  const of = (contentType) => [{ contentType, encryptionScheme }];
  return {
    initDataTypes: ["cenc"],
    videoCapabilities: of('video/mp4; codecs="avc1.42E01E"'),
    audioCapabilities: of('audio/mp4; codecs="mp4a.40.2"'),
  };
}
