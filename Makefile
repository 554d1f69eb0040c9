# To begin with: make demo, make test. Without make: see docs/platforms.md.
PYTHON ?= python3
BIN := .venv/bin
DEMO := --output-dir output/demo

.PHONY: demo ui test faults train report format clean lock licenses audit

# Three models on data that need no download, what they look at, and which is fast: about four minutes on two cores.
demo: .venv/installed-export
	$(BIN)/python cifar100_cnn.py --dataset synthetic --recipe sprint --epochs 2 --batch-size 64 $(DEMO)
	$(BIN)/python mnist_classification.py --dataset digits --epochs 6 --batch-size 64 $(DEMO)
	$(BIN)/python resnet50_transfer_learning.py --dataset digits --weights none --epochs 4 $(DEMO)
	$(BIN)/python gradcam.py output/demo/cifar100_cnn_scratch.h5
	$(BIN)/python export_model.py output/demo/custom_cnn_model.h5 --format onnx
	$(BIN)/python model_comparison.py --rounds 1 $(DEMO)
	@echo "Trained: the models of the table. Open first, in output/demo/:"
	@echo "  cifar100_gradcam.png             what the network looks at, where it is right and where it is wrong"
	@echo "  cifar100_confusion_matrix.png    which shapes it takes for each other"
	@echo "  model_comparison.png             which model is fast, and in which runtime"

# The page to try the models on: http://127.0.0.1:7860
ui: .venv/installed-ui
	$(BIN)/python ui/app.py

# In two processes; a file's tests stay together, as they share what they trained.
test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# Runs that are killed, disks that fill up, files that mean harm, and the notebook: half an hour on two cores.
faults: .venv/installed-dev
	rm -f output/faults.json
	$(BIN)/python -m pytest tests/faults tests/test_notebook.py -m "" --record output/faults.json \
	  --numprocesses 2 --dist loadfile
	$(MAKE) report

# Everything on real data, but for make faults, benchmarks/explanation_cost.py and benchmarks/page.py: plan/product.py.
# It goes on where it was interrupted, and may take a day or more on two cores.
WEIGHTS := imagenet# or the file of some of ResNet50's layers
train: .venv/installed-export
	$(BIN)/python train_all.py --weights "$(WEIGHTS)"

# The tables in README.md, README.tr.md, technical_report.md and docs/, and the model cards, from the result files in
# output/.
report: .venv/installed-export
	$(BIN)/python -m pipeline.report

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf output/demo output/runs

# The exact versions in locks/, each file checked by its hash; then this project itself, with the setuptools among them.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.venv/installed-%: locks/%.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes -r $<
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

# New locks from the ranges in requirements.txt and pyproject.toml, for Python 3.11 and later on every system.
COMPILE := .venv/lock/bin/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11
COMPILE += --generate-hashes --no-header --no-annotate
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet uv
	$(COMPILE) --extra dev --output-file locks/dev.txt
	$(COMPILE) --extra export --constraints locks/dev.txt --output-file locks/export.txt
	$(COMPILE) --extra ui --constraints locks/dev.txt --output-file locks/ui.txt

# The license of every package that make test installs, as the packages themselves name it.
licenses: .venv/installed-dev
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet pip-licenses
	.venv/lock/bin/pip-licenses --python $(BIN)/python --format markdown --output-file docs/licenses.md \
	  --packages $$(sed -n 's/^\([^ =]*\)==.*/\1/p' locks/dev.txt)

# Known vulnerabilities of the locked packages, as PyPI lists them; needs a network.
audit:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet pip-audit
	.venv/lock/bin/pip-audit --require-hashes --disable-pip -r locks/dev.txt
