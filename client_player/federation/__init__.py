"""Federated tuning of the player: it trains on pictures as they came, and hands in what it has learnt under masks."""
