"""Channels: their settings, their fair share of admissions, and their schedules."""
