"""Architectures that Keras 2 wrote (TensorFlow 2.3 to 2.15), in the form that Keras 3 reads.

Keras 3 reads many of them by itself, but not grouped convolutions' `groups` (MobileNet, EfficientNet, Xception),
names with a slash (DenseNet), nested models, dtype policies, and hardly any `.keras` file.
"""

MODELS = {"Functional": "keras.src.models.functional", "Model": "keras.models", "Sequential": "keras.models"}
# Arguments that Keras 3 has not got where Keras 2 has, with the one value that it can have there.
NEUTRAL = {"groups": 1, "time_major": False}
WITHOUT_GROUPS = {"DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose"}
# What shapes a training alone, and is not always known to Keras 3.
OF_TRAINING = ("_initializer", "_regularizer", "_constraint", "trainable", "noise_shape", "rng_type")


def wrote(version) -> bool:
    """Whether a file's keras_version, text or bytes or None, is Keras 2's."""
    text = version.decode("ascii", "replace") if isinstance(version, bytes) else str(version)
    return text.startswith("2.")


def translated(node):
    """A model's JSON, or a part of it, in the form of Keras 3; everything in float32, as models are saved here."""
    if isinstance(node, str):
        return node.replace("/", "_")  # layers' names, in their configs and wherever others refer to them
    if isinstance(node, list):
        return [translated(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: translated(value) for key, value in node.items()}
    name, config = node.get("class_name"), node.get("config")
    if isinstance(name, str) and isinstance(config, dict):
        if "module" in node and name in MODELS:
            node["module"] = MODELS[name]
        _translate_layer(name, config)
        if isinstance(config.get("layers"), list):
            _translate_model(name, config)
    return node


def _translate_layer(name: str, config: dict) -> None:
    """Change a layer's config in place."""
    if "dtype" in config:
        config["dtype"] = "float32"
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    if name == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config.pop("batch_input_shape")
    for argument, neutral in NEUTRAL.items():
        if config.get(argument) == neutral and (argument != "groups" or name in WITHOUT_GROUPS):
            del config[argument]
    for argument in [argument for argument in config if argument.endswith(OF_TRAINING)]:
        del config[argument]


def _translate_model(name: str, config: dict) -> None:
    """Change a model's config in place: its inputs and outputs, and the references to models in it."""
    layers = [layer for layer in config["layers"] if isinstance(layer.get("config"), dict)]
    shapes = [layer["config"].pop("batch_input_shape", None) for layer in layers]
    if name == "Sequential" and layers and shapes[0]:
        first = {"class_name": "InputLayer", "config": {"batch_shape": shapes[0], "dtype": "float32"}}
        if "module" in layers[0]:
            first["module"] = "keras.layers"
        config["layers"].insert(0, first)
    for end in ("input_layers", "output_layers"):
        if isinstance(config.get(end), list) and len(config[end]) == 1:
            config[end] = config[end][0]
    references = [[layer.get("inbound_nodes") for layer in layers], config.get("output_layers")]
    for layer in layers:
        if layer.get("class_name") in MODELS:
            _count_from_0(layer["config"].get("name"), references)


def _count_from_0(model: str, references: list) -> None:
    """Number the calls of a model in a model from 0: for Keras 2 number 0 was its own graph.

    Args:
        references: nested lists with [name, number of the call, number of the output, ...] in them.
    """
    found, waiting = [], [references]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list) and len(item) >= 3 and item[0] == model and isinstance(item[1], int):
            found.append(item)
        elif isinstance(item, list):
            waiting += item
    first = min((reference[1] for reference in found), default=0)
    for reference in found:
        reference[1] -= first
