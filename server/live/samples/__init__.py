"""Samples of a running stream, and the processes that are asked about them."""
