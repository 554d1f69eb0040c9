"""Scan HDF5 files as pipeline.models.untrusted does, each in a fork of this process: python scan_files.py < paths.

Prints a JSON line per file: what the scan said, and the exit code of its process, negative for a signal. A fork saves
the start of Python, so that thousands of files take seconds.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from pipeline.models import h5_scan


def scan(path: str) -> tuple[str, int]:
    """What the scan of a file says, and the exit code of its process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(writing, sys.stdout.fileno())
            sys.argv = ["h5_scan", path]
            h5_scan.main()
            sys.stdout.flush()
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        said = pipe.read().strip()
    return said, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    for line in sys.stdin:
        said, code = scan(line.rstrip("\n"))
        print(json.dumps({"said": said, "code": code}), flush=True)


if __name__ == "__main__":
    main()
