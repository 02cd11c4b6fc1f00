// burnt_clock.py's bar code: 32 cells across the top sixth of a picture.
"use strict";

/** What tells how long ago the picture that `video` shows was taken, in seconds; NaN where it cannot be read. */
window.burntClock = (video, fps) => {
  const CELLS = 32, NUMBER_BITS = 24, CHECK_BITS = 6, STRIP = 6;
  const strip = new OffscreenCanvas(CELLS * 4, 8).getContext("2d", { willReadFrequently: true });
  return () => {
    const { width, height } = strip.canvas;
    strip.drawImage(video, 0, 0, video.videoWidth, video.videoHeight / STRIP, 0, 0, width, height);
    const { data } = strip.getImageData(0, height / 2, width, 1);
    const light = Array.from({ length: CELLS }, (_, cell) => data[(cell * 4 + 2) * 4 + 1]);
    const bits = light.map(value => value > (light[0] + light[1]) / 2);
    const number = from => bits.slice(from).reduce((sum, bit, index) => sum + bit * 2 ** index, 0);
    const shown = number(2) % 2 ** NUMBER_BITS;
    if (number(2 + NUMBER_BITS) !== shown % (2 ** CHECK_BITS - 1)) return NaN;
    const now = Date.now() / 1000 * fps;
    return ((now - shown) % 2 ** NUMBER_BITS) / fps;
  };
};
