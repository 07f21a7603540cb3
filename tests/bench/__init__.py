"""Benchmarks: ratios measured in one run against a named reference. `make bench` prints them, no test asserts them."""
