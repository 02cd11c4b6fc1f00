"""The live edge as HTTP sees it: how far a stream has come, and the chunks of the segment that is under way."""
