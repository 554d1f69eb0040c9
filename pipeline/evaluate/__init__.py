"""Evaluation: metrics, test-time augmentation, and the plots of both."""
