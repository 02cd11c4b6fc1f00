"""`toprung demo --live`: a clip as a live stream that is learnt while it runs, and three viewers of it."""
