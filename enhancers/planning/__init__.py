"""Frame plans: what each frame's actions bring, and which to take for how much computing."""
