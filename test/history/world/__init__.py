# world: a server, its clients and what happens to them.
# SPDX-License-Identifier: PostgreSQL
