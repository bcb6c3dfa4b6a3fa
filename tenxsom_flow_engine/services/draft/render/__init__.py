"""The draft renderer: makes an H.264 and AAC video from a topic."""
