"""A user's own picture files, made into what a model takes."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline.errors import BadInput


def read(path: str | Path, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Read one picture: upright by its EXIF note, centre square, scaled, grey or RGB.

    Args:
        path: any file that Pillow reads; transparent parts become white.
        image_shape: (height, width, channels) of the model's input; 1 channel is grey.
    Returns:
        image_shape uint8.
    Raises:
        BadInput: missing, broken or enormous picture.
    """
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file).convert("RGBA")
    except FileNotFoundError as error:
        raise BadInput(f"{path} does not exist") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path} is not a picture that can be read ({error})") from error
    white = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(white, picture).convert("L" if image_shape[2] == 1 else "RGB")
    picture = ImageOps.fit(picture, (image_shape[1], image_shape[0]), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.uint8).reshape(image_shape)
