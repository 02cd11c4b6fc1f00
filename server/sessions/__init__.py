"""What the server knows of a viewer, where that is kept, and how segments are decided."""
