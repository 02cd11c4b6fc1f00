"""Subtitles: text tracks of a source, and files beside it, to WebVTT on the title's clock."""
