"""Training of networks: pairs, losses, trainers."""
