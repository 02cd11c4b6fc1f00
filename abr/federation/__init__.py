"""Federated tuning: what a player's update of a network is, as a vector that is fit for secure aggregation."""
