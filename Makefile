# To begin with: make demo, make test. Without make: see README.md.
PYTHON ?= python3
BIN := .venv/bin
DEMO := --output-dir output/demo

.PHONY: demo ui test faults train report format clean

demo: .venv/installed-export
	$(BIN)/python data_overview.py synthetic digits $(DEMO)
	$(BIN)/python cifar100_cnn.py --dataset synthetic --epochs 5 --batch-size 64 $(DEMO)
	$(BIN)/python mnist_classification.py --dataset digits --epochs 10 --batch-size 64 $(DEMO)
	$(BIN)/python resnet50_transfer_learning.py --dataset digits --weights none $(DEMO)
	$(BIN)/python export_model.py $(DEMO) || test $$? -eq 1  # a model trained for two epochs may lose too much in int8
	$(BIN)/python model_comparison.py $(DEMO) --rounds 5
	$(BIN)/python gradcam.py $(DEMO)
	@echo "open the plots in output/demo/"

# The page to try the models on: http://127.0.0.1:7860
ui: .venv/installed-ui
	$(BIN)/python ui/app.py

# In two processes; a file's tests stay together, as they share what they trained.
test: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# Runs that are killed, disks that fill up, files that mean harm: about 20 minutes on two cores.
faults: .venv/installed-dev
	$(BIN)/python -m pytest tests/faults -m "" --record output/faults.json
	$(MAKE) report

# Everything on real data, in order, but for make faults, benchmarks/explanation_cost.py, benchmarks/page.py and sprint's seed 3;
# each run goes on where it was interrupted. It may take a day or more on two cores. The default recipes' runs are named
# here, because that of seed 0 would go to output/ itself.
CIFAR := $(BIN)/python cifar100_cnn.py --resume
MNIST := $(BIN)/python mnist_classification.py --resume
WEIGHTS := imagenet# or the file of some of ResNet50's layers
train: .venv/installed-export
	for seed in 0 1 2; do \
	  $(CIFAR) --tta --seed $$seed --output-dir output/runs/cifar100-fast-seed$$seed && \
	  $(CIFAR) --recipe sprint --seed $$seed && \
	  $(MNIST) --recipe tiny --seed $$seed && \
	  $(MNIST) --recipe best --seed $$seed || exit; \
	done
	for seed in 0 1 2 3 4; do \
	  $(MNIST) --seed $$seed --output-dir output/runs/custom_cnn-default-seed$$seed && \
	  $(MNIST) --recipe sprint --seed $$seed && $(MNIST) --recipe sprint75 --seed $$seed || exit; \
	done
	$(MNIST) --ensemble 3
	$(CIFAR) --labels fine --tta
	$(CIFAR) --recipe best --tta
	$(CIFAR) --recipe best --labels fine --tta
	$(CIFAR) --recipe baseline
	$(BIN)/python resnet50_transfer_learning.py --resume --weights $(WEIGHTS) \
	  --output-dir output/runs/resnet50-pretrained-seed0
	cp output/runs/resnet50-pretrained-seed0/resnet50_* output/
	$(BIN)/python collect_results.py
	$(BIN)/python data_overview.py
	$(BIN)/python error_analysis.py
	$(BIN)/python export_model.py || test $$? -eq 1  # 1: an export failed its check; the others are there
	$(BIN)/python model_comparison.py --rounds 12
	$(BIN)/python gradcam.py
	$(BIN)/python benchmarks/faithfulness.py
	$(BIN)/python benchmarks/robustness.py
	$(BIN)/python benchmarks/batch_norm.py
	$(BIN)/python benchmarks/epoch_account.py
	$(BIN)/python benchmarks/input_pipeline.py
	$(BIN)/python benchmarks/start_up.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python experiments/resnet50_transfer.py --weights $(WEIGHTS)
	$(BIN)/python experiments/start_from.py
	$(BIN)/python experiments/cifar100_ablation.py || test $$? -eq 1  # 1: a variant's training failed; the others are there
	$(MAKE) report

# The numbers in README.md, README.tr.md, technical_report.md, docs/reliability.md and docs/scaling.md, and the model
# cards, from the result files in output/.
report: .venv/installed
	$(BIN)/python -m pipeline.report

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf output/demo output/runs

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.venv/installed: pyproject.toml requirements.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) -e .
	touch $@

# With an extra of pyproject.toml: export, ui, dev (which has both).
.venv/installed-%: .venv/installed
	$(INSTALL) -e ".[$*]"
	touch $@
