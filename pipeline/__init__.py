"""What the scripts share, in the order in which an image meets it.

`data` reads pictures, `train` learns from them, `models` keeps the result, `evaluate` measures it, `explain` shows
why, `deploy` exports and times it, `report` writes it down. Scripts import these packages, never the reverse; models
and recipes stay in their scripts. Importing any of this imports neither Keras nor TensorFlow (see `backend`).
"""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
