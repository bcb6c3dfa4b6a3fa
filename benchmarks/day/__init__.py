"""Simulate a day of videos in a minute: the real engine with fake vendors and a simulated clock."""
