"""Saved models: one file with weights, classes and provenance, opened with care wherever it came from."""
