"""From downloaded segments to shown frames, each by its deadline."""
