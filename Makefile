# pcapwho: one Makefile, not recursive. `make help` lists the targets.
PREFIX     ?= /usr/local
DESTDIR    ?=
CFLAGS     ?= -O2 -g
SANITIZE   ?=
WERROR     ?= 0
V          ?= 0
PKG_CONFIG ?= pkg-config
ifeq ($(origin CC),default)
CC := gcc
endif
VERSION := 0.1.0

# ---- what Debian packages are needed ----
DEPS_BUILD := gcc libc6-dev make pkgconf libpcap-dev zlib1g-dev libdeflate-dev libssl-dev \
              libcap-ng-dev libsqlite3-dev
DEPS_TEST  := libcmocka-dev perl iproute2 curl bind9-dnsutils nginx dnsmasq-base socat \
              netcat-openbsd openssh-client openssh-server tcpdump tshark sqlite3 procps util-linux jq
# For bench only.
DEPS_BENCH := wireshark-common tshark argus-server
# For lint, check-format and fuzz only.
DEPS_LINT  := clang libclang-rt-dev clang-tidy clang-format cppcheck git

# ---- one directory for each configuration, so that objects never mix ----
comma := ,
empty :=
space := $(empty) $(empty)
configuration := $(subst $(space),-,$(strip $(filter-out gcc cc,$(notdir $(firstword $(CC)))) \
                 $(or $(subst $(comma),-,$(SANITIZE)),release)))
O := build/$(configuration)

# Required flags stand apart from CFLAGS, so that `make CFLAGS=-O0` works.
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wcast-align -Wwrite-strings -Wvla -Wformat=2 -Wundef
ifeq ($(WERROR),1)
WARNINGS += -Werror
endif
BASE := -std=c17 -D_GNU_SOURCE -DPCAPWHO_VERSION='"$(VERSION)"' -I. -fno-strict-aliasing \
        -pthread $(WARNINGS)
LINK := -pthread
ifneq ($(SANITIZE),)
BASE += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
LINK += -fsanitize=$(SANITIZE)
endif

# Expanded when a link runs and not before: the first thing that `make check`
# does on a fresh machine is to install pkg-config.
libs = $(shell $(PKG_CONFIG) --libs $(1) 2>/dev/null || echo $(2))
FORMAT_LIBS  = $(call libs,zlib libdeflate libcrypto,-lz -ldeflate -lcrypto)
RECORD_LIBS  = $(call libs,libpcap libcap-ng,-lpcap -lcap-ng) $(FORMAT_LIBS)
ANALYZE_LIBS = $(call libs,libpcap sqlite3,-lpcap -lsqlite3) $(FORMAT_LIBS) -lm
CMOCKA_LIBS  = $(call libs,cmocka,-lcmocka)

FORMAT_SRC  := $(sort $(wildcard snapshot/format/*.c))
RECORD_SRC  := $(sort $(filter-out snapshot/main.c,$(wildcard snapshot/*.c)))
ANALYZE_SRC := $(sort $(filter-out analyze/main.c,$(wildcard analyze/*.c)))
UNIT_SRC    := $(sort $(wildcard tests/unit/test_*.c))
HELPER_SRC  := $(sort $(filter-out $(UNIT_SRC),$(wildcard tests/unit/*.c)))
FUZZ_SRC    := $(sort $(wildcard tests/fuzz/fuzz_*.c))
TRUTH_SRC   := $(sort $(wildcard tests/truth/*.c))
MODEL_SRC   := $(sort $(wildcard tests/model/*.c))
BENCH_SRC   := $(sort $(wildcard tests/bench/*.c))
CLI_SRC     := $(sort $(wildcard tests/cli/*.c))
HEADERS     := $(sort $(wildcard snapshot/*.h snapshot/format/*.h analyze/*.h tests/*/*.h))
PROGRAM_SRC := $(wildcard snapshot/main.c analyze/main.c)
SOURCES     := $(FORMAT_SRC) $(RECORD_SRC) $(ANALYZE_SRC) $(PROGRAM_SRC) $(UNIT_SRC) \
               $(HELPER_SRC) $(FUZZ_SRC) $(TRUTH_SRC) $(MODEL_SRC) $(BENCH_SRC) $(CLI_SRC) \
               $(wildcard tests/fuzz/replay.c)

obj = $(patsubst %.c,$(O)/%.o,$(1))
FORMAT_LIB  := $(O)/libformat.a
RECORD_LIB  := $(O)/librecord.a
ANALYZE_LIB := $(O)/libanalyze.a
PROGRAMS    := $(O)/pcapwho $(O)/pcapwho-record
UNIT_BIN    := $(patsubst %.c,$(O)/%,$(UNIT_SRC))
REPLAY_BIN  := $(patsubst tests/fuzz/fuzz_%.c,$(O)/tests/fuzz/replay_%,$(FUZZ_SRC))
BENCH_BIN   := $(patsubst %.c,$(O)/%,$(BENCH_SRC))
ALL_OBJ     := $(call obj,$(SOURCES)) $(O)/schema_sql.o

say = @:
ifeq ($(V),0)
Q := @
ifeq ($(findstring s,$(firstword -$(MAKEFLAGS))),)
say = @printf '  %-5s %s\n' $(1) $(2)
endif
endif

all: ## build/pcapwho and build/pcapwho-record (the default)
all: $(PROGRAMS)
	@for p in pcapwho pcapwho-record; do \
		[ "$$(readlink build/$$p)" = $(configuration)/$$p ] || \
		ln -sfn $(configuration)/$$p build/$$p; \
	done

# The arrows of the design are also held by what each program is linked from.
$(O)/pcapwho: $(O)/analyze/main.o $(ANALYZE_LIB) $(FORMAT_LIB) | $(O)/.banned
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(ANALYZE_LIBS)
$(O)/pcapwho-record: $(O)/snapshot/main.o $(RECORD_LIB) $(FORMAT_LIB) | $(O)/.banned
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(RECORD_LIBS)

$(FORMAT_LIB): $(call obj,$(FORMAT_SRC))
$(RECORD_LIB): $(call obj,$(RECORD_SRC))
$(ANALYZE_LIB): $(call obj,$(ANALYZE_SRC)) $(O)/schema_sql.o
$(O)/%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $(filter %.o,$^)
# A source that went away leaves the library too.
$(FORMAT_LIB) $(RECORD_LIB) $(ANALYZE_LIB): $(O)/.sources
$(O)/.sources: FORCE
	@mkdir -p $(@D)
	@echo $(SOURCES) | cmp -s - $@ || echo $(SOURCES) > $@

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE) -MMD -MP $(CFLAGS) $(CPPFLAGS) -c -o $@ $<
$(O)/%.o: $(O)/%.c
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE) -MMD -MP $(CFLAGS) $(CPPFLAGS) -c -o $@ $<

$(O)/schema_sql.c: schema/embed.sh schema/queries schema/parts schema/checks $(wildcard schema/*.sql \
		schema/*.tsv schema/checks/*.sql schema/queries/*.sql schema/parts/*.sql)
	@mkdir -p $(@D)
	$(call say,EMBED,$@)
	$(Q)sh $< > $@

# Other flags than last time: everything is built anew.
flags_now = $(subst ','\'',$(CC) $(BASE) $(CFLAGS) $(CPPFLAGS) $(LDFLAGS))
$(O)/.flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(flags_now)' | cmp -s - $@ || printf '%s\n' '$(flags_now)' > $@
$(ALL_OBJ): $(O)/.flags

# Banned functions break the build.
$(O)/.banned: $(SOURCES) $(HEADERS) tests/lint/banned.pl
	@mkdir -p $(@D)
	@perl tests/lint/banned.pl $(SOURCES) $(HEADERS)
	@touch $@

# ---- packages: check and demo install what is missing before anything compiles ----
deps: ## install the Debian packages to build and test with (other users: print their names)
	@.ci/deps $(DEPS_BUILD) $(DEPS_TEST)
deps-lint: ## install the packages that only lint, check-format and fuzz need
	@.ci/deps $(DEPS_LINT)
ready:
	@.ci/deps --if-missing $(DEPS_BUILD) $(DEPS_TEST)
ready-bench:
	@.ci/deps --if-missing $(DEPS_BUILD) $(DEPS_TEST) $(DEPS_BENCH)
ready-lint:
	@.ci/deps --if-missing $(DEPS_BUILD) $(DEPS_LINT)
ifneq ($(filter check demo,$(MAKECMDGOALS)),)
$(ALL_OBJ): | ready
endif
ifneq ($(filter bench,$(MAKECMDGOALS)),)
$(ALL_OBJ): | ready-bench
endif

demo: ## as root: record real traffic of real programs, analyze it, show who sent what
demo: ready all
	@tests/demo.sh

# ---- tests ----
$(O)/tests/unit/%: $(O)/tests/unit/%.o $(call obj,$(HELPER_SRC)) $(ANALYZE_LIB) $(RECORD_LIB) \
		$(FORMAT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(CMOCKA_LIBS) $(RECORD_LIBS) $(ANALYZE_LIBS)
# A replay program feeds the files of tests/fuzz/corpus/NAME to the fuzz target NAME.
$(O)/tests/fuzz/replay_%: $(O)/tests/fuzz/fuzz_%.o $(O)/tests/fuzz/replay.o $(ANALYZE_LIB) \
		$(RECORD_LIB) $(FORMAT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(RECORD_LIBS) $(ANALYZE_LIBS)

# Real processes that log what they did (tests/truth/README.md).
TALK := $(O)/tests/truth/talk
$(TALK): $(call obj,$(TRUTH_SRC))
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^

# Random histories through the whole analyzer (tests/model/README.md).
MODEL := $(O)/tests/model/model
$(MODEL): $(call obj,$(MODEL_SRC)) $(ANALYZE_LIB) $(RECORD_LIB) $(FORMAT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(RECORD_LIBS) $(ANALYZE_LIBS)

# Many runs of pcapwho in one process (its head comment).
MANY := $(O)/tests/cli/many
$(MANY): $(call obj,$(CLI_SRC)) $(ANALYZE_LIB) $(FORMAT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(ANALYZE_LIBS)

# What the benches start and measure with.
ARCHIVE := $(O)/tests/bench/archive
$(filter-out $(ARCHIVE),$(BENCH_BIN)): $(O)/%: $(O)/%.o $(RECORD_LIB) $(FORMAT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(RECORD_LIBS)
$(ARCHIVE): $(O)/tests/bench/archive.o $(ANALYZE_LIB) $(FORMAT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(ANALYZE_LIBS)

CLI_TESTS := $(sort $(wildcard tests/cli/*.t))
TESTS     ?= $(UNIT_BIN) $(REPLAY_BIN) $(MODEL) $(CLI_TESTS) tests/truth/truth.t
# Units run side by side, and tests of commands; those that record the host's own network one
# after the other (tests/rules.yml). One summary closes all.
prove = BUILD=$(O) CC='$(CC)' LC_ALL=C TZ=UTC CMOCKA_MESSAGE_OUTPUT=TAP \
        ASAN_OPTIONS=$${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0} \
        UBSAN_OPTIONS=$${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1} \
        HARNESS_RULESFILE=tests/rules.yml \
        prove -j$$(getconf _NPROCESSORS_ONLN) --exec tests/run-one $(1)

check: ## install what is missing, build, run every test (TESTS=… runs only these)
check: ready $(PROGRAMS) $(UNIT_BIN) $(REPLAY_BIN) $(TALK) $(MODEL) $(MANY)
	@$(call prove,$(TESTS))
unit: ## the unit tests
unit: $(UNIT_BIN)
	@$(call prove,$(UNIT_BIN))
cli: ## the tests of the commands
cli: $(PROGRAMS) $(MANY)
	@$(call prove,$(CLI_TESTS))
truth: ## only the test of owners: real processes of every kind, as root
truth: ready $(PROGRAMS) $(TALK)
	@$(call prove,tests/truth/truth.t)
BENCH ?= $(sort $(wildcard tests/bench/*.sh))
bench: ## as root: what all costs, beside its peers, into build/bench.json (BENCH=… runs only these)
bench: ready-bench all $(BENCH_BIN) $(TALK) $(MODEL)
	@tests/bench/run.bash build/bench.json $(BENCH) -- $(BENCH_OPTIONS)
fuzz-replay: ## every file of tests/fuzz/corpus through its fuzz target, without a fuzzer
fuzz-replay: $(REPLAY_BIN)
	@$(call prove,$(REPLAY_BIN))
everything: ## compile and link all programs and all test programs, run nothing
everything: $(PROGRAMS) $(UNIT_BIN) $(REPLAY_BIN) $(TALK) $(MODEL) $(MANY) $(BENCH_BIN)

# ---- fuzzing: libFuzzer with clang, in its own configuration ----
FUZZ_CC      ?= clang
FUZZ_SECONDS ?= 60
FUZZ_FLAGS   := -std=c17 -D_GNU_SOURCE -DPCAPWHO_VERSION='"$(VERSION)"' -I. -fno-strict-aliasing \
                -pthread -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all
FUZZ_BIN     := $(patsubst %.c,build/fuzz/%,$(FUZZ_SRC))
FUZZ_OBJ     := $(patsubst %.c,build/fuzz/%.o,$(FORMAT_SRC) $(RECORD_SRC) $(ANALYZE_SRC)) \
                build/fuzz/schema_sql.o
build/fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -MMD -MP -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<
build/fuzz/schema_sql.o: $(O)/schema_sql.c
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -c -o $@ $<
build/fuzz/libpcapwho.a: $(FUZZ_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^
build/fuzz/tests/fuzz/%: build/fuzz/tests/fuzz/%.o build/fuzz/libpcapwho.a
	$(call say,LINK,$@)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined -o $@ $^ $(RECORD_LIBS) \
		$(ANALYZE_LIBS)
ifneq ($(filter fuzz lint check-format format,$(MAKECMDGOALS)),)
$(ALL_OBJ) $(FUZZ_OBJ) $(addsuffix .o,$(FUZZ_BIN)): | ready-lint
endif
fuzz: ## FUZZ_SECONDS=60, split over the fuzzers; a crasher is kept in tests/fuzz/corpus
fuzz: $(FUZZ_BIN)
	@tests/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_BIN)

# ---- lint ----
lint: ## clang-tidy, cppcheck, arrows, banned functions, headers, lengths
lint: ready-lint arrows $(O)/.banned
	@BASE='$(subst ','\'',$(BASE))' tests/lint/headers.sh '$(CC)' $(HEADERS)
	@BASE='$(subst ','\'',$(BASE))' V=$(V) tests/lint/static.sh $(SOURCES)
	@perl tests/lint/lengths.pl $(SOURCES) $(HEADERS)
# Apart from lint, and no verdict: gcc 12 reports leaks of what it just stored.
analyzer: ## what gcc -fanalyzer thinks
	@for f in $(FORMAT_SRC) $(RECORD_SRC) $(ANALYZE_SRC); do \
		$(CC) $(BASE) -O1 -fanalyzer -S -o /dev/null $$f; done
arrows: ## who may include what
	@perl tests/lint/arrows.pl
check-format: ready-lint ## clang-format changes nothing
	@clang-format --dry-run -Werror $(SOURCES) $(HEADERS)
format: ready-lint ## let clang-format rewrite the sources
	@clang-format -i $(SOURCES) $(HEADERS)

# ---- installation ----
MAN      := $(sort $(wildcard snapshot/*.[158] analyze/*.[158]))
DOCS     := $(wildcard README.md LICENSE snapshot/format/FORMAT.md schema/*.md schema/*.sql \
            schema/checks/*.sql schema/queries/*.sql schema/parts/*.sql schema/*.tsv schema/*.json)
SAMPLES  := $(shell find samples -type f 2>/dev/null | LC_ALL=C sort)
doc_dir  := $(DESTDIR)$(PREFIX)/share/doc/pcapwho
man_file  = $(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(1)))/$(notdir $(1))
install: ## programs, manual pages, documents and samples below DESTDIR and PREFIX
install: $(PROGRAMS)
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin/
	$(foreach m,$(MAN),install -D -m 644 $(m) $(call man_file,$(m)) &&) true
	$(foreach d,$(DOCS) $(SAMPLES),install -D -m 644 $(d) $(doc_dir)/$(d) &&) true
uninstall: ## remove what install put there
	rm -f $(patsubst %,$(DESTDIR)$(PREFIX)/bin/%,$(notdir $(PROGRAMS)))
	$(if $(MAN),rm -f $(foreach m,$(MAN),$(call man_file,$(m))))
	rm -rf $(doc_dir)

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | LC_ALL=C sort | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  %-13s %s\n' "$$name" "$$text"; done
	@printf '%s\n' '' 'Variables: CC CFLAGS CPPFLAGS LDFLAGS PREFIX DESTDIR V=1 WERROR=1' \
		'           SANITIZE=address,undefined FUZZ_SECONDS= TESTS= BENCH='

FORCE:
.PHONY: all deps deps-lint ready ready-bench ready-lint demo check unit cli bench fuzz-replay \
        everything fuzz lint analyzer arrows check-format format install uninstall clean help FORCE
.SECONDARY:
.DELETE_ON_ERROR:
-include $(ALL_OBJ:.o=.d) $(FUZZ_OBJ:.o=.d) $(addsuffix .d,$(FUZZ_BIN))
