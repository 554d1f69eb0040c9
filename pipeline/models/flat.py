"""Flat copies of models for inference: one functional graph of stock layers, however the model was put together."""

from functools import partial

from pipeline.backend import keras, layers
from pipeline.models import contract


def inference_copy(model, image_shape: tuple[int, ...]):
    """The same function of an image, without what is there for training alone, as one flat functional model.

    Layers of Sequential models and of models in the model become layers of the copy; a name that is taken gets the
    model's before it. Every layer is a float32 stock layer; those that only draw random numbers (dropout,
    augmentation) are left out. A softmax at the end becomes a Softmax layer of its own, whose input is the logits:
    explanations need them.

    Args:
        model: functional or Sequential Keras model, see pipeline.models.contract.
        image_shape: (height, width, channels) the copy is for.
    """
    pixels = keras.Input(image_shape, name="pixels")
    return keras.Model(pixels, _Copying(model).through(model, pixels), name=model.name)


def last_layer(model):
    """The layer that a model's output comes from, be it in a model in the model."""
    last = model.layers[-1]
    return last_layer(last) if isinstance(last, keras.Model) else last


class _Copying:
    """Copies of a model's layers, called one after the other."""

    def __init__(self, model):
        self.last = last_layer(model)
        self.copies = {}  # id of a layer -> its copy
        self.names = {"pixels"}

    def through(self, model, tensor):
        """The output of copies of a model's layers for an input tensor."""
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                tensor = self.call(model, layer, tensor)
            return tensor
        # Keras has no public way to run a graph with other layers but clone_model, which keeps models in models.
        outputs = model._run_through_graph(tensor, operation_fn=lambda layer: partial(self.call, model, layer))
        return keras.tree.flatten(outputs)[0]

    def call(self, model, layer, *args, **kwargs):
        """The output of a layer's copy; `training` is left to Keras, which takes it for inference."""
        kwargs.pop("training", None)
        if isinstance(layer, keras.Model):
            return self.through(layer, args[0])
        if only_draws(layer):
            return args[0]
        if layer is self.last and contract.ends_in_softmax(layer):
            return layers.Softmax(dtype="float32", name=self.name(model, layer.name))(*args)
        outputs = self.copy(model, layer)(*args, **kwargs)
        copy = self.copies[id(layer)]
        if layer.variables:
            copy.set_weights(layer.get_weights())
        if isinstance(layer, layers.Normalization):
            copy.finalize_state()  # it computes with copies of its weights
        if layer is self.last and contract.has_softmax_inside(layer):
            outputs = layers.Softmax(dtype="float32", name=self.name(model, f"{layer.name}_softmax"))(outputs)
        return outputs

    def copy(self, model, layer):
        """A layer's copy: one for each call, but for those with weights, which calls share."""
        if id(layer) in self.copies and layer.weights:
            return self.copies[id(layer)]
        config = {**layer.get_config(), "dtype": "float32", "name": self.name(model, layer.name)}
        if layer is self.last and contract.has_softmax_inside(layer):
            config["activation"] = "linear"
        self.copies[id(layer)] = contract.stock_class(layer).from_config(config)
        return self.copies[id(layer)]

    def name(self, model, name: str) -> str:
        """A layer's name, made another where it is taken."""
        candidate, number = name, 1
        while candidate in self.names:
            candidate = f"{model.name}_{name}" if number == 1 else f"{model.name}_{name}_{number}"
            number += 1
        self.names.add(candidate)
        return candidate


def only_draws(layer) -> bool:
    """Whether a layer only draws random numbers in training and does nothing else: dropout, noise, augmentation."""
    drawn = getattr(layer, "seed_generator", None) or getattr(layer, "generator", None)
    return isinstance(drawn, keras.random.SeedGenerator) and not layer.trainable_variables
