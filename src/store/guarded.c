/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * guarded.c
 *		Something that may fail, in a subtransaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "store/guarded.h"

/*
 * sn_guarded: do something in a subtransaction.  An error takes back what that has
 * done.  One that is caught is returned; others go on, when the subtransaction is
 * over: whoever catches them has his own.  NULL when all went well.
 */
ErrorData *
sn_guarded(void (*action) (void *), void *arg,
		   bool (*is_caught) (int sqlerrcode))
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		action(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && !is_caught(error->sqlerrcode))
		ReThrowError(error);
	return error;
}
