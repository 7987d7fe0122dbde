"""Benchmarks: speed and memory as ratios against named peers, each in one run."""
