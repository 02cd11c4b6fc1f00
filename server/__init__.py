"""Prepares titles and serves them over HTTP, choosing (rendition, enhancer) per segment. Needs no torch."""
