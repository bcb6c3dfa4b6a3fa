"""The built-in draft renderer: a topic becomes a short video on this machine, without network or key."""
