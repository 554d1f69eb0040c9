"""The camera: shows each picture together with its answer, as fast as the answers come; camera.js has the loop.

One picture is asked about at a time, the newest, so that a slow machine drops pictures and never falls behind.
(Gradio's own streaming sends a picture at a fixed interval, whether or not the one before is answered.) The value is
the picture that the visitor took, a JPEG in a data URI.
"""

from pathlib import Path

SIDE = 240  # pixels of the pictures: enough to find digits in
TEMPLATE = f"""
<canvas width="{SIDE}" height="{SIDE}" role="img"></canvas>
<div class="tools">
<button type="button" class="start"></button>
<button type="button" class="hold" disabled></button>
<label><input type="checkbox"> <span></span></label>
</div>
<p class="state"></p>
"""
CSS = """
canvas {width: 100%; max-width: 320px; aspect-ratio: 1; background: var(--background-fill-secondary)}
.state {min-height: 1.5rem; margin-top: 0.6rem; font-size: 0.875rem}
"""
PARTS = {
    "html_template": TEMPLATE,
    "css_template": CSS,
    "js_on_load": Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
}
