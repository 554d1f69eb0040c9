"""Data: sources, data sets, augmentation, batches; raw pixels in [0, 255] all the way."""

import lazy_loader

# A module is loaded when it is first used: a script's --help needs none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules={
        "arrays",
        "augment",
        "batches",
        "corrupt",
        "cifar100_labels",
        "datasets",
        "digits",
        "download",
        "folder",
        "own",
        "papers",
        "pictures",
        "plain_pickle",
        "registry",
        "rows",
        "sources",
        "toy",
    },
)
