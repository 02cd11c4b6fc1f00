"""Opinions of people: read, learnt from although they disagree, and made into a quality of experience."""
