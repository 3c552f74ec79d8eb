# test/tests.mk: the test tiers as make targets; the Makefile includes it
# before PGXS.
# SPDX-License-Identifier: PostgreSQL
#
#   make unit                       pure C, no server; the rooms of src/
#   make headers                    does it compile for PostgreSQL 17 and 18?
#   make installcheck               pg_regress and isolation, in the server of PG*
#   make pgtap                      pgTAP, in the server of PG*
#   make tap, make kafka, make rabbitmq   servers of their own; not as root
#   make demo-check                 the quickstart itself, in a folder of its own
#   make history                    the history checker, servers of its own
#   make chaos SECONDS=3600         the same for longer, see test/history
#   make check-dedupe SECONDS=600   no copies with dedupe, whatever is killed
#   make check-bugs BUGS=no_fence   does it find the bugs of test/history/bugs? (all)
#   make check-pooled CALLS=1000000 twenty tenants through PgBouncer
#   make check-hostile SECONDS=600  twenty tenants, two of whom do harm
#   make check-points               a crash at every point of src/base/fault.h
#   make schema                     JSON Schema: the official tests, another validator
#   make check-schema EXAMPLES=9999 the same with more random schemas, SEED=7
#   make fuzz                       hostile SQL, a server of its own
#   make check-fuzz SECONDS=600     the same for longer, SEED=7 to repeat one
#   make check-matrix ON=18         PostgreSQL 17 and 18 and a newer librdkafka
#   make check-analyze              gcc -fanalyzer, cppcheck, clang-tidy
#   make check-patroni              docs/patroni.md in a cluster of three nodes
#   make coverage                   how much of src/ and workers/ the tests run
#   make check-long PARTS=assert    what is too long for every day, see test/long
#   make installcheck REGRESS=publish ISOLATION=
#   make pgtap T=test/pgtap/x.sql   make tap T=test/tap/x.pl
#
# `./quickstart test` runs all of them in throw-away clusters.

.DEFAULT_GOAL := all

REGRESS := $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS := --inputdir=test
ISOLATION := $(patsubst test/isolation/specs/%.spec,%,\
	$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS := --inputdir=test/isolation --load-extension=sentinai

PROVE ?= prove
PG_PROVE ?= pg_prove
PGTAP_DB := contrib_pgtap
pgtap_roles = $(shell grep -oh 'create role [a-z_]*' test/pgtap/*.sql | sed 's/.* //' | sort -u | paste -sd,)

# All parts run, also when one has failed.
unit:
	@status=0; \
	$(MAKE) -C test/unit check || status=1; \
	$(MAKE) -C workers test PROVE='$(PROVE) -v' || status=1; \
	test/rooms/check.pl || status=1; \
	test/rooms/patches.sh || status=1; \
	test/rooms/released.sh || status=1; \
	exit $$status

# The compiler reads the flags from a file, so quotes in them are its own.
headers: export SN_FLAGS := $(PG_CPPFLAGS) $(PG_CFLAGS) -Werror
headers:
	test/matrix/headers.sh $(filter-out src/base/fault.c,$(SOURCES))

# These leave many tracks in use, which others would read.
pgtap_last := test/pgtap/turns_mixed.sql test/pgtap/tracks_many.sql

# Roles outlive their database, and a script that was stopped drops none of its own.
pgtap:
	'$(bindir)/dropdb' --if-exists $(PGTAP_DB)
	PGOPTIONS='-c client_min_messages=warning' '$(bindir)/psql' -Xq -d postgres \
		-c 'drop role if exists $(pgtap_roles)'
	'$(bindir)/createdb' $(PGTAP_DB)
	'$(bindir)/psql' -Xq -v ON_ERROR_STOP=1 -d $(PGTAP_DB) \
		-c 'create extension pgtap' -c 'create extension sentinai'
	$(PG_PROVE) -v -d $(PGTAP_DB) $(or $(T),\
		$(filter-out $(pgtap_last),$(sort $(wildcard test/pgtap/*.sql))) $(pgtap_last))
	'$(bindir)/dropdb' $(PGTAP_DB)

# PostgreSQL::Test and pg_regress come with the server's development package.
# It takes LC_ALL away, and a database has to be in UTF8: so LANG says it.
prove_tap = rm -rf tmp_check && mkdir -p tmp_check/log && \
	LANG=C.UTF-8 TESTDIR='$(CURDIR)' TESTDATADIR='$(CURDIR)/tmp_check' \
	TESTLOGDIR='$(CURDIR)/tmp_check/log' PATH="$(bindir):$$PATH" PGPORT=65432 \
	PG_REGRESS='$(dir $(PGXS))../test/regress/pg_regress' \
	$(PROVE) -v -I '$(dir $(PGXS))../test/perl' -I test/tap/lib

# The longest is first: with several at a time it is beside all others.
tap:
	$(prove_tap) $(or $(T),test/tap/memory.pl \
		$(filter-out test/tap/memory.pl,$(sort $(wildcard test/tap/*.pl))))

kafka:
	$(prove_tap) $(or $(T),$(sort $(wildcard test/kafka/*.pl)))

rabbitmq:
	$(prove_tap) $(or $(T),$(sort $(wildcard test/rabbitmq/*.pl)))

mock:
	$(MAKE) -C test/mock

demo: mock workers
	$(MAKE) -C test/demo

demo-check:
	test/demo/check.sh

# The checker's own test, then every fault for 150 seconds, then tenants
# through PgBouncer, then tenants who do harm, then the platform's agents.
CHAOS = PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup)" \
	test/history/private.py FAULTS=1 -- test/history/chaos.py
HOSTILE = PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup)" test/history/hostile.py
FLOW = PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup)" test/history/flow.py
POOLED = PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup)" test/history/pooled.py
history: workers
	@status=0; \
	"$$(test/history/setup)" test/history/selftest.py || status=1; \
	$(CHAOS) --seed 1 --seconds 150 --interval 0.4 || status=1; \
	$(POOLED) || status=1; \
	$(HOSTILE) || status=1; \
	$(FLOW) || status=1; \
	exit $$status

# make chaos SECONDS=3600 SEED=7 CHAOS_ARGS='--rate 300'
# in a build of its own, which can crash at named points
chaos:
	exec env $(CHAOS) --seconds $(or $(SECONDS),180) $(if $(SEED),--seed $(SEED)) \
		$(CHAOS_ARGS)

check-bugs:
	exec env PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup)" test/history/bugs.py $(BUGS)

check-points:
	exec env PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup)" \
		test/history/private.py FAULTS=1 -- test/history/points.py

check-pooled:
	exec env $(POOLED) --calls $(or $(CALLS),20000) $(if $(SEED),--seed $(SEED))

check-hostile:
	exec env $(HOSTILE) --seconds $(or $(SECONDS),30) $(if $(SEED),--seed $(SEED))

check-flow: workers
	exec env $(FLOW) --seconds $(or $(SECONDS),12) $(if $(SEED),--seed $(SEED))

# With dedupe no event is in a topic twice, whoever of relay, server and broker is
# killed. Without what freezes: a dead relay's records that the broker reads only
# then come after the look.
check-dedupe:
	exec env PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup)" \
		test/history/private.py FAULTS=1 -- test/history/run.py --kafka --dedupe \
		--seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED)) \
		--faults relay,broker_kill,broker_restart,outage,immediate,fast,postmaster,sequencer,terminate

history-agent: workers mock
	$(MAKE) -C test/history PG_CONFIG='$(PG_CONFIG)'

# JSON Schema against others' tests.
schema: $(DATA_built)
	PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup schema)" test/schema/run.py

check-schema: $(DATA_built)
	PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup schema)" test/schema/run.py \
		--examples $(or $(EXAMPLES),5000) $(if $(SEED),--seed $(SEED))

# Whatever the catalog names with whatever SQL can do; pgspot on the scripts.
fuzz: $(DATA_built)
	PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup fuzz)" test/fuzz/run.py \
		--seed 1

check-fuzz: $(DATA_built)
	PG_CONFIG='$(PG_CONFIG)' "$$(test/history/setup fuzz)" test/fuzz/run.py \
		--seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED))

check-matrix:
	test/matrix/run.sh $(ON)

check-analyze:
	PG_CONFIG='$(PG_CONFIG)' test/analyze/run.sh $(TOOLS)

check-patroni:
	PG_CONFIG='$(PG_CONFIG)' test/patroni/run.sh

check-long:
	test/long/check-long.sh $(PARTS)

coverage:
	PG_CONFIG='$(PG_CONFIG)' test/builds/coverage.sh $(TIERS)

.PHONY: check-matrix check-analyze check-patroni check-long coverage
.PHONY: unit pgtap tap kafka rabbitmq mock demo demo-check history chaos check-bugs \
	check-points check-pooled check-hostile check-flow check-dedupe history-agent \
	schema check-schema fuzz check-fuzz
