"""Metrics, and the feed of events for those who watch."""
