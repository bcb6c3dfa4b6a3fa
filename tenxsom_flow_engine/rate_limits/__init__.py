"""Quotas, pace and statistics of video services, shared by all processes that use the same store."""
