"""Federated tuning: what a player trains of a network on pictures as they came, and what the server makes of it."""
