# make quickstart            data, MetaBIN, BN baseline, one table of scores
#   TARGET='READER:PATH[?key=value]'   also score a data set of your own
#   STEPS=N SEED=N RUNS=DIR  shorter run, other seed, other folder
#   SHORT=1                  a few iterations on tiny images, to try the path
# make test                  ruff, mypy, pytest        make test-slow: the rest
#   WORKERS=N                processes that share the tests (2)
# make test-torch          what needs PyTorch, which this installs
# make test-onnx           what needs ONNX and its runtime, likewise
# make lint                  ruff and mypy             make format: ruff format
# make clean                 remove environment and caches, keep runs/
#
#   PYTHON=python3.12        interpreter that .venv is made from
#   ENV=PATH/bin/python      use this environment as it is, install nothing

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow test-torch torch test-onnx onnx lint format clean
SHELL := /bin/sh

PYTHON ?=
ENV ?=
TARGET ?=
STEPS ?=
SEED ?=
SHORT ?=
WORKERS ?= 2

VENV := .venv
# Both stamps carry the contents of what they were made from: a changed
# requirement, not a newer file date, has the environment made again.
WANTED := $(shell cat setup.py constraints.txt | cksum | cut -d ' ' -f 1)
ifeq ($(ENV),)
  RUN := $(VENV)/bin/python
  BASE := $(VENV)/base-$(WANTED)
  FULL := $(VENV)/full-$(WANTED)
  TORCH := $(VENV)/torch-$(WANTED)
  ONNX := $(VENV)/onnx-$(WANTED)
else
  RUN := "$(ENV)"
  BASE :=
  FULL :=
  TORCH :=
  ONNX :=
endif
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt --editable

# Runs of another length or seed must not stand beside each other in one table.
SUFFIX := $(if $(STEPS),-steps$(STEPS))$(if $(SEED),-seed$(SEED))
ifeq ($(SHORT),)
  METABIN_VARIANT := metabin
  BN_VARIANT := bn
  RUNS ?= runs/quickstart$(SUFFIX)
else
  METABIN_VARIANT := short
  BN_VARIANT := bn_short
  RUNS ?= runs/quickstart-short$(SUFFIX)
endif
OVERRIDES := $(if $(STEPS),--config.train.steps=$(STEPS)) \
  $(if $(SEED),--config.train.seed=$(SEED))

# A file's tests stay together: they share what the file builds.
SPREAD := --numprocesses=$(WORKERS) --dist=loadfile

export TARGET RUNS PYTHON CHECK_TARGET CHECK_COMPILED

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# A mistake in TARGET should show before minutes of training.
define CHECK_TARGET
import os, sys
from metabin_jax.data import checks, readers
from metabin_jax.errors import UserError
try:
  dataset = readers.open_dataset(os.environ["TARGET"])
  for report in checks.check_targets([], [dataset]):
    print(f"TARGET {report.dataset}: {report.num_query} queries,",
          f"{report.num_valid} of them valid, {report.num_gallery} in the",
          "gallery", file=sys.stderr)
except UserError as error:
  sys.exit(f"TARGET: {error}")
endef

# One program for each kind of step: a second would mean changing shapes.
define CHECK_COMPILED
import json, os, pathlib, sys
for run in ("metabin", "bn"):
  speed = pathlib.Path(os.environ["RUNS"], run, "speed.json")
  # Runs that were finished before sessions were measured have none.
  if speed.exists() and json.loads(speed.read_text())["late_programs"]:
    sys.exit(f"{speed}: programs were compiled after the first iteration")
endef

# Training continues by itself where an earlier run was stopped. Its own tables
# are left out: the last command prints them side by side.
quickstart: $(BASE)
	@if [ -n "$$TARGET" ]; then $(RUN) -c "$$CHECK_TARGET"; fi
	$(RUN) -m metabin_jax train \
	  --config=configs/quickstart.py:$(METABIN_VARIANT) $(OVERRIDES) \
	  --workdir="$$RUNS/metabin" >/dev/null
	$(RUN) -m metabin_jax train \
	  --config=configs/quickstart.py:$(BN_VARIANT) $(OVERRIDES) \
	  --workdir="$$RUNS/bn" >/dev/null
	@$(RUN) -c "$$CHECK_COMPILED"
	@$(RUN) -m metabin_jax evaluate "$$RUNS/metabin" "$$RUNS/bn" \
	  $${TARGET:+--add-target="$$TARGET"} --json="$$RUNS/scores.json"

test: lint
	$(RUN) -m pytest $(SPREAD)

test-slow: $(FULL)
	$(RUN) -m pytest $(SPREAD) -m slow

torch: $(TORCH)

test-torch: $(TORCH)
	$(RUN) -c "import torch"
	$(RUN) -m pytest tests/interop/torch_test.py

onnx: $(ONNX)

test-onnx: $(ONNX)
	$(RUN) -c "import onnx, onnxruntime"
	$(RUN) -m pytest tests/interop/onnx_test.py

lint: $(FULL)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy metabin_jax

format: $(FULL)
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache build dist
	rm -rf metabin_jax.egg-info

# The first interpreter that is new enough and can make environments.
$(VENV)/base-$(WANTED): | setup.py constraints.txt
	@set -e; chosen=; seen=; \
	for name in $${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do \
	  version=$$("$$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' \
	    2>/dev/null) || continue; \
	  seen="$$seen $$name ($$version)"; \
	  "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || continue; \
	  if "$$name" -c 'import ensurepip, venv' 2>/dev/null; \
	  then chosen="$$name"; break; \
	  else seen="$$seen without the module venv"; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	  echo "make: Python 3.11 or newer with the module venv is needed;" \
	    "found:$${seen:- none}." >&2; \
	  echo "make: install one (Debian, Ubuntu: apt install python3-venv)," \
	    "or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	  exit 2; \
	fi; \
	echo "Making $(VENV) with $$chosen (once)"; \
	"$$chosen" -m venv --clear $(VENV)
	$(INSTALL) ".[cpu]"
	@touch $@

$(VENV)/full-$(WANTED): | $(VENV)/base-$(WANTED)
	$(INSTALL) ".[cpu,data,plots,tensorboard,test]"
	@touch $@

$(VENV)/torch-$(WANTED): | $(VENV)/full-$(WANTED)
	$(INSTALL) ".[torch]"
	@touch $@

$(VENV)/onnx-$(WANTED): | $(VENV)/full-$(WANTED)
	$(INSTALL) ".[onnx]"
	@touch $@
