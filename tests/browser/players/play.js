// Plays ?src=… in the stock player ?player=… and notes what a viewer sees, in window.seen.
"use strict";

const asked = new URLSearchParams(location.search);
const player = asked.get("player");
const source = asked.get("src");
const bufferGoalS = Number(asked.get("buffer_s")); // 0: the player's own
const cmcd = asked.get("cmcd"); // off, or where CMCD version 2 events go; else version 1 in the query
const rate = Number(asked.get("rate") || 1);
const stopS = Number(asked.get("stop_s") || Infinity); // after the last seek
const seeks = JSON.parse(asked.get("seeks") || "[]"); // [media time s at which, where to], one after the other
const catchUpRate = Number(asked.get("catch_up") || 1); // how fast hls.js may play to come back to its target
const clockFps = Number(asked.get("clock") || 0); // burnt_clock.py's pictures a second, when it is the source
const language = asked.get("language"); // of the sound; none: what the player takes
const text = asked.get("text"); // language of the subtitles; none: as the player has it
const textCodec = asked.get("text_codec"); // of the subtitles, such as stpp; none: as the player has it
const key = (asked.get("key") || ":").split(":"); // its id and itself in hex, of a protected title
const licence = asked.get("licence"); // where to ask for it instead
const thumbnailS = Number(asked.get("thumbnail") || -1); // the instant whose thumbnail is looked for; below 0: none
const video = document.getElementById("video");

const seen = window.seen = {
  frames: [], // of each composed frame [media time s, height px, currentTime when shown, instant s]
  stalls: [], // [media time s, seconds] that the clock stood still after the first frame, seeks apart
  latencies: [], // with a clock, of each composed frame [instant s, from glass to glass s, by the player's own count s]
  chapters: [], // with a thumbnail: [name, from s, to s] of each that Shaka knows
  thumbnail: null, // of the instant ?thumbnail=…: {url, x, y, width, height}
  tracks: null, // with a language: those of sounds and of texts that the player knows
  cues: [], // of each that is to be read [media time s when the browser told of it, its words]
  errors: [], startupS: null, ended: false, audioBytes: 0,
};
const begunMs = performance.now();
const POLL_MS = 40;
let movedMs = begunMs, movedS = 0, sought = false;

const LIBRARIES = {
  "dashjs-5": "npm/dashjs-5/dist/modern/umd/dash.all.min.js",
  "dashjs-4": "npm/dashjs-4/dist/dash.all.min.js",
  "shaka-5": "npm/shaka-5/dist/shaka-player.compiled.js",
  "shaka-4": "npm/shaka-4/dist/shaka-player.compiled.js",
  "hls.js": "npm/hls.js/dist/hls.min.js",
};
const PLAYERS = { "dashjs-5": playDash, "dashjs-4": playDash, "shaka-5": playShaka, "shaka-4": playShaka, "hls.js": playHls };

// How a viewer chooses while the film plays: sound(language, channels), text(language), and the chapters' beginnings.
let choose = null;
const picked = (tracks, language, channels, channelsOf) =>
  tracks.find(track => language === (track.lang ?? track.language) && (!channels || channelsOf(track) === channels));

const glassToGlassS = clockFps ? burntClock(video, clockFps) : null;
let ownLatencyS = () => NaN;

function load(url) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = url;
    script.onload = done;
    script.onerror = () => failed(new Error("cannot load " + url));
    document.head.append(script);
  });
}

function playDash() {
  const dash = dashjs.MediaPlayer().create();
  const streaming = {};
  if (bufferGoalS) {
    streaming.buffer = { bufferTimeAtTopQuality: bufferGoalS, bufferTimeAtTopQualityLongForm: bufferGoalS };
    streaming.buffer[player === "dashjs-5" ? "bufferTimeDefault" : "stableBufferTime"] = bufferGoalS;
  }
  if (cmcd !== "off") streaming.cmcd = { enabled: true, mode: "query", cid: "test" };
  if (cmcd && cmcd !== "off") {
    const keys = ["e", "ts", "sn", "url", "rc", "ttfb", "ttlb", "sid", "cid", "v", "bl", "ot"];
    const target = { enabled: true, url: cmcd, events: ["rr"], enabledKeys: keys, includeInRequests: ["segment"] };
    Object.assign(streaming.cmcd, { version: 2, applyParametersFromMpd: false, eventTargets: [target] });
  }
  dash.updateSettings({ streaming });
  if (language) {
    dash.on("streamInitialized", () => {
      const [sounds, texts] = ["audio", "text"].map(kind => dash.getTracksFor(kind));
      tell(sounds.map(track => track.lang), texts.map(track => track.lang));
    });
  }
  dash.on("streamInitialized", () => {
    const channelsOf = track => Number(track.audioChannelConfiguration[0].value);
    choose = {
      sound: (language, channels) => dash.setCurrentTrack(picked(dash.getTracksFor("audio"), language, channels, channelsOf)),
      text: async language => { // dash.js loses what is under way when a viewer seeks
        dash.setTextTrack(dash.getTracksFor("text").findIndex(track => track.lang === language));
        await withinMs(10000, () => [...video.textTracks].some(track => track.mode === "showing" && track.cues?.length));
      },
      chapters: async () => [], // dash.js knows of none
    };
  });
  if (thumbnailS >= 0) {
    dash.on("streamInitialized", () => dash.provideThumbnail(thumbnailS, ({ url, x, y, width, height }) => {
      seen.thumbnail = { url, x, y, width, height };
    }));
  }
  dash.on("error", event => seen.errors.push("dash.js: " + JSON.stringify(event.error || event)));
  ownLatencyS = () => dash.getCurrentLiveLatency();
  if (key[0]) dash.setProtectionData({ "org.w3.clearkey": { clearkeys: { [base64url(key[0])]: base64url(key[1]) } } });
  else if (licence) dash.setProtectionData({ "org.w3.clearkey": { serverURL: licence } });
  dash.initialize(video, source, true);
  if (textCodec) {
    const drawn = document.body.appendChild(document.createElement("div"));
    dash.attachTTMLRenderingDiv(drawn);
    const note = () => drawn.textContent && seen.cues.push([video.currentTime, drawn.textContent]);
    new MutationObserver(note).observe(drawn, { childList: true, subtree: true });
  }
  if (language) {
    dash.setInitialMediaSettingsFor("audio", { lang: language });
    dash.setInitialMediaSettingsFor("text", { lang: text });
  }
}

async function playShaka() {
  shaka.polyfill.installAll();
  const it = new shaka.Player();
  await it.attach(video);
  it.addEventListener("error", event => seen.errors.push("shaka: " + event.detail.code + " " + event.detail.data));
  it.configure({ cmcd: { enabled: cmcd !== "off", useHeaders: false } });
  if (bufferGoalS) it.configure({ streaming: { bufferingGoal: bufferGoalS } });
  if (key[0]) it.configure({ drm: { clearKeys: { [key[0]]: key[1] } } });
  else if (licence) it.configure({ drm: { servers: { "org.w3.clearkey": licence } } });
  ownLatencyS = () => it.getStats().liveLatency;
  await it.load(source);
  if (language) {
    const [sounds, texts] = [it.getAudioTracks(), it.getTextTracks()];
    tell(sounds.map(track => track.language), texts.map(track => track.language));
    it.selectAudioTrack(sounds.find(track => track.language === language));
    it.selectTextTrack(texts.find(track => track.language === text && isAsked(track.codecs)));
    await it.setTextTrackVisibility?.(true);
  }
  choose = {
    sound: (language, channels) => it.selectAudioTrack(picked(it.getAudioTracks(), language, channels, track => track.channelsCount)),
    text: language => it.selectTextTrack(picked(it.getTextTracks(), language)),
    fast: rate => it.trickPlay(rate),
    chapters: async () => {
      const [track] = it.getChaptersTracks();
      return track ? (await it.getChaptersAsync(track.language)).map(({ startTime }) => startTime) : [];
    },
  };
  if (thumbnailS >= 0) {
    const [track] = it.getChaptersTracks();
    const chapters = track ? await it.getChaptersAsync(track.language) : [];
    seen.chapters = chapters.map(({ title, startTime, endTime }) => [title, startTime, endTime]);
    const { uris, positionX: x, positionY: y, width, height } = await it.getThumbnails(it.getImageTracks()[0].id, thumbnailS);
    seen.thumbnail = { url: uris[0], x, y, width, height };
  }
  await video.play();
}

function playHls() {
  const buffer = bufferGoalS ? { maxBufferLength: bufferGoalS, maxMaxBufferLength: bufferGoalS } : {};
  const wishes = language ? { audioPreference: { lang: language }, subtitlePreference: { lang: text } } : {};
  if (asked.get("hdr")) wishes.videoPreference = {}; // it asks for the display then
  const drm = licence ? { emeEnabled: true, drmSystems: { "org.w3.clearkey": { licenseUrl: licence } } } : {};
  const hls = new Hls({ ...buffer, ...wishes, ...drm, maxLiveSyncPlaybackRate: catchUpRate, cmcd: cmcd === "off" ? undefined : { useHeaders: false } });
  hls.on(Hls.Events.ERROR, (_name, data) => {
    const stalled = ["bufferStalledError", "bufferNudgeOnStall"].includes(data.details); // watched for below
    if (data.fatal || (data.type === "mediaError" && !stalled)) seen.errors.push("hls.js: " + data.details);
  });
  hls.on(Hls.Events.MANIFEST_PARSED, () => {
    if (language) {
      const [sounds, texts] = [hls.allAudioTracks, hls.allSubtitleTracks];
      tell(sounds.map(track => track.lang), texts.map(track => track.lang));
    }
    video.play();
  });
  hls.on(Hls.Events.MANIFEST_LOADED, (_name, { sessionData }) => {
    choose = {
      sound: (lang, channels) => hls.setAudioOption({ lang, channels: String(channels) }),
      text: lang => hls.setSubtitleOption({ lang }),
      chapters: async () => {
        const { URI } = sessionData["com.apple.hls.chapters"];
        const chapters = await (await fetch(new URL(URI, source))).json();
        return chapters.map(chapter => chapter["start-time"]);
      },
    };
  });
  hls.on(Hls.Events.SUBTITLE_TRACKS_UPDATED, (_name, { subtitleTracks }) => {
    if (textCodec) hls.subtitleTrack = subtitleTracks.findIndex(track => track.lang === text && isAsked(track.textCodec));
  });
  ownLatencyS = () => hls.latency;
  hls.loadSource(source);
  hls.attachMedia(video);
}

async function withinMs(limitMs, holds) {
  const endMs = performance.now() + limitMs;
  while (!holds() && performance.now() < endMs) await new Promise(done => setTimeout(done, POLL_MS));
}

const isAsked = codec => !textCodec || Boolean(codec?.includes(textCodec));

function base64url(hex) {
  const bytes = hex.match(/../g).map(digits => parseInt(digits, 16));
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function tell(sounds, texts) {
  seen.tracks = { sounds: [...new Set(sounds)].sort(), texts: [...new Set(texts)].sort() };
}

// Cues of the text track that shows, by the browser's own clock.
video.textTracks.addEventListener("addtrack", ({ track }) => track.addEventListener("cuechange", () => {
  for (const cue of track.activeCues ?? []) seen.cues.push([video.currentTime, cue.getCueAsHTML().textContent]);
}));

function watchFrames() {
  video.requestVideoFrameCallback((nowMs, frame) => {
    if (seen.startupS === null) {
      seen.startupS = (performance.now() - begunMs) / 1000;
      video.playbackRate = rate;
    }
    if (clockFps) seen.latencies.push([nowMs / 1000, glassToGlassS(), ownLatencyS()]);
    seen.frames.push([frame.mediaTime, frame.height, video.currentTime, nowMs / 1000]);
    watchFrames();
  });
}

// Not by the "waiting" event: Shaka stalls by setting the rate to 0, which says nothing.
function watchClock() {
  const nowMs = performance.now();
  if (seen.startupS === null || video.currentTime !== movedS) {
    if (seen.startupS !== null && !sought && nowMs - movedMs > 3 * POLL_MS) {
      seen.stalls.push([movedS, (nowMs - movedMs - POLL_MS) / 1000]);
    }
    movedMs = nowMs;
    movedS = video.currentTime;
    sought = video.seeking;
  }
  if (!seen.ended) setTimeout(watchClock, POLL_MS);
}

function end() {
  seen.audioBytes = video.webkitAudioDecodedByteCount;
  seen.ended = true;
  document.title = "ended";
}

video.addEventListener("timeupdate", () => {
  if (video.seeking) return;
  if (seeks.length) {
    if (video.currentTime >= seeks[0][0]) video.currentTime = seeks.shift()[1];
  } else if (video.currentTime >= stopS) { video.pause(); end(); }
});
video.addEventListener("error", () => seen.errors.push("video: " + video.error.code + " " + video.error.message));
video.addEventListener("ended", end);
watchFrames();
watchClock();
load(LIBRARIES[player]).then(PLAYERS[player]).catch(error => seen.errors.push(String(error)));
