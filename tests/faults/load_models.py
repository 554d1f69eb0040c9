"""Load model files one after the other with a limit on memory: python load_models.py MEGABYTES < list of paths.

Prints one JSON line per file: whether it was refused with a line or loaded, what it predicts, how long it
took; and at the end the most memory used and what a loaded file has no business to do.
"""

import hashlib
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from pipeline import system
from pipeline.backend import keras
from pipeline.errors import UserError
from pipeline.models import saved_model

FORBIDDEN = ("pickle.find_class", "os.system", "socket.connect", "socket.getaddrinfo", "os.exec", "os.posix_spawn")
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1)).astype(np.float32)


def main():
    keras.backend.backend()  # imports Keras: neither its memory nor what it does is a file's
    suspicious = []
    sys.addaudithook(lambda event, _: suspicious.append(event) if event in FORBIDDEN else None)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + int(sys.argv[1]) * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        started, said = time.monotonic(), {"path": line.strip()}
        try:
            model = saved_model.load(line.strip())
            said["predictions"] = hashlib.sha256(np.asarray(model(PIXELS, training=False))).hexdigest()
        except UserError as error:
            said["refused"] = str(error)
        print(json.dumps(said | {"seconds": time.monotonic() - started}), flush=True)
    print(json.dumps({"peak_megabytes": system.peak_megabytes(), "suspicious": suspicious}))


if __name__ == "__main__":
    main()
