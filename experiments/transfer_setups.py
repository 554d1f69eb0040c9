"""Setups of the transfer experiment: their names, their labels in plots and tables, and the rows of its plan."""

from dataclasses import dataclass

import mnist_classification as mnist
import resnet50_transfer_learning as resnet

SETUPS = ("random initialization", "pretrained", "frozen conv4", "frozen conv5", "custom CNN")
RANDOM, PRETRAINED, CONV4, CONV5, CUSTOM = SETUPS
FINE_TUNED = (PRETRAINED, RANDOM)  # ResNet50 with all of its layers trained
FROZEN = (CONV4, CONV5)  # a head on fixed features
REPEATS = {100: 3, 1_000: 3}  # training images -> how many such subsets are drawn; one of any other size
LARGEST_BATCH = {100: 64, 1_000: 128}
MINIMUM_STEPS = 1 / 4  # fraction of the steps that a recipe takes on all images


def label_of(setup: str, size: int, covers: str) -> str:
    """Label of a series in plots and tables: where its weights come from, and what was trained.

    Args:
        size: side of the images in pixels.
        covers: stages of ResNet50 that the weights file holds ("conv1-conv4"); for other setups anything.
    """
    conv5 = "ImageNet's" if covers.endswith("conv5") else "random, a control"
    return {
        RANDOM: "ResNet50, random initialization, all trained",
        PRETRAINED: f"ResNet50, ImageNet {covers}, fine-tuned",
        CONV4: f"frozen at conv4, {size} px, head trained",
        CONV5: f"frozen at conv5 ({conv5}), {size} px",
        CUSTOM: "custom CNN, random initialization",
    }[setup]


@dataclass(frozen=True)
class Row:
    """One training of the plan: a setup on a subset of the training images.

    size: side in pixels of the images that the network sees; images: how many it is trained on;
    seed: of the subset, the weights, the order and the augmentation.
    """

    setup: str
    size: int
    images: int
    seed: int
    batch_size: int
    steps: int

    def estimated_seconds(self) -> float:
        """On two cores with bfloat16; after the first rows only the ratios matter."""
        if self.setup == CUSTOM:
            return 10 + self.steps * self.batch_size / 780
        if self.setup in FINE_TUNED:
            return 45 + self.steps * (self.batch_size + 128) / 220  # a step of Adam costs as much as 128 images
        return 5 + 0.006 * self.steps


def budget(images: int, all_images: int, batch_size: int, epochs: int) -> tuple[int, int]:
    """Batch size and steps of a recipe on some of all training images.

    The same epochs, but at least MINIMUM_STEPS of the recipe's steps on all images.

    Args:
        batch_size, epochs: the recipe's own.
    """
    batch = min(batch_size, LARGEST_BATCH.get(images, batch_size), images)
    minimum = MINIMUM_STEPS * epochs * max(1, all_images // batch_size)
    return batch, max(epochs * (images // batch), round(minimum))


def plan(all_images: int) -> list[Row]:
    """Every row for a data set of so many training images, cheap ones first."""
    pretrained, custom = resnet.Config(), mnist.Config()
    setups = [(setup, size, pretrained.batch_size, pretrained.head_epochs) for size in (64, 32) for setup in FROZEN]
    setups.append((CUSTOM, 28, custom.batch_size, custom.epochs))
    setups += [(setup, 32, pretrained.batch_size, pretrained.epochs) for setup in FINE_TUNED]
    sets = [n for n in (100, 1_000, 10_000) if n < all_images]
    sets.append(all_images)
    rows = [
        Row(setup, size, images, seed, *budget(images, all_images, batch_size, epochs))
        for setup, size, batch_size, epochs in setups
        for images in sets
        for seed in range(REPEATS.get(images, 1))
    ]
    cheap = [row for row in rows if row.setup not in FINE_TUNED]
    costly = [row for row in rows if row.setup in FINE_TUNED]
    return cheap + sorted(costly, key=lambda row: row.images)
