# docs/docs.mk: documentation and META.json; the Makefile includes it before
# PGXS.
# SPDX-License-Identifier: PostgreSQL
#
#   make docs         docs/sql-api.md, docs/platform-sql.md and -events.md anew, from
#                     the server of PG*
#   make docs-check   is what the pages say true? In the server of PG*
#   make META.json    for the PostgreSQL Extension Network

docs:
	'$(bindir)/dropdb' --if-exists docs_api
	'$(bindir)/createdb' docs_api
	'$(bindir)/psql' -Xq -v ON_ERROR_STOP=1 -d docs_api -c 'create extension sentinai'
	docs/gen-sql-api.sh docs_api >docs/sql-api.md.new
	mv docs/sql-api.md.new docs/sql-api.md
	'$(bindir)/psql' -Xq -v ON_ERROR_STOP=1 -d docs_api -c 'create extension sentinai_platform'
	docs/gen-platform-events.sh docs_api >docs/platform-events.md.new
	mv docs/platform-events.md.new docs/platform-events.md
	docs/gen-sql-api.sh docs_api sentinai_platform >docs/platform-sql.md.new
	mv docs/platform-sql.md.new docs/platform-sql.md
	'$(bindir)/dropdb' docs_api

docs-check:
	PG_CONFIG='$(PG_CONFIG)' PATH="$(bindir):$$PATH" test/docs/check.sh $(T)

META.json: META.json.in sentinai.control sentinai_platform.control
	sed 's/@VERSION@/$(EXTVERSION)/; s/@PLATFORM_VERSION@/$(call version_of,sentinai_platform)/' META.json.in >$@

.PHONY: docs docs-check
