"""Benchmarks of real sessions."""
