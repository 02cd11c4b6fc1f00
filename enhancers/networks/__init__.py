"""Families of networks. Each knows its own shapes and cost without importing torch."""
