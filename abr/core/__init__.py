"""The vocabulary: what titles, devices, options, decisions, events and playback are."""
