"""Arithmetic of a model's graph that is no layer, x / 127.5 - 1 for example, turned into Rescaling layers.

keras.applications' preprocess_input() leaves such operations in a model that it is called in, Keras 2 (TFOpLambda) and
Keras 3 alike.
"""

# Operation of Keras 3 and function of Keras 2, with a number -> scale and offset of the Rescaling layer.
RESCALING = {
    "TrueDivide": lambda number: (1 / number, 0.0),
    "Divide": lambda number: (1 / number, 0.0),
    "math.truediv": lambda number: (1 / number, 0.0),
    "math.divide": lambda number: (1 / number, 0.0),
    "Multiply": lambda number: (number, 0.0),
    "math.multiply": lambda number: (number, 0.0),
    "Add": lambda number: (1.0, number),
    "math.add": lambda number: (1.0, number),
    "__operators__.add": lambda number: (1.0, number),
    "Subtract": lambda number: (1.0, -number),
    "math.subtract": lambda number: (1.0, -number),
}


def as_layers(node):
    """A model's JSON, or a part of it, with Rescaling layers in place of arithmetic with one number."""
    if isinstance(node, list):
        return [as_layers(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: as_layers(value) for key, value in node.items()}
    if "class_name" not in node or len(node.get("inbound_nodes") or ()) != 1:
        return node
    read = _of_keras2 if node["class_name"] == "TFOpLambda" else _of_keras3
    function, call, number = read(node)
    if function not in RESCALING or not isinstance(number, int | float):
        return node
    scale, offset = RESCALING[function](number)
    config = {"name": node["config"]["name"], "dtype": "float32", "scale": scale, "offset": offset}
    layer = {"class_name": "Rescaling", "config": config, "name": node["name"], "inbound_nodes": [call]}
    if "module" in node:
        layer |= {"module": "keras.layers", "registered_name": None}
    return layer


def _of_keras2(node: dict) -> tuple:
    """An operation's function, the call of a layer in its place, and its number; None where it has none."""
    (call,) = node["inbound_nodes"]
    source, number_of_call, output, arguments = call
    return node["config"]["function"], [[source, number_of_call, output, {}]], arguments.get("y")


def _of_keras3(node: dict) -> tuple:
    """The same; a layer of that name, Add for example, is called with a list of tensors and has no number."""
    (call,) = node["inbound_nodes"]
    arguments = call.get("args", []) if isinstance(call, dict) else []
    if len(arguments) != 2:
        return None, None, None
    return node["class_name"], {"args": arguments[:1], "kwargs": {}}, arguments[1]
