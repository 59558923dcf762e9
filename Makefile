# The front door.  Meson does the work; this file installs what is missing and remembers the commands.
#   make                 build/hone                      make demo     a small model gets better, with proof
#   make test            all tests, `N passed, ...`      make bench    ratios against rivals
#   make asan, tsan      the tests under sanitizers      make fuzz     fuzzing with clang, FUZZ_SECONDS a target
#   make mutants         planted bugs the tests kill     make hook     checks before each git commit
#   make fmt, fmt-check  clang-format
#   make install         to PREFIX under DESTDIR         make clean
B ?= build
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
SETUP = meson setup --prefix=$(PREFIX)

all: $(B)/build.ninja
	@ninja -C $(B)

packages:
	@tools/setup.sh

$(B)/build.ninja: | packages
	@$(SETUP) $(B)

demo: all
	@tools/demo.sh $(B)

test: all
	@tools/test.sh $(B)

bench: all
	@tools/bench.sh $(B)

asan: | packages
	@[ -f build-asan/build.ninja ] || $(SETUP) -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 build-asan
	@ninja -C build-asan
	@tools/test.sh build-asan

tsan: | packages
	@[ -f build-tsan/build.ninja ] || $(SETUP) -Db_sanitize=thread -Db_lundef=false -Doptimization=1 build-tsan
	@ninja -C build-tsan
	@tools/test.sh build-tsan --suite threads

fuzz: | packages
	@[ -f build-fuzz/build.ninja ] || CC=clang $(SETUP) -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false build-fuzz
	@ninja -C build-fuzz
	@tools/fuzz.sh build-fuzz $(FUZZ_SECONDS)

mutants: | packages
	@tools/mutants.sh

fmt:
	@tools/format.sh

fmt-check:
	@tools/format.sh --check

hook:
	@printf '#!/bin/sh\nmake -s fmt-check && tools/floors.sh && tools/size.sh\n' >"$$(git rev-parse --git-path hooks)/pre-commit"
	@chmod +x "$$(git rev-parse --git-path hooks)/pre-commit"
	@echo "git commit now checks format, floors and sizes first"

install: all
	@meson configure --prefix=$(PREFIX) $(B)
	@DESTDIR=$(DESTDIR) meson install -C $(B)

clean:
	@rm -rf build build-asan build-tsan build-fuzz build-clang

.PHONY: all packages demo test bench asan tsan fuzz mutants fmt fmt-check hook install clean
