"""Check an installation from outside, and say how to fix each problem."""
