"""What tests of this product, and of code built on it, need: a clock moved by hand, scripted services, conformance suites."""
