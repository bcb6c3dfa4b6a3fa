"""Topics in: reading them from files, choosing them from a built-in list, and planning when each is made."""
