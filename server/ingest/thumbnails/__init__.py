"""Thumbnails: small pictures of a title, which players show beside the seek bar."""
