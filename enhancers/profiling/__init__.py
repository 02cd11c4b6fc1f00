"""Measuring a device: milliseconds, memory and energy of each way to run a network, and predicting what was not run."""
