"""A square to draw on with mouse, pen or finger. Gradio's own needs a tool chosen first, and WebGL."""

import base64
import binascii
import hashlib
from pathlib import Path

from pipeline.errors import UserError

SIDE = 280  # pixels: ten for each of the model's
LARGEST = 200_000  # characters of a drawing; a full square of scribble has some 20,000
TEMPLATE = f"""
<canvas width="{SIDE}" height="{SIDE}" role="img" aria-label="Square to draw a digit on"></canvas>
<button type="button">Clear</button>
"""
CSS = """
canvas {display: block; width: 100%; max-width: 320px; aspect-ratio: 1; background: white; cursor: crosshair;
  border: 1px solid var(--border-color-primary); touch-action: none}
canvas:not([data-ready]) {visibility: hidden}
button {margin-top: 0.6rem; padding: 0.4rem 1.2rem; border: 1px solid var(--border-color-primary); border-radius: 6px;
  color: var(--body-text-color); background: var(--button-secondary-background-fill);
  font-size: 0.9rem; font-weight: 400}
"""
# The value is the drawing as a PNG in a data URI after each stroke, "" when cleared.
SCRIPT = """
const canvas = element.querySelector('canvas'), pen = canvas.getContext('2d');
let last = null;
const blank = () => { pen.fillStyle = 'white'; pen.fillRect(0, 0, canvas.width, canvas.height); };
const place = (event) => {
  const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
};
const line = (event) => {
  const next = place(event);
  pen.lineWidth = 22; pen.lineCap = 'round'; pen.strokeStyle = 'black';
  pen.beginPath(); pen.moveTo(...last); pen.lineTo(...next); pen.stroke();
  last = next;
};
const end = () => { if (last) { last = null; props.value = canvas.toDataURL(); trigger('input'); } };
canvas.addEventListener('pointerdown', (event) => {
  canvas.setPointerCapture(event.pointerId);
  last = place(event);
  line(event);
});
canvas.addEventListener('pointermove', (event) => { if (last) line(event); });
canvas.addEventListener('pointerup', end);
canvas.addEventListener('pointercancel', end);
element.querySelector('button').addEventListener('click', () => { blank(); props.value = ''; trigger('input'); });
blank();
canvas.dataset.ready = '';  // shown from here on: a stroke before its listeners would be lost
"""
PARTS = {"html_template": TEMPLATE, "css_template": CSS, "js_on_load": SCRIPT}


def save(drawing: str | None, folder: Path) -> Path | None:
    """Write a drawing to a file named by its content; None for an empty square.

    Args:
        drawing: the canvas' value, a PNG as a data URI.
    Raises:
        UserError: something else, or too long.
    """
    if not drawing:
        return None
    head, _, content = drawing.partition(",")
    if head != "data:image/png;base64" or len(content) > LARGEST:
        raise UserError("that is no drawing of this page")
    try:
        pixels = base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise UserError("the drawing arrived damaged; draw it again") from error
    path = folder / f"drawing-{hashlib.sha256(pixels).hexdigest()[:20]}.png"
    path.write_bytes(pixels)
    return path
