"""Data: sources, data sets, augmentation, batches; raw pixels in [0, 255] all the way."""
