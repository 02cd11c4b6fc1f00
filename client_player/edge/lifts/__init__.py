"""Lifting segments: how one is lifted, the processes that do it, and which comes next."""
