"""Layers that train faster than Keras' own, with the same result; a saved model holds the stock layers."""

from pipeline import backend
from pipeline.backend import keras

# The largest side in pixels of feature maps that FastConv2D convolves with the batch as an axis of space.
LARGEST_SIDE = {"bfloat16": 8, "float32": 4}


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization over (n, h, w, c), faster in training.

    The same result, but for the running variance: it averages the unbiased variance, N / (N - 1) times Keras'.

    Keras 3 takes mean, variance and the rest one operation after the other, in float32. TensorFlow's
    fused kernel does it in one pass over bfloat16 data, with float32 statistics; what that saves is
    measured by benchmarks/fast_layers.py. On other backends, for other shapes and outside training
    Keras' own code runs.
    """

    def call(self, inputs, training=None, mask=None):
        fused = training and self.trainable and len(inputs.shape) == 4
        if not fused or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        scale = self.gamma if self.scale else tf.ones_like(self.moving_mean)
        outputs, mean, variance, *_ = tf.compat.v1.nn.fused_batch_norm(
            inputs, scale, self.beta, epsilon=self.epsilon, is_training=True
        )
        self.moving_mean.assign(self.momentum * self.moving_mean + (1 - self.momentum) * mean)
        self.moving_variance.assign(self.momentum * self.moving_variance + (1 - self.momentum) * variance)
        return outputs


class FastConv2D(keras.layers.Conv2D):
    """keras.layers.Conv2D over (n, h, w, c), faster on a CPU for 1x1 kernels and for small maps.

    A 1x1 kernel, with or without strides, is one product of matrices, (n h w, channels) by (channels, filters).

    oneDNN, which computes TensorFlow's convolutions on a CPU, multiplies matrices of one row of pixels. A row of a 3x3
    map fills three of the sixteen rows of a matrix unit. So where h and w are small, the images of the batch are the
    longest axis of a three-dimensional convolution over (h, w, n), whose kernel has one image's width.

    What both save is measured by benchmarks/fast_layers.py. On a GPU, on other backends and for all other kernels and
    maps Keras' own code runs.
    """

    def convolution_op(self, inputs, kernel):
        if not self._is_plain_on_cpu():
            return super().convolution_op(inputs, kernel)
        if self.kernel_size == (1, 1):
            return self._matrix_product(inputs, kernel)
        if self._is_small(inputs):
            return self._batch_as_space(inputs, kernel)
        return super().convolution_op(inputs, kernel)

    def _is_plain_on_cpu(self) -> bool:
        if keras.backend.backend() != "tensorflow" or backend.gpu() is not None:
            return False
        return self.data_format == "channels_last" and self.groups == 1 and {*self.dilation_rate} == {1}

    def _is_small(self, inputs) -> bool:
        if {*self.strides} != {1} or None in inputs.shape[1:3]:
            return False
        return max(inputs.shape[1:3]) <= LARGEST_SIDE.get(self.compute_dtype, 0)

    def _matrix_product(self, inputs, kernel):
        import tensorflow as tf

        down, right = self.strides
        if (down, right) != (1, 1):
            inputs = inputs[:, ::down, ::right]
        products = tf.matmul(tf.reshape(inputs, (-1, inputs.shape[-1])), kernel[0, 0])
        return tf.reshape(products, tf.concat([tf.shape(inputs)[:-1], [self.filters]], 0))

    def _batch_as_space(self, inputs, kernel):
        import tensorflow as tf

        # Not by [tf.newaxis] and [0], whose gradients fill an array of zeros.
        images_last = tf.expand_dims(tf.transpose(inputs, (1, 2, 0, 3)), 0)
        kernel = tf.expand_dims(kernel, 2)
        outputs = tf.nn.conv3d(images_last, kernel, strides=[1] * 5, padding=self.padding.upper())
        return tf.transpose(tf.squeeze(outputs, 0), (2, 0, 1, 3))


def faster(layer: keras.Layer, **settings) -> keras.Layer:
    """A copy of a layer with other settings, in its faster form where there is one; see keras.models.clone_model."""
    kinds = {fast.__base__: fast for fast in (FusedBatchNormalization, FastConv2D)}
    kind = kinds.get(type(layer), type(layer))
    return kind.from_config({**layer.get_config(), **settings})
