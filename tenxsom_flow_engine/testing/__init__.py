"""Support for tests of the engine and of code built on it: a manual clock, scripted services, conformance suites."""
