/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * init.c
 *		Where the server loads the library: settings, shared memory and the
 *		launcher are announced here, and how the server was started is noted.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "base/guc.h"
#include "base/sentinai.h"
#include "hooks/utility.h"
#include "log/clock_floor.h"
#include "log/tenant_scan.h"
#include "process/launcher.h"
#include "shared/recovery.h"
#include "shared/shmem.h"
#include "tenancy/action.h"
#include "tenancy/index_paths.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/* _PG_init: called by the server when it loads the library */
void
_PG_init(void)
{
	sn_guc_init();
	sn_action_clock_ready = sn_store_ready;
	sn_index_paths_init();
	sn_tenant_scan_init();

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;

	if (!IsUnderPostmaster)
		sn_recovery_init();
	sn_shmem_init();
	sn_utility_init();
	sn_launcher_init();
}
