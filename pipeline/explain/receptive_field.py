"""Receptive fields: where in the image the cells of a layer's map look.

Cells do not tile the image: a pooling without padding drops the last row and column, padding on one side shifts the
map. Along an axis the receptive field of cell i is centered at pixel start + i * step (Araujo, Norris and Sim 2019,
"Computing receptive fields of convolutional neural networks", doi 10.23915/distill.00021).
"""

from pipeline.backend import keras, layers
from pipeline.explain.cam import Axis, tiling


def cell_axes(model) -> dict[str, tuple[Axis, Axis]]:
    """Layer name -> centers of its cells along height and width, for each layer of a functional model with a map.

    Layers that join several maps take the mean of those of their own size. A layer of unknown geometry that
    changes a map's size (Resizing, UpSampling2D) is taken to spread its cells evenly over the map before it, and
    what follows a layer's second call over the image.
    """
    found, by_tensor = {}, {}
    for layer in model.layers:
        output, inputs = layer.output, keras.tree.flatten(layer.input)  # of its first call
        if not hasattr(output, "shape") or len(output.shape) != 4 or None in output.shape[1:3]:
            continue
        befores = [(tensor, by_tensor[id(tensor)]) for tensor in inputs if id(tensor) in by_tensor]
        same_size = [(tensor, axes) for tensor, axes in befores if tensor.shape[1:3] == output.shape[1:3]]
        axes = [_after(layer, axis, output, same_size or befores[:1], model.input_shape) for axis in (0, 1)]
        found[layer.name] = by_tensor[id(output)] = tuple(axes)
    return found


def _after(layer, axis: int, output, befores: list, image: tuple) -> Axis:
    """(start, step) behind a layer along one axis, from those of the maps before it."""
    n_out = output.shape[1 + axis]
    if not befores:
        return tiling(n_out, image[1 + axis])
    n_in = befores[0][0].shape[1 + axis]
    start, step = (sum(axes[axis][part] for _, axes in befores) / len(befores) for part in (0, 1))
    pooling = isinstance(layer, layers.MaxPooling2D | layers.AveragePooling2D)
    convolution = isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D)
    if pooling or convolution:
        extent = layer.pool_size[axis] if pooling else (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
        stride = layer.strides[axis]
        # TensorFlow's rule: the padding that the last cell needs, the smaller half before the first.
        padded = max((n_out - 1) * stride + extent - n_in, 0) // 2 if layer.padding == "same" else 0
        return start + ((extent - 1) / 2 - padded) * step, step * stride
    if isinstance(layer, layers.ZeroPadding2D):
        return start - layer.padding[axis][0] * step, step
    if isinstance(layer, layers.Cropping2D):
        return start + layer.cropping[axis][0] * step, step
    first, cell = tiling(n_out, n_in)
    return start + first * step, cell * step
