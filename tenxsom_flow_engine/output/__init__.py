"""Finished videos: the output folder, media checks and metadata."""
