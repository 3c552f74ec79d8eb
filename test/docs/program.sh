#!/bin/bash
# test/docs/program.sh: print the program of docs/agent-loops.md in a language.
# SPDX-License-Identifier: PostgreSQL
#
#   program.sh FENCE
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" docs/agent-loops.md | grep -v '^```'
