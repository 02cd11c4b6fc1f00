"""Downloads: plain, compressed, and shaped by a network trace."""
