"""Live streams: a source that is running becomes a ladder in real time, watchable while it runs."""
