"""Live titles as sessions need them: what is there, what is to come, and what it is worth to a device."""
