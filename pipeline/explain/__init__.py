"""Explanation: heat maps of the evidence for a class, and how faithful they are."""

import lazy_loader

# A module is loaded when it is first used: a script's --help needs none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules={
        "cam",
        "expected_gradients",
        "explainer",
        "faithfulness",
        "imputation",
        "plots",
        "receptive_field",
        "verdict",
    },
)
