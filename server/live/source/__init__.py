"""Where a stream comes from: its address, its packets and pictures, and what they say of themselves."""
