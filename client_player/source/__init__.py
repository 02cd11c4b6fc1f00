"""Where a title comes from, and who decides what to play of it."""
