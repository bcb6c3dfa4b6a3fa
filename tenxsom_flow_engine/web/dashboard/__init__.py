"""The dashboard: what an operator asks, one module for each view, behind a login with the admin token."""
