# sqlfuzz: everything that SQL can do to the extension, from a seed.
# SPDX-License-Identifier: PostgreSQL
