"""Titles on their way out: to a folder or a bucket that a CDN sends, laid out as `--media-base` expects it."""
