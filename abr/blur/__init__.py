"""The blur that a source was made with: its kernel, a code of ten floats, how it is told from pictures, its track."""
