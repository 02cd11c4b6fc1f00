"""Files kept on the disk, bounded in bytes, and checked before they are given out."""
