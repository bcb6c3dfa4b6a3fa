"""The rate limiter's public names: `from rate_limiter import UseAPIRateLimiter, RateLimitedAPIClient`."""

from tenxsom_flow_engine.python_api.rate_limiter import RateLimitedAPIClient, UseAPIRateLimiter

__all__ = ["RateLimitedAPIClient", "UseAPIRateLimiter"]
