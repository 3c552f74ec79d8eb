/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * describe_rules.h
 *		What schemas say of a value, in words.  Private to the describe*.c files.
 */
#ifndef SN_DESCRIBE_RULES_H
#define SN_DESCRIBE_RULES_H

#include "registry/example_make.h"

extern char *sn_describe_line(const char *bytes, int len, int max);
extern char *sn_describe_type(const SnRules *rules);
extern char *sn_describe_rules(const SnRules *rules);
extern char *sn_describe_note(const SnRules *rules);
extern bool sn_describe_gather(SnRules *rules, const SnNode *node);

#endif							/* SN_DESCRIBE_RULES_H */
