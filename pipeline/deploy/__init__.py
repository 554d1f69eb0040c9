"""Deployment: exports, runtimes, latency, and the comparison of all of them."""
