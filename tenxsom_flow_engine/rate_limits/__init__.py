"""Quotas, pace and statistics of the video services, shared by all processes that use a store."""
