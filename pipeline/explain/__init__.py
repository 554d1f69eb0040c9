"""Explanation: which places of an image spoke for a class, and whether that can be believed."""
