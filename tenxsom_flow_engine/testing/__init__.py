"""For tests of this product and of code built on it: a manual clock, scripted services, conformance suites."""
