"""Federated tuning on the server: rounds, versions of a network, and the judge that says which of them is kept."""
