#!/bin/bash
# docs/gen-platform-events.sh: print docs/platform-events.md from the registry.
# SPDX-License-Identifier: PostgreSQL
#
#   docs/gen-platform-events.sh DATABASE >docs/platform-events.md
#
# The database has the extension sentinai_platform and no types of its own.
# `make docs` does it.
set -eu
db=${1:?usage: gen-platform-events.sh DATABASE}

cat <<'TEXT'
# Event catalogue of the platform

The event types that `create extension sentinai_platform` registers. This page is generated from the registry (`make docs`), so `select sentinai.describe_event_type('TriageCompleted')` in psql says the same.
Inbound events come from outside, those of agents from agents. [The exception platform](platform.md) says who publishes which.
TEXT

# The types of the extension are those that come with it: others are control.
psql -XqAt -v ON_ERROR_STOP=1 -d "$db" -c "
    select E'\n## ' || t.event_type || E'\n\n\`\`\`text\n'
        || sentinai.describe_event_type(t.event_type) || E'\n\`\`\`'
    from sentinai.event_types t
    where t.is_default and t.direction <> 'control'
    order by t.direction desc, t.event_type"
