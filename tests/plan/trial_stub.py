"""A script in the place of a training script in a search: nine epochs of the same validation accuracy.

One of a low accuracy waits after the first epoch until it is told to end, one with a gate after the fourth.
"""

import pathlib
import signal
import sys
import time

flags = dict(word.lstrip("-").split("=") for word in sys.argv[1:-2])
folder, accuracy, gate = pathlib.Path(sys.argv[-1]), float(flags["accuracy"]), pathlib.Path(flags["gate"])
history, checkpoint = folder / "stub_history.csv", folder / "stub_checkpoint.npz"
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
done = int(checkpoint.read_text()) if checkpoint.exists() else 0
print("resuming after epoch", done, flush=True)
for epoch in range(done + 1, 10):
    while epoch == 2 and accuracy < 0.5:
        time.sleep(0.1)
    while epoch == 5 and accuracy > 0.9 and not gate.exists():
        time.sleep(0.1)
    rows = "".join(f"{row},{accuracy},1\n" for row in range(1, epoch + 1))
    history.write_text(f"epoch,val_accuracy,seconds\n{rows}")
    checkpoint.write_text(str(epoch))
(folder / "stub_model.h5").touch()
(folder / "stub_metrics.json").write_text(f'{{"validation_accuracy": {accuracy}, "wall_seconds": 9.0}}')
checkpoint.unlink()
