"""A day of videos in a minute: the real engine, services that are not there, and a clock that is moved by hand."""
