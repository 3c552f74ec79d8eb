# SPDX-License-Identifier: PostgreSQL
# Build of the SentinAI extension. `make help` lists the targets.

EXTENSION  := sentinai
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" sentinai.control)

# The install script is the modules of sql/ joined in number order.
SQL_MODULES := $(sort $(wildcard sql/[0-9]*.sql))
DATA_built  := $(EXTENSION)--$(EXTVERSION).sql
DATA        := $(wildcard sql/$(EXTENSION)--*--*.sql)

# Everything in src/ but what belongs to the Kafka library, which is linked
# into a module of its own so that only the relay process ever loads it.
KAFKA_SRCS  := src/broker_kafka.c src/kafka_conf.c
MODULE_big  := sentinai
OBJS        := $(patsubst %.c,%.o,$(filter-out src/broker_kafka.c,$(wildcard src/*.c)))

PG_CFLAGS   := -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Wno-sign-compare -fno-strict-aliasing $(if $(WERROR),-Werror)
PG_CPPFLAGS := -DSENTINAI_VERSION='"$(EXTVERSION)"'

EXTRA_CLEAN := $(DATA_built) sentinai_kafka.so build

PG_CONFIG ?= pg_config
ifeq ($(shell command -v $(PG_CONFIG)),)
$(error pg_config not found: install postgresql-server-dev-15 or set PG_CONFIG=/path/to/pg_config)
endif
PG_MAJOR := $(shell $(PG_CONFIG) --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
ifeq ($(shell test $(PG_MAJOR) -ge 15 || echo old),old)
$(error SentinAI needs PostgreSQL 15 or later, $(PG_CONFIG) is version $(PG_MAJOR))
endif

PGXS := $(shell $(PG_CONFIG) --pgxs)
with_llvm := no
include test/tests.mk
include $(PGXS)

$(DATA_built): $(SQL_MODULES) sentinai.control
	cat $(SQL_MODULES) > $@

$(OBJS): $(wildcard src/*.h)
