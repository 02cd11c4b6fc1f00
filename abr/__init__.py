"""Vocabulary, controllers, playback model, traces and simulator. Knows no other package; stdlib, numpy, msgspec."""
