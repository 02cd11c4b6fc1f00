"""`toprung protect`: a title's pictures and sound encrypted (ISO/IEC 23001-7), for players that are given the key."""
