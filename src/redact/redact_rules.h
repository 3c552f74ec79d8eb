/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * redact_rules.h
 *		The rules for one kind of event, put together for one walk over it.
 *		Private to the files of redaction.
 */
#ifndef SN_REDACT_RULES_H
#define SN_REDACT_RULES_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "registry/json_walk.h"
#include "redact/redact_path.h"

#define SN_REPLACEMENT_MAX	1024	/* bytes, as it is stored and as text */
#define SN_REDACT_KEEP_MAX	64
#define SN_REDACT_TEXT		"[redacted]"	/* in place of what was there */

/* What is done to a value; of two the stronger one, which is the later here */
typedef enum SnMethod
{
	SN_METHOD_NONE,
	SN_METHOD_SECRETS,
	SN_METHOD_MASK,
	SN_METHOD_HASH,
	SN_METHOD_REPLACE,
	SN_METHOD_REMOVE
} SnMethod;

#define SN_METHODS (SN_METHOD_REMOVE + 1)

typedef struct SnEffect
{
	SnMethod	method;
	int			keep;			/* mask: characters that stay */
	unsigned int kinds;			/* secrets: which */
	const JsonbValue *with;		/* replace: with that */
} SnEffect;

/* A member that a rule names; keys of an object are in the same order */
typedef struct SnRuleName
{
	SnJsonKey	key;
	int			node;
} SnRuleName;

typedef struct SnRuleItem
{
	int			index;
	int			node;
} SnRuleItem;

/* A place that paths lead to, or through; 0 as a node's number is none */
typedef struct SnRuleNode
{
	SnEffect	effect;			/* of the rules that end here */
	SnRuleName *names;
	int			nnames;
	SnRuleItem *items;
	int			nitems;
	int			any;			/* .* */
	int			any_item;		/* [*] */
	int			deep;			/* whose steps count at any depth from here */
	bool		is_deep;		/* this is such a one */
} SnRuleNode;

/*
 * Nodes of the rules that a value is at, and where steps lead from there.  An
 * entry is twice the node's number, and one more when only its names count: an
 * array stands there in place of an object.
 */
typedef struct SnRuleState SnRuleState;

/* to a value that is no array, and to one that is; NULL: not worked out yet */
typedef struct SnStateStep
{
	SnRuleState *to[2];
} SnStateStep;

typedef struct SnStateName
{
	SnJsonKey	key;			/* the first field, for bsearch() */
	SnStateStep step;
} SnStateName;

typedef struct SnStateItem
{
	int			index;
	SnStateStep step;
} SnStateItem;

struct SnRuleState
{
	SnEffect	effect;			/* of all of its nodes */
	bool		goes_on;		/* something in the value may be concerned */
	bool		kept;			/* by the set; otherwise it is freed behind the value */
	int			nnames;
	SnStateName *names;			/* in the order that keys of an object have */
	SnStateStep other;			/* members of all other names */
	int			nitems;
	SnStateItem *items;			/* in the order of their numbers */
	SnStateStep other_item;
	int			n;
	int		   *entries;
	uint32		hash;			/* of the entries */
	SnRuleState *chain;			/* the next one whose hash is like it */
};

#define SN_STATE_CHAINS 32

/* Changes that were noted, see redact_trail.c */
#define SN_TRAIL_MAX	20		/* of an event that are listed */
#define SN_TRAIL_POINTER_MAX 256	/* bytes of a pointer */
#define SN_TRAIL_SIZE	(SN_TRAIL_MAX * (SN_TRAIL_POINTER_MAX + 4))

/* An entry has the method, the length of the pointer in two bytes, and that */
#define SN_TRAIL_ENTRY_SIZE(entry) \
	(3 + ((unsigned char) (entry)[1] | (unsigned char) (entry)[2] << 8))

typedef struct SnTrail
{
	int			count;			/* of all */
	int			used;			/* bytes */
	char		bytes[SN_TRAIL_SIZE];
} SnTrail;

typedef struct SnRuleSet
{
	MemoryContext context;
	SnRuleNode *nodes;
	int			nnodes;			/* number 0 is not used */
	int			room;
	int			payload;		/* node of "$"; 0: no rule about it */
	int			metadata;
	bool		unicode;		/* a name has characters beyond ASCII */
	SnEffect	text;			/* of "$error" */
	unsigned int text_kinds;	/* secrets that are looked for in texts */
	uint64	   *seen;			/* by node and mode: the value that was there */
	uint64		walk;
	SnStateStep begin[2];		/* by SnPathRoot */
	SnRuleState *states[SN_STATE_CHAINS];	/* those that are kept, by their hash */
	Size		states_size;
	char	   *last;			/* the trail of the event before, or NULL */
	int			last_used;
	int			last_count;
	Jsonb	   *last_list;		/* what it comes to */
	Jsonb	   *last_alone;		/* metadata that has nothing but that */
	struct SnShape *shape;		/* of the payload before, see redact_shape.c */
} SnRuleSet;

/* A rule as it is stored */
typedef struct SnRule
{
	SnPath		path;
	SnEffect	effect;
} SnRule;

extern const char *const sn_redact_methods[SN_METHODS];

/* bytes that sets of rules in the cache need, about */
extern Size sn_rulesets_size;

/* redact_rules.c */
extern SnRuleSet *sn_ruleset_begin(MemoryContext parent);
extern void sn_ruleset_add(SnRuleSet *set, const SnRule *rule);
extern void sn_ruleset_end(SnRuleSet *set);
extern SnEffect sn_effect_stronger(SnEffect a, SnEffect b);

/* redact_cache.c */
extern SnRuleSet *sn_ruleset_of(const text *tenant_id, const text *event_type);

/* redact_walk.c: NULL when nothing was to be changed */
extern Jsonb *sn_redact_walk(SnRuleSet *set, SnPathRoot root, Jsonb *json,
							 const text *tenant_id, Size max, SnTrail *trail);

#endif							/* SN_REDACT_RULES_H */
