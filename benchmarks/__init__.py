"""Benchmarks: how fast, how large, how faithful; each a script that prints what it measures and keeps it in output/."""
