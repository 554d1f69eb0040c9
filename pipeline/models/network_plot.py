"""Diagram of a network, drawn from the Keras model: feature maps, filters, parameters and multiply-adds by block."""

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from pipeline.backend import layers
from pipeline.console import percent
from pipeline.errors import UserError
from pipeline.models import macs
from pipeline.style import BLUE, GREY, LIGHT, ORANGE, SKY, SMALL, TEXT, heading, margins, save

# Names of the layers of a block: block1_conv1, conv2_block1_add; in an ensemble kernel3_block1_conv1.
NAMED = re.compile(r"(?P<member>kernel\d+_)?(?P<block>block\d+|conv\d+)_")
MEMBER = re.compile(r"kernel\d+_")
WIDE, NAMES = 10.5, 1.15  # inches: of the figure, and of the names of its rows
MAPS, LINE, BAR = 1.75, 0.17, 0.42  # inches: height of the feature maps, of a line of text, of a row of bars
SIDE, DEPTH = 1.05, 0.045  # inches: side of the largest map, and depth for each doubling of the channels
MOST_LINES = 6  # of a block; longer lists say how often each kind of layer is there
HEAD = "layers:\nkernel, filters\n(repetitions)"
TITLES = {
    "MaxPooling2D": "max pooling",
    "AveragePooling2D": "average pooling",
    "GlobalMaxPooling2D": "maximum over the map",
    "GlobalAveragePooling2D": "mean over the map",
    "Add": "shortcut",
    "Softmax": "softmax",
}


@dataclass(frozen=True)
class Block:
    """A part of a network.

    name: "block1", "conv4"; "input" and "classifier" for what is before and after the blocks.
    shape: of its output for one image, without the batch.
    lines: what it consists of, in the order of its layers.
    multiply_adds: for one image; None where a layer has no rule for it.
    """

    name: str
    shape: tuple[int, ...]
    lines: list[str]
    parameters: int
    multiply_adds: int | None


def blocks(model) -> list[list[Block]]:
    """Blocks of a Keras model by its layers' names, else by the size of their maps; a list for each ensemble member.

    Args:
        model: built, its input of a fixed size.
    """
    image = Block("image", tuple(model.input_shape[1:]), [], 0, 0)
    members = {}
    for layer in model.layers:
        member = MEMBER.match(layer.name)
        members.setdefault(member[0] if member else "", []).append(layer)
    weighted = [own for own in members.values() if any(layer.weights for layer in own)]
    return [[image, *(block(name, part) for name, part in grouped(own).items())] for own in weighted]


def grouped(own: list) -> dict[str, list]:
    """Name of a block -> its layers; layers of other names belong to the block before them, if any."""
    found = {}
    if any(NAMED.match(layer.name) for layer in own):
        named = [place for place, layer in enumerate(own) if NAMED.match(layer.name)]
        current = "input"
        for place, layer in enumerate(own):
            match = NAMED.match(layer.name)
            if match:
                current = match["block"]
            elif place > named[-1]:
                current = "classifier"
            found.setdefault(current, []).append(layer)
    else:
        for layer in own:
            sides = layer.output.shape[1:-1]
            found.setdefault("×".join(map(str, sides)) or "classifier", []).append(layer)
    blocks = {name: part for name, part in found.items() if any(layer.weights for layer in part)}
    first = next(iter(blocks.values()), [])
    if "input" not in blocks:  # what happens to the pixels before the first weights belongs to these
        first[:0] = found.get("input", [])
    return blocks


def block(name: str, part: list) -> Block:
    """Summary of the layers of a block."""
    try:
        multiply_adds = sum(macs.of_layer(layer) for layer in part)
    except UserError:  # one's own model with a layer of another kind
        multiply_adds = None
    parameters = sum(layer.count_params() for layer in part)
    return Block(name, tuple(part[-1].output.shape[1:]), lines_of(part), parameters, multiply_adds)


def lines_of(part: list) -> list[str]:
    """The layers of a block in their order, repeated neighbors in one line; of long blocks each kind of layer once."""
    drawn = [text for text in map(line_of, part) if text]
    runs = [(text, len(list(same))) for text, same in itertools.groupby(drawn)]
    if len(runs) > MOST_LINES:  # it repeats a few layers, as ResNet's stages do
        runs = Counter(drawn).items()
    return [f"{text} (×{count})" if count > 1 else text for text, count in runs]


def line_of(layer) -> str:
    """A layer in a few words; "" for those that are not drawn."""
    if isinstance(layer, layers.Resizing):
        return f"resize to {layer.height}×{layer.width}"
    if isinstance(layer, layers.Conv2D):
        return f"{'×'.join(map(str, layer.kernel_size))}, {layer.filters}"
    if isinstance(layer, layers.Dense):
        return f"dense, {layer.units}"
    if isinstance(layer, layers.MultiHeadAttention):
        return f"attention, {layer.num_heads} heads"
    return TITLES.get(type(layer).__name__, "")


def draw(model, provenance: str, path: Path) -> None:
    """Blocks from left to right: the feature maps that each hands on, its layers, its parameters and multiply-adds.

    Args:
        model: Keras model, its input of a fixed size.
    """
    draw_blocks(blocks(model), provenance, path)


def draw_blocks(members: list[list[Block]], provenance: str, path: Path) -> None:
    """Diagram of the blocks of each member of an ensemble, a row for each; most networks have one member."""
    every = [one for member in members for one in member]
    parameters = sum(one.parameters for one in every)
    is_counted = all(one.multiply_adds is not None for one in every)
    finding = f"{amount(parameters)} parameters"
    bars = {"parameters": BLUE}
    if is_counted:
        total = sum(one.multiply_adds for one in every)
        most = max(every, key=lambda one: one.multiply_adds)
        where = percent(most.multiply_adds / max(total, 1), 0)
        finding += f", {amount(total)} multiply-adds per image, {where} of them in {most.name}"
        bars["multiply-adds"] = ORANGE
    lines = max(len(one.lines) for one in every)
    row = MAPS + 0.75 + LINE * lines + BAR * len(bars) + 0.15
    top, bottom = margins(finding, provenance, WIDE)
    tall = top + bottom + row * len(members)
    figure = Figure(figsize=(WIDE, tall))
    heading(figure, finding, provenance)
    for place, member in enumerate(members):
        axes = figure.add_axes((0, (bottom + row * (len(members) - 1 - place)) / tall, 1, row / tall))
        axes.set(xlim=(0, WIDE), ylim=(0, row))
        axes.axis("off")
        draw_member(axes, member, row, lines, bars)
    save(figure, path)


def draw_member(axes, member: list[Block], row: float, lines: int, bars: dict[str, str]) -> None:
    """One network, in axes whose unit is the inch."""
    column = (WIDE - NAMES - 0.1) / len(member)
    largest = max(side_of(one.shape) for one in member)
    middle = row - 0.3 - MAPS / 2
    below = middle - MAPS / 2 - 0.45
    edge = None  # right edge of the maps before
    axes.text(0.1, below + 0.38, "feature maps", va="top", fontsize=SMALL, color=GREY)
    axes.text(0.1, below + 0.1, HEAD, va="top", linespacing=1.25, fontsize=SMALL, color=GREY)
    for place, one in enumerate(member):
        left = NAMES + place * column
        center = left + column / 2 - 0.1
        small = {"ha": "center", "va": "top", "fontsize": SMALL}
        axes.text(center, row - 0.02, one.name, ha="center", va="top", fontsize=TEXT, weight="bold")
        axes.text(center, below + 0.38, "×".join(map(str, one.shape)), color=GREY, **small)
        begin, end = draw_maps(axes, one.shape, (center, middle), largest)
        if edge is not None:
            arrow = {"arrowstyle": "-|>", "color": GREY, "lw": 1, "shrinkA": 2, "shrinkB": 2}
            axes.annotate("", (begin, middle), (edge, middle), arrowprops=arrow)
        edge = end
        axes.text(center, below + 0.1, "\n".join(one.lines), linespacing=1.25, **small)
    for number, (name, color) in enumerate(bars.items()):
        values = [getattr(one, name.replace("-", "_")) for one in member]
        base = below - LINE * lines - BAR * (number + 1)
        axes.text(0.1, base + 0.06, name, va="center", fontsize=SMALL, color=GREY)
        draw_bars(axes, values, base, column, color)


def draw_bars(axes, values: list[int], base: float, column: float, color: str) -> None:
    """A bar for each block, as long as its fraction of all of them, with its amount above."""
    for place, value in enumerate(values):
        left = NAMES + place * column + 0.05
        full = column - 0.3
        if not value:
            continue
        fraction = value / sum(values)
        axes.add_patch(Rectangle((left, base), full, 0.12, facecolor=LIGHT, lw=0))
        axes.add_patch(Rectangle((left, base), full * fraction, 0.12, facecolor=color, lw=0))
        axes.text(left, base + 0.15, f"{amount(value)}, {percent(fraction, 0)}", va="bottom", fontsize=SMALL)


def side_of(shape: tuple[int, ...]) -> int:
    """Side of a map in pixels; 1 of a vector."""
    return max(shape[:-1], default=1)


def draw_maps(axes, shape: tuple[int, ...], center: tuple[float, float], largest: int) -> tuple[float, float]:
    """A cuboid: its front grows with the map's side, its depth with the channels; returns its left and right edge."""
    side = SIDE * max(0.12, (side_of(shape) / largest) ** 0.6)
    depth = DEPTH * (1 + np.log2(shape[-1]))
    x, y = center[0] - (side + depth) / 2, center[1] - (side + depth) / 2
    look = {"edgecolor": "white", "lw": 0.8}
    axes.add_patch(Rectangle((x, y), side, side, facecolor=SKY, **look))
    up, right = y + side, x + side
    top = [(x, up), (x + depth, up + depth), (right + depth, up + depth), (right, up)]
    flank = [(right, y), (right, up), (right + depth, up + depth), (right + depth, y + depth)]
    axes.add_patch(Polygon(top, facecolor=SKY, alpha=0.6, **look))
    axes.add_patch(Polygon(flank, facecolor=BLUE, **look))
    return x, right + depth


def amount(number: float) -> str:
    """A count with a unit: "4.6 M", "299 M", "1.2 G", "650"."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            value = number / size
            return f"{value:.{1 if value < 10 else 0}f}\N{NO-BREAK SPACE}{unit}"
    return str(number)
