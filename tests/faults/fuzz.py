"""Feed one reader with damaged files for a while, guided by the code that they reach.

    pip install atheris
    python tests/faults/fuzz.py "IDX file" 3600    # seconds; without a name: the names of the readers

The first file that is neither read nor refused ends it (exit code 77), and is kept as crash-... in the working folder.
"""

import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("error: atheris is not installed: pip install atheris")

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))
# What is written in Python and reads files: what else is imported would take minutes to instrument.
with atheris.instrument_imports(include=["pipeline", "collect_results", "numpy.lib", "PIL", "zipfile", "pickletools"]):
    from PIL import Image
    from readers import READERS

    Image.init()  # imports its formats


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in READERS:
        sys.exit(f"usage: python {sys.argv[0]} READER SECONDS\nreaders: {', '.join(READERS)}")
    reader, seconds = READERS[sys.argv[1]], int(sys.argv[2])
    folder = Path(tempfile.mkdtemp())
    corpus, path = folder / "corpus", folder / reader.name
    corpus.mkdir()
    (corpus / "whole").write_bytes(reader.make())

    def try_one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            reader.read(path)
        except reader.refuses:
            return

    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-timeout=60", str(corpus)], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
