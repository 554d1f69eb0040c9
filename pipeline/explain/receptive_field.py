"""Where in the picture the cells of a layer's map look.

Cells do not tile the picture: a pooling without padding drops the last row and column, padding on one side moves
the map. Along an axis the receptive field of cell i is centred at pixel start + i * step (Araujo, Norris and Sim
2019, "Computing receptive fields of convolutional neural networks", doi 10.23915/distill.00021).
"""

from pipeline.backend import keras
from pipeline.explain.cam import Axis, tiling

layers = keras.layers

POOLING = layers.MaxPooling2D | layers.AveragePooling2D
SLIDING = layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D | POOLING


def cell_axes(model) -> dict[str, tuple[Axis, Axis]]:
    """Layer name -> where its cells look along height and width, for every layer of a functional model with a map.

    Layers that join several maps take the mean of those of their own size. A layer of unknown geometry that
    changes a map's size (Resizing, UpSampling2D) is taken to spread its cells evenly over the map before it, and
    what stands behind a layer's second call over the picture.
    """
    found, by_tensor = {}, {}
    for layer in model.layers:
        output, inputs = layer.output, keras.tree.flatten(layer.input)  # of its first call
        if not hasattr(output, "shape") or len(output.shape) != 4 or None in output.shape[1:3]:
            continue
        befores = [(one, by_tensor[id(one)]) for one in inputs if id(one) in by_tensor]
        alike = [(one, axes) for one, axes in befores if one.shape[1:3] == output.shape[1:3]]
        axes = [_after(layer, axis, output, alike or befores[:1], model.input_shape) for axis in (0, 1)]
        found[layer.name] = by_tensor[id(output)] = tuple(axes)
    return found


def _after(layer, axis: int, output, befores: list, picture: tuple) -> Axis:
    """(start, step) behind a layer along one axis, from those of the maps before it."""
    n_out = output.shape[1 + axis]
    if not befores:
        return tiling(n_out, picture[1 + axis])
    n_in = befores[0][0].shape[1 + axis]
    start, step = (sum(axes[axis][part] for _, axes in befores) / len(befores) for part in (0, 1))
    if isinstance(layer, SLIDING):
        pooling = isinstance(layer, POOLING)
        extent = layer.pool_size[axis] if pooling else (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
        stride = layer.strides[axis]
        # TensorFlow's rule: the padding that the last cell needs, the smaller half before the first.
        padded = max((n_out - 1) * stride + extent - n_in, 0) // 2 if layer.padding == "same" else 0
        return start + ((extent - 1) / 2 - padded) * step, step * stride
    if isinstance(layer, layers.ZeroPadding2D):
        return start - layer.padding[axis][0] * step, step
    if isinstance(layer, layers.Cropping2D):
        return start + layer.cropping[axis][0] * step, step
    first, share = tiling(n_out, n_in)
    return start + first * step, share * step
