// SPDX-License-Identifier: Apache-2.0
/* The modules of one kernel: which files to load for a driver, in which order, and their bytes.
 *
 * Reads what depmod wrote into a folder /lib/modules/RELEASE: modules.dep, modules.builtin,
 * modules.alias and modules.softdep; or, of a tree that a kernel was built in (it has a .config),
 * modules.order and the modules themselves. The folder is outside data: no path leads out of it by
 * its name, and sizes, counts and depths are bounded. Nothing here logs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct modules;

enum { MODULE_SIZE_MAX = 64 << 20 }; /* of one, unpacked */

/* What modules_want() found. */
enum module_state { MODULE_PLANNED, MODULE_BUILT_IN };

/* Reads the folder's indexes. Returns 0, -ENOENT if it has neither, or another -errno. */
int modules_open(const char *folder, struct modules **ret);
void modules_close(struct modules *modules); /* NULL is fine */

/* Adds a module to the plan, and in front of it all that it needs and the plan does not have. @name
 * is a module's name, where '-' and '_' are one, or an alias without wildcards ("fs-ext4"), which
 * may stand for several.
 *
 * Returns an enum module_state, -ENOENT if this kernel has it neither as a module nor built in, or
 * lacks what it needs, -ELOOP if what it needs goes round in circles, too deep or on and on, or
 * -ENOMEM. */
int modules_want(struct modules *modules, const char *name);

/* The plan: paths below the folder, in the order of loading; valid until the next modules_want().
 * Returns how many there are. */
size_t modules_plan(const struct modules *modules, const char *const **ret);

/* Adds what tells the plan's files from others to @key: paths, sizes, times of change
 * (file_cache_key()). Returns whether an archive of them is worth keeping: if one is packed,
 * as to read plain ones takes no longer than to read the archive, and all could be looked at. */
bool modules_identify(const struct modules *modules, uint64_t *key);

/* Reads a module of the plan and unpacks it (.ko.gz, .ko.xz, .ko.zst). On success *@data has
 * @len bytes, which modules_free() gives back. Returns 0 or -errno, as unpack(). */
int modules_read(const struct modules *modules, const char *path, void **data, size_t *len);
void modules_free(void *data);

/* Under which option of the kernel's configuration a module is built ("VIRTIO_FS"), or NULL if that
 * is not known: for sentences about one that is missing. */
const char *modules_option(const char *name);
