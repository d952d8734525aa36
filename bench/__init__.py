"""Benchmarks: each prints ratios against a peer or a ceiling, measured in one run on one machine."""
