"""What the scripts share: data, augmentation, training, metrics, pictures, saved models.

Dependencies run one way: scripts import these modules, never the reverse. Models and recipes
stay in their scripts. Importing this package imports nothing heavy.
"""

import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
STARTED = time.monotonic()  # seconds; a run's wall time counts from here, Keras' import included
