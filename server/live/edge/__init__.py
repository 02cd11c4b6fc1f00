"""The live edge: what is there of a stream, chunk by chunk, and how its manifests tell of it."""
