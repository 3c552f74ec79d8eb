# SPDX-License-Identifier: PostgreSQL
# Build of the SentinAI extension. `make help` lists the targets.

# The exception platform is an extension of its own, on the functions of the
# other; whoever wants only the outbox creates only that.
EXTENSION  := sentinai sentinai_platform
version_of  = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $1.control)
EXTVERSION := $(call version_of,sentinai)

# An install script is the modules of a folder joined in number order. Those of
# released versions, and the ways from one to the next, are files of their own.
SQL_MODULES := $(sort $(wildcard sql/[0-9]*.sql))
SQL_PLATFORM := $(sort $(wildcard sql/platform/[0-9]*.sql))
script_core := sentinai--$(EXTVERSION).sql
script_platform := sentinai_platform--$(call version_of,sentinai_platform).sql
DATA_built  := $(script_core) $(script_platform)
DATA        := $(wildcard sql/sentinai--*.sql)

# Everything in src/ but the brokers' providers. Each is linked with its client
# library into a module of its own, so that only the relay process loads it.
SOURCES     := $(wildcard src/*.c src/*/*.c)
HEADERS     := $(wildcard src/*.h src/*/*.h src/*/*/*.h)
# make BROKERS=kafka builds that one alone.
BROKERS     ?= $(sort $(patsubst src/broker/%_conf.c,%,$(wildcard src/broker/*_conf.c)))
PROVIDERS   := $(BROKERS:%=sentinai_%.so)
LIBS_kafka  := -lrdkafka -lpthread
LIBS_rabbitmq := -lrabbitmq -lssl -lcrypto -lpthread
MODULE_big  := sentinai
OBJS        := $(patsubst %.c,%.o,$(filter-out $(if $(FAULTS),,src/base/fault.c),$(SOURCES)))

PG_CFLAGS   := -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Wno-sign-compare -fno-strict-aliasing $(if $(WERROR),-Werror)
# The server's flags are those of the compiler it was built with.
PG_CFLAGS   += $(if $(findstring clang,$(CC)),-Wno-unknown-warning-option -Wno-ignored-optimization-argument -Wno-ignored-attributes)
PG_CPPFLAGS := -Isrc -DSENTINAI_VERSION='"$(EXTVERSION)"'

# For tests only, see src/base/fault.h: make FAULTS=1
SN_FAULT_FLAGS := $(if $(FAULTS),-DSN_FAULTS)
PG_CPPFLAGS += $(SN_FAULT_FLAGS)

EXTRA_CLEAN := $(DATA_built) $(PROVIDERS) build META.json

PG_CONFIG ?= pg_config
ifeq ($(shell command -v $(PG_CONFIG)),)
$(error pg_config not found: install postgresql-server-dev-15 or set PG_CONFIG=/path/to/pg_config)
endif
PG_MAJOR := $(shell $(PG_CONFIG) --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
ifeq ($(shell test $(PG_MAJOR) -ge 15 || echo old),old)
$(error SentinAI needs PostgreSQL 15 or later, $(PG_CONFIG) is version $(PG_MAJOR))
endif

PGXS := $(shell $(PG_CONFIG) --pgxs)
override with_llvm := no
include test/tests.mk
include docs/docs.mk
include $(PGXS)

$(script_core): $(SQL_MODULES) sentinai.control
	rm -f sentinai--*.sql
	cat $(SQL_MODULES) > $@

$(script_platform): $(SQL_PLATFORM) sentinai_platform.control
	rm -f sentinai_platform--*.sql
	cat $(SQL_PLATFORM) > $@

$(OBJS): $(HEADERS)
$(filter $(OBJS),$(patsubst %.c,%.o,$(shell grep -l SENTINAI_VERSION $(SOURCES)))): sentinai.control

# Made again when the flags for tests are not those of the last time.
flagged := $(patsubst %.c,%.o,$(shell grep -l SN_FAULT $(SOURCES)))
$(filter $(OBJS),$(flagged)) $(PROVIDERS): build/flags
build/flags: FORCE
	@mkdir -p build && echo '$(SN_FAULT_FLAGS)' >$@.new && \
		{ cmp -s $@.new $@ && rm $@.new || mv $@.new $@; }
FORCE:

# Only sn_broker_provider is visible in it; the settings' parser is in both.
provider_sources = $(wildcard src/broker/$*/*.c src/broker/client/*.c) src/broker/$*_conf.c src/broker/props.c src/broker/secret_file.c src/base/hash.c
$(PROVIDERS): sentinai_%.so: $(wildcard src/broker/*.c src/broker/*/*.c) src/base/hash.c $(HEADERS)
	$(CC) $(CFLAGS) $(CFLAGS_SL) $(SN_FAULT_FLAGS) -Isrc -D_GNU_SOURCE -fvisibility=hidden $(LDFLAGS) -shared -o $@ $(provider_sources) $(LIBS_$*)

all: $(PROVIDERS)
install: install-providers
install-providers: $(PROVIDERS) installdirs
	$(INSTALL_SHLIB) $(PROVIDERS) '$(DESTDIR)$(pkglibdir)/'
uninstall: uninstall-providers
uninstall-providers:
	rm -f $(PROVIDERS:%='$(DESTDIR)$(pkglibdir)/%')

# Agents, beside the server's own programs. Packages of several versions side
# by side have these in a folder that no PATH has: there a link makes up for it.
# linkdir= makes none; who builds a package (DESTDIR) gets none unasked.
linkdir ?= $(if $(DESTDIR),,$(if $(filter /usr/lib/postgresql/%/bin /usr/pgsql-%/bin,$(bindir)),/usr/local/bin))
all: workers
install: install-workers
workers:
	$(MAKE) -C workers all
install-workers: workers
	$(MAKE) -C workers install bindir='$(bindir)' linkdir='$(linkdir)'
uninstall: uninstall-workers
uninstall-workers:
	$(MAKE) -C workers uninstall bindir='$(bindir)' linkdir='$(linkdir)'

# Measures the installed extension: make bench BENCH_ARGS='--quick --only 1,2'
bench:
	$(MAKE) -C test/bench
	PG_CONFIG='$(PG_CONFIG)' python3 test/bench/bench.py $(BENCH_ARGS)

.PHONY: FORCE bench install-providers uninstall-providers workers install-workers uninstall-workers
