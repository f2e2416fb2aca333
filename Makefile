# `make help` lists what there is. Variables: MARCH (the CPU to compile for, default: this one; `make MARCH=x86-64-v3 …`),
# FUZZ_SECONDS (of `make test` and `make fuzz`), TEST_MINUTES (that the tests of `make test` may take), PREFIX, DESTDIR, SYSCONFDIR,
# UNITDIR (of `make install`), TEXT (a text file to train on), STEPS, RANKS, ALLOCATOR (of `make train`), TINYSHAKESPEARE (a text
# for `make bench`).

MARCH ?= native
SWIFT ?= swift
FUZZ_SECONDS ?= 60
# Many times what they take: tests that hang end, and say so.
TEST_MINUTES ?= 60
# Programs and tests share one build: all the commands below use the same flags, so nothing is compiled twice.
BUILD = -c release -Xcc -march=$(MARCH)

# Open MPI refuses to run as root (in a container, say) unless told twice.
ifeq ($(shell id -u),0)
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
endif

.DEFAULT_GOAL := help
.PHONY: help setup build static install uninstall deb train test fuzz soak lint bench docs clean

help:
	@echo 'make train   train a small Mixtral on Shakespeare with two ranks and a coordinator (TEXT=FILE: on any text; STEPS, RANKS, ALLOCATOR)'
	@echo 'make test    run every test, and the fuzzer for a minute'
	@echo 'make soak    run every test, long forms where tests have one, and the fuzzer for an hour'
	@echo 'make fuzz    run the fuzzer alone (FUZZ_SECONDS=60)'
	@echo 'make build   build the programs, optimised for this machine (MARCH=x86-64-v3: for most others)'
	@echo 'make install install programs, units, manual pages, completions and examples (PREFIX=/usr/local, DESTDIR); make uninstall: away'
	@echo 'make static  build what sudo make install then installs, for that builds nothing as root'
	@echo 'make deb     make a Debian package in .build/deb for machines without Swift (MARCH=x86-64-v3: for most of them)'
	@echo 'make lint    check the formatting'
	@echo 'make bench   measure against PyTorch (TINYSHAKESPEARE=FILE: what trains on text, too)'
	@echo 'make docs    make the documentation of the library in .build/documentation (to look at: python3 -m http.server -d .build/documentation)'
	@echo 'make setup   install what is missing, and nothing else; the others do that first'
	@echo 'make clean   remove what was built; runs/ and data/ stay'

setup:
	@sh deploy/setup.sh

build: setup
	$(SWIFT) build $(BUILD)

# Where install.sh puts things; see there.
export PREFIX DESTDIR SYSCONFDIR UNITDIR ZSHDIR
# Packages have the date of what they were made of.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)

static install deb: PROGRAMS = .build/static
static: build
	@sh deploy/setup.sh package
	@sh deploy/link-static.sh $(PROGRAMS)

# Through sudo, root has another PATH, and what it builds would stay its own.
install: $(if $(SUDO_USER),,static)
	@PROGRAMS=$(PROGRAMS) sh deploy/install.sh install

uninstall:
	@sh deploy/install.sh uninstall

# Where the Debian package goes.
PACKAGES ?= .build/deb
deb: static
	@PROGRAMS=$(PROGRAMS) sh deploy/debian/build.sh $(PACKAGES)

train: build
	@sh deploy/setup.sh text
	@bash deploy/shakespeare/train.sh

test: setup
	@sh deploy/setup.sh test
	@sh deploy/python.sh
	$(SWIFT) build $(BUILD) --build-tests
	@sh Tests/Fuzzing/fuzz.sh $(FUZZ_SECONDS)
	@timeout --foreground --signal=INT --kill-after=60 $(TEST_MINUTES)m \
		$(SWIFT) test $(BUILD) --skip-build --disable-xctest --no-parallel || { \
		status=$$?; \
		case $$status in 124 | 137) \
			echo "make: error: the tests were ended; they may take $(TEST_MINUTES) minutes (TEST_MINUTES)" >&2 ;; \
		esac; \
		exit $$status; \
	}

fuzz: setup
	$(SWIFT) build $(BUILD) --build-tests
	@sh Tests/Fuzzing/fuzz.sh $(FUZZ_SECONDS)

soak: setup
	@sh deploy/setup.sh test
	@sh deploy/python.sh
	$(SWIFT) build $(BUILD) --build-tests
	@sh Tests/Fuzzing/fuzz.sh 3600
	@MOE_SOAK=1 $(SWIFT) test $(BUILD) --skip-build --disable-xctest --no-parallel

lint:
	$(SWIFT) format lint --strict -r Package.swift Sources Tests examples Benchmarks

bench: build
	@sh deploy/setup.sh bench
	@sh Benchmarks/bench.sh

docs: build
	@sh deploy/documentation.sh .build/release/Modules .build/documentation

clean:
	rm -rf .build .build-fuzz .venv
