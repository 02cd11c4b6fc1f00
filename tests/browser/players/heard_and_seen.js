// What a page's <video> shows and sounds like at each instant, of counted_film.py's film: window.heardAndSeen().
"use strict";

/**
 * Listens to the first <video> of the page, and looks at it. `gather` waits for so many pictures in a row, from a
 * number on, while the loudest tone is within a band. Gives of each [its number, Hz], or null after `limitMs`.
 * `delay` holds back what is heard.
 */
window.heardAndSeen = () => {
  const BITS = 8, WINDOW = 2048, FLOOR_DB = -70;
  const video = document.querySelector("video");
  const strip = new OffscreenCanvas(BITS * 4, 4).getContext("2d", { willReadFrequently: true });
  const context = new AudioContext({ sampleRate: 48000 });
  const held = new DelayNode(context);
  const analyser = new AnalyserNode(context, { fftSize: WINDOW, smoothingTimeConstant: 0 });
  context.createMediaElementSource(video).connect(held).connect(analyser).connect(context.destination);
  const spectrum = new Float32Array(WINDOW / 2);

  /** The loudest frequency, between the bins: a parabola through the decibels of a peak (Blackman's window). */
  const loudestHz = () => {
    analyser.getFloatFrequencyData(spectrum);
    let peak = 1;
    for (let bin = 2; bin < spectrum.length - 1; bin++) if (spectrum[bin] > spectrum[peak]) peak = bin;
    if (!(spectrum[peak] > FLOOR_DB)) return 0;
    const [left, middle, right] = spectrum.slice(peak - 1, peak + 2);
    return (peak + (left - right) / (left - 2 * middle + right) / 2) * context.sampleRate / WINDOW;
  };

  const numberSeen = () => {
    const { width, height } = strip.canvas;
    strip.drawImage(video, 0, 0, width, height);
    const { data } = strip.getImageData(0, height / 2, width, 1);
    return Array.from({ length: BITS }, (_, bit) => data[(bit * 4 + 2) * 4] > 127 ? 2 ** bit : 0).reduce((a, b) => a + b);
  };

  const gather = ({ from, lowHz, highHz, count, limitMs }) => new Promise(done => {
    const found = [];
    setTimeout(() => done(null), limitMs); // also where no picture comes
    const look = () => video.requestVideoFrameCallback(() => {
      const number = numberSeen(), hz = loudestHz();
      if (number >= from && hz >= lowHz && hz <= highHz) found.push([number, hz]);
      else found.length = 0;
      if (found.length < count) look(); else done(found);
    });
    look();
  });
  return { gather, delay: seconds => { held.delayTime.value = seconds; } };
};
