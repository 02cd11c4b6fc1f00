"""Prepares a title: probe, plan a ladder, encode, package, measure, publish."""
