"""Looking at an installation from outside: what is well, what is not, and what to type to mend it."""
