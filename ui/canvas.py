"""A square to draw on with mouse, pen or finger. Gradio's own needs a tool chosen first, and WebGL.

The value is the drawing as a PNG in a data URI after each stroke, "" when cleared; canvas.js has the rest.
"""

from pathlib import Path

SIDE = 280  # pixels: ten for each of the model's
TEMPLATE = f"""
<canvas width="{SIDE}" height="{SIDE}" role="img"></canvas>
<div class="tools">
<button type="button" class="undo" disabled></button>
<button type="button" class="clear"></button>
<label><span></span> <input type="range" min="10" max="40" value="22"></label>
</div>
<div class="glance"></div>
"""
CSS = """
canvas {width: 100%; max-width: 320px; aspect-ratio: 1; background: white; cursor: crosshair; touch-action: none}
canvas:not([data-ready]) {visibility: hidden}
.glance {min-height: 5.5rem; margin-top: 0.6rem}
.glance figure {display: flex; gap: 0.8rem; align-items: center; margin: 0}
.glance img {width: 5.5rem; image-rendering: pixelated}
"""
PARTS = {
    "html_template": TEMPLATE,
    "css_template": CSS,
    "js_on_load": Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
}
