"""Toprung's own controller: rendition and enhancer chosen together, by the values of what they lead to."""
