"""The draft renderer: a topic in, H.264 and AAC out."""
