# `make` alone lists the targets.

PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
DESTDIR ?=

INCLUDEDIR = $(PREFIX)/include
BINDIR     = $(PREFIX)/bin
MANDIR     = $(PREFIX)/share/man
# Where each shell looks for completions.
BASHDIR    = $(PREFIX)/share/bash-completion/completions
ZSHDIR     = $(PREFIX)/share/zsh/site-functions
FISHDIR    = $(PREFIX)/share/fish/vendor_completions.d
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml | head -n 1)
# The number in the library's soname (build.rs): programs linked with it look for this file.
MAJOR   := $(firstword $(subst ., ,$(VERSION)))
LIBRARY  = target/release/libforkguard.so
COMMAND  = target/release/forkguard

.PHONY: help setup build demo picture test test-glibc test-arm64 suites servers bench soak fuzz lint install uninstall packages deb wheel tarball clean loom miri memcheck
# Run prerequisites in order, also under -j: a build needs what setup installs, and a measurement
# needs the machine to itself.
.NOTPARALLEL:

help:
	@echo 'make build      the library, $(LIBRARY), and the command, target/release/forkguard'
	@echo 'make demo       a Celery worker without and with it; one table (a minute and a half); VERBOSE=1: all it saw'
	@echo 'make picture    records the README'\''s terminal session again into docs/session.svg'
	@echo 'make test       every test, against a private PostgreSQL server'
	@echo 'make test-glibc the clients of Debian 13 and sid in roots of their own, as root (two made once, 3 minutes; then 12)'
	@echo 'make test-arm64 the library on arm64, as root: qemu-user, and real kernels with pages of 4 and 16 KB (roots made once, 6 minutes; then 20)'
	@echo 'make suites     psycopg2'\''s, SQLAlchemy'\''s and asyncpg'\''s own tests, without and with it; SUITE=psycopg2 for one'
	@echo 'make servers    what make test asks of PostgreSQL 13 and 18, of every server and libpq from 13 to 18'
	@echo 'make bench      what it costs, measured side by side'
	@echo 'make soak       programs that hold sessions and fork, SECONDS=120; numbers in docs/RELIABILITY.md'
	@echo 'make fuzz       hostile input, SECONDS=60 for each target; what was kept is replayed by make test'
	@echo 'make loom       every interleaving of the lock-free parts; make test has the short form'
	@echo 'make miri       unit tests under Miri, where a nightly toolchain has it'
	@echo 'make memcheck   C programs under the library and valgrind, all of them; make test has a few'
	@echo 'make lint       formatting, clippy, documentation, licences and sources of the crates'
	@echo 'make install    library, command, header, pkg-config file, man pages, completions; PREFIX=$(PREFIX) LIBDIR=$(LIBDIR) DESTDIR='
	@echo 'make packages   a Debian package, a Python wheel and a tarball into target/packages; make deb, wheel, tarball: one'
	@echo 'make uninstall  takes those away again; give it the same variables'
	@echo 'make setup      what demo, test and bench need (they call it): Debian packages, target/venv'
	@echo 'make clean      removes target/'

setup:
	@tools/setup

# Two commands: in one, cargo would unite features, and those that the command needs of a crate would
# reach the library.
build:
	cargo build --release
	cargo build --release -p forkguard-cli

demo: setup build
	@target/venv/bin/python demo/run.py $(if $(VERBOSE),--verbose)

picture: setup build
	@target/venv/bin/python tools/record-session

# The tests load the release library, the one that is shipped. Every program that they run has its
# own time limit; .ci/run limits the whole. A file left outside target/ is a failure.
test: setup build
	@tools/tree-kept cargo test --workspace

# The same build on newer systems. SUITE=sid runs one of them.
test-glibc: setup build
	@tools/test-glibc $(SUITE)

# All take an hour on two quiet cores.
suites: setup build
	@tools/suites/run $(SUITE)

# Checks the table of functions, statements on each server, and 36 pairs of a server and a libpq. A
# quarter of an hour on two quiet cores.
servers: setup build
	@tools/servers
	FORKGUARD_TEST_SERVERS=all cargo test -p reader --test reader -- --nocapture the_table_of_functions every_server
	FORKGUARD_TEST_SERVERS=all cargo test --test guard -- --nocapture servers::a_childs

bench: setup build
	cargo bench --bench cost

# make exports what its command line sets, so tools/soak reads MIX= and SEED= from the environment.
soak: setup build
	@tools/soak $(or $(SECONDS),120)

fuzz: setup
	@tools/fuzz $(or $(SECONDS),60)

# Takes minutes. PREEMPTIONS=3 tries more interleavings, and takes a night.
loom:
	$(if $(PREEMPTIONS),FORKGUARD_LOOM_PREEMPTIONS=$(PREEMPTIONS)) cargo test -p forkguard-loom -- --include-ignored

miri:
	@tools/miri

memcheck: setup build
	cargo test --test guard -- --include-ignored memory::

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTFLAGS='--cfg forkguard_other_processor' cargo clippy --lib -p forkguard -p forkguard-signal-safe --target-dir target/other -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items -p forkguard -p forkguard-sql -p forkguard-proto -p forkguard-signal-safe -p forkguard-cli
	tools/dependencies

# Builds nothing: run `make build`, then `sudo make install`, and root needs no Rust. The built
# command writes the man pages and completions.
install:
	@test -e $(LIBRARY) || { echo 'make install: $(LIBRARY) is missing: run make build' >&2; exit 1; }
	@test -x $(COMMAND) || { echo 'make install: $(COMMAND) is missing: run make build' >&2; exit 1; }
	install -d '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(BINDIR)' \
	    '$(DESTDIR)$(MANDIR)/man1' '$(DESTDIR)$(MANDIR)/man7' \
	    '$(DESTDIR)$(BASHDIR)' '$(DESTDIR)$(ZSHDIR)' '$(DESTDIR)$(FISHDIR)'
	install -m 644 $(LIBRARY) '$(DESTDIR)$(LIBDIR)/libforkguard.so.$(VERSION)'
	ln -sf libforkguard.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/libforkguard.so.$(MAJOR)'
	ln -sf libforkguard.so.$(MAJOR) '$(DESTDIR)$(LIBDIR)/libforkguard.so'
	install -m 755 $(COMMAND) '$(DESTDIR)$(BINDIR)/forkguard'
	install -m 644 include/forkguard.h '$(DESTDIR)$(INCLUDEDIR)/forkguard.h'
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	    -e 's|@VERSION@|$(VERSION)|' forkguard.pc.in >'$(DESTDIR)$(LIBDIR)/pkgconfig/forkguard.pc'
	$(COMMAND) manual '$(DESTDIR)$(MANDIR)'
	$(COMMAND) completions bash >'$(DESTDIR)$(BASHDIR)/forkguard'
	$(COMMAND) completions zsh >'$(DESTDIR)$(ZSHDIR)/_forkguard'
	$(COMMAND) completions fish >'$(DESTDIR)$(FISHDIR)/forkguard.fish'
	@chmod 644 '$(DESTDIR)$(LIBDIR)/pkgconfig/forkguard.pc' '$(DESTDIR)$(MANDIR)'/man[17]/*forkguard*.[17] \
	    '$(DESTDIR)$(BASHDIR)/forkguard' '$(DESTDIR)$(ZSHDIR)/_forkguard' '$(DESTDIR)$(FISHDIR)/forkguard.fish'
	@test -n '$(DESTDIR)' || echo 'Programs linked with -lforkguard find it after ldconfig (as root).'

uninstall:
	rm -f '$(DESTDIR)$(LIBDIR)/libforkguard.so.$(VERSION)' \
	    '$(DESTDIR)$(LIBDIR)/libforkguard.so.$(MAJOR)' \
	    '$(DESTDIR)$(LIBDIR)/libforkguard.so' \
	    '$(DESTDIR)$(BINDIR)/forkguard' \
	    '$(DESTDIR)$(INCLUDEDIR)/forkguard.h' \
	    '$(DESTDIR)$(LIBDIR)/pkgconfig/forkguard.pc' \
	    '$(DESTDIR)$(MANDIR)'/man1/forkguard.1 '$(DESTDIR)$(MANDIR)'/man1/forkguard-*.1 \
	    '$(DESTDIR)$(MANDIR)/man7/libforkguard.7' \
	    '$(DESTDIR)$(BASHDIR)/forkguard' '$(DESTDIR)$(ZSHDIR)/_forkguard' '$(DESTDIR)$(FISHDIR)/forkguard.fish'

packages: setup build
	@tools/package deb wheel tarball

deb wheel tarball: setup build
	@tools/package $@

clean:
	cargo clean
