"""Benchmarks of enhancers."""
