/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * batch_known.c
 *		What a session remembers of the batches that it has claimed.
 *
 * Their events, so that complete() there need not read the log again.  What is
 * remembered are facts that do not change; whether they still matter is read
 * from the lanes.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "queue/batch.h"

#define REMEMBERED_BATCHES	8
#define REMEMBERED_EVENTS	10000

/* A batch claimed in this session */
typedef struct Remembered
{
	MemoryContext context;		/* holds everything; NULL: free */
	pg_uuid_t	batch;
	SnEntries	entries;
} Remembered;

static Remembered remembered[REMEMBERED_BATCHES];
static int	next_remembered = 0;

/*
 * sn_batch_known: the events that a batch had when it was claimed here; NULL
 * when that is not remembered
 */
const SnEntries *
sn_batch_known(const pg_uuid_t *batch)
{
	int			i;

	for (i = 0; i < REMEMBERED_BATCHES; i++)
		if (remembered[i].context != NULL &&
			memcmp(&remembered[i].batch, batch, UUID_LEN) == 0)
			return &remembered[i].entries;
	return NULL;
}

/* sn_batch_memory: a context for events that may be remembered */
MemoryContext
sn_batch_memory(void)
{
	return AllocSetContextCreate(CurrentMemoryContext, "sentinai batch",
								 ALLOCSET_DEFAULT_SIZES);
}

/* forget: give up what is remembered in a place */
static void
forget(Remembered *place)
{
	if (place->context != NULL)
		MemoryContextDelete(place->context);
	place->context = NULL;
	place->entries.n = 0;
}

/* remembered_events: how many events are remembered */
static int
remembered_events(void)
{
	int			n = 0;
	int			i;

	for (i = 0; i < REMEMBERED_BATCHES; i++)
		n += remembered[i].entries.n;
	return n;
}

/*
 * sn_batch_remember: keep the events of a batch claimed here, and their
 * context, for complete() in this session; the oldest are given up for it.
 */
void
sn_batch_remember(MemoryContext context, const SnToken *token,
				  const SnEntries *entries)
{
	Remembered *place = &remembered[next_remembered];
	int			i;

	forget(place);
	for (i = 1; i < REMEMBERED_BATCHES &&
		 remembered_events() + entries->n > REMEMBERED_EVENTS; i++)
		forget(&remembered[(next_remembered + i) % REMEMBERED_BATCHES]);
	MemoryContextSetParent(context, TopMemoryContext);
	place->context = context;
	place->batch = token->batch;
	place->entries = *entries;
	next_remembered = (next_remembered + 1) % REMEMBERED_BATCHES;
}
