# pcapwho: one Makefile, not recursive. See README.md; `make help` lists the targets.
CC      ?= gcc
PREFIX  ?= /usr/local
DESTDIR ?=
CFLAGS  ?= -O2 -g
SANITIZE ?=
V ?= 0
VERSION := 0.1.0

PKG_CONFIG ?= pkg-config
comma := ,
configuration := $(if $(SANITIZE),$(subst $(comma),-,$(SANITIZE)),release)
O := build/$(configuration)

# Required flags stand apart from CFLAGS, so that `make CFLAGS=-O0` works.
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wcast-align -Wwrite-strings -Wvla -Wformat=2 -Wundef
ifeq ($(WERROR),1)
WARNINGS += -Werror
endif
BASE := -std=c17 -D_GNU_SOURCE -DPCAPWHO_VERSION='"$(VERSION)"' -I. -fno-strict-aliasing -pthread -MMD -MP $(WARNINGS)
ifneq ($(SANITIZE),)
BASE += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
LINK += -fsanitize=$(SANITIZE)
endif

FORMAT_SRC  := $(sort $(wildcard snapshot/format/*.c))
RECORD_SRC  := $(sort $(wildcard snapshot/*.c))
ANALYZE_SRC := $(sort $(wildcard analyze/*.c))
FORMAT_LIBS  := -lz -lcrypto
RECORD_LIBS  := -lpcap -lcap-ng $(FORMAT_LIBS)
ANALYZE_LIBS := -lpcap -lsqlite3 $(FORMAT_LIBS) -lm

obj = $(patsubst %.c,$(O)/%.o,$(1))
FORMAT_LIB  := $(O)/libformat.a
RECORD_LIB  := $(O)/librecord.a
ANALYZE_LIB := $(O)/libanalyze.a

ifeq ($(V),0)
Q := @
say = @printf '  %-5s %s\n' $(1) $(2)
else
say = @:
endif

all: build/pcapwho build/pcapwho-record

build/pcapwho: $(O)/pcapwho
	$(Q)ln -sf $(configuration)/pcapwho $@
build/pcapwho-record: $(O)/pcapwho-record
	$(Q)ln -sf $(configuration)/pcapwho-record $@

$(O)/pcapwho: $(O)/analyze/main.o $(ANALYZE_LIB) $(FORMAT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(ANALYZE_LIBS)
$(O)/pcapwho-record: $(O)/snapshot/main.o $(RECORD_LIB) $(FORMAT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(RECORD_LIBS)

$(FORMAT_LIB): $(call obj,$(FORMAT_SRC))
$(RECORD_LIB): $(call obj,$(filter-out snapshot/main.c,$(RECORD_SRC)))
$(ANALYZE_LIB): $(call obj,$(filter-out analyze/main.c,$(ANALYZE_SRC)))
$(O)/%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE) $(CFLAGS) $(CPPFLAGS) -c -o $@ $<

# ---- tests: tests/unit/*.c are cmocka programs, one for each module ----
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(patsubst %.c,$(O)/%,$(UNIT_SRC))
$(O)/tests/unit/%: $(O)/tests/unit/%.o $(ANALYZE_LIB) $(RECORD_LIB) $(FORMAT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) -pthread $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ -lcmocka $(RECORD_LIBS) $(ANALYZE_LIBS)

unit: $(UNIT_BIN)
	@set -e; for t in $(UNIT_BIN); do $$t; done

clean:
	rm -rf build

.PHONY: all unit clean
.SECONDARY:
-include $(shell find build -name '*.d' 2>/dev/null)
