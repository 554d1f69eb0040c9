"""An answer in HTML and plain words: what the model sees, and the evidence for its class; and the page's CSS."""

import base64
import html
import io

import matplotlib
import numpy as np
from PIL import Image

from ui.answers import Answer

COLORS = matplotlib.colormaps["inferno"]  # as in the plots of gradcam.py
OPACITY = 0.7  # of the heat map's maximum on the picture
# Name on the page, and what a bright place means.
METHODS = {
    "grad-cam": ("Grad-CAM", "The parts of the picture whose features raise the score of the class most on average."),
    "grad-cam++": ("Grad-CAM++", "Like Grad-CAM, counting only what raises the score, and every place for itself."),
    "hires-cam": (
        "HiResCAM",
        "Each place's own contribution to the score: its features times their weights.",
    ),
    "layer-cam": ("LayerCAM", "Like HiResCAM, leaving out all that lowers the score."),
    "eigen-cam": ("Eigen-CAM", "Where the model reacts most strongly, for whatever class; it may miss the reason."),
    "score-cam": ("Score-CAM", "Shows the model parts of the picture and keeps those it still scores highly. Slow."),
    "occlusion": ("Occlusion", "Covers one patch after the other; bright where the score falls most. Slow."),
}
CSS = """
#try {display: grid; grid-template-columns: 2fr 3fr; grid-template-rows: auto 1fr}
#answers {grid-column: 2; grid-row: 1 / 3}
@media (max-width: 800px) {#try {display: flex}}
#options input:not([type=radio]) {text-overflow: ellipsis; padding-right: 1.5rem}
.card .pair {display: flex; gap: 0.8rem; margin-bottom: 0.6rem}
.card figure {flex: 0 1 11rem; margin: 0}
.card img {width: 100%; image-rendering: pixelated; border: 1px solid var(--border-color-primary)}
.card figcaption, .card p {font-size: 0.875rem; line-height: 1.35; color: var(--body-text-color)}
.card h3 {margin: 0 0 0.2rem; font-size: 1rem; color: var(--body-text-color)}
.card img.legend {display: inline; height: 0.7rem; width: 6rem; vertical-align: middle}
.message {padding: 0.6rem 0.8rem; border-left: 4px solid #0072b2; background: var(--background-fill-secondary)}
.message {color: var(--body-text-color)}
.message.alert {border-left-color: #d55e00}
.keep {gap: 0.5rem}
#tests img {image-rendering: pixelated}
#tests .grid-wrap {min-height: 0; height: auto}
#tests .grid-container {grid-template-columns: repeat(5, minmax(0, 1fr))}
"""


def message(text: str, alert: bool = False) -> str:
    """Message box: a hint, or what went wrong; screen readers read the latter out."""
    kind = 'class="message alert" role="alert"' if alert else 'class="message" role="status"'
    return f"<p {kind}>{html.escape(text)}</p>"


def overlay(answer: Answer) -> np.ndarray:
    """Heat map over the picture, (h, w, 3) uint8."""
    picture = np.broadcast_to(answer.seen, (*answer.seen.shape[:2], 3)) / 255
    alpha = OPACITY * answer.heat[..., None]
    return (255 * (picture * (1 - alpha) + COLORS(answer.heat)[..., :3] * alpha)).round().astype(np.uint8)


def heading(answer: Answer) -> str:
    """Head of an answer's card: the model, its most probable class, and how fast it was."""
    (best, probability), *_ = answer.top(1).items()
    words = f"says <b>{html.escape(best)}</b> ({probability:.1%}) after {answer.milliseconds:.1f} milliseconds"
    if answer.number:
        words = f"reads <b>{html.escape(answer.number)}</b>; of its largest digit it {words}"
    if answer.foreign:
        words += f". But <b>{answer.foreign}</b>"
    title = html.escape(answer.title).replace("_", "_<wbr>")  # file names are long for a phone
    return f'<div class="card"><h3>{title}</h3><p>{words}</p></div>'


def explanation(answer: Answer, method: str) -> str:
    """Body of an answer's card: what the model sees, and the heat map over it, each with a sentence."""
    best, name = html.escape(next(iter(answer.top(1)))), METHODS[method][0]
    height, width = answer.seen.shape[:2]
    seen = f"What the model sees: {height} x {width} pixels"
    if answer.digit:
        seen += ", white on black and centered, as in MNIST" + (" (it was dark on light)" if answer.inverted else "")
    figures = _figure(answer.seen, "the picture as the model takes it", seen)
    if answer.found is not None:
        figures = _figure(answer.found, "the picture with a frame around each digit", "The digits found") + figures
    note = f"{name} finds no evidence for {best} in the picture."
    if answer.heat is None:
        note = "No heat map: that needs TensorFlow, one softmax at the model's end, and maps of 3 x 3 cells or more."
    elif answer.heat.any():
        shown, alt = "evidence", f"heat map of the evidence for {best}"
        why = f"Why {best}: the brighter and yellower a place, the stronger its evidence for {best} ({name})"
        if method == "eigen-cam":  # knows of no class
            shown, alt = "reaction", "heat map of the model's reaction"
            why = f"The brighter and yellower a place, the more the model reacts to it, whatever the class ({name})"
        figures += _figure(overlay(answer), alt, why)
        scale = _image(COLORS(np.linspace(0, 1, 64))[None, :, :3] * 255, "dark purple over red to yellow", "legend")
        note = f"no {shown} {scale} most {shown}"
    return f'<div class="card"><div class="pair">{figures}</div><p>{note}</p></div>'


def _figure(pixels: np.ndarray, alt: str, caption: str) -> str:
    return f"<figure>{_image(pixels, alt)}<figcaption>{caption}.</figcaption></figure>"


def _image(pixels: np.ndarray, alt: str, kind: str = "") -> str:
    """An <img> that carries its own pixels (h, w, c) in [0, 255], so that no second request is needed."""
    file = io.BytesIO()
    pixels = np.asarray(pixels, np.uint8)
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    content = base64.b64encode(file.getvalue()).decode()
    return f'<img class="{kind}" alt="{alt}" src="data:image/png;base64,{content}">'
