// SPDX-License-Identifier: Apache-2.0
/* An initial RAM disk made on the fly: a cpio archive ("newc") in a memory file, without any
 * outside tool (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
 *
 * It may begin with an initrd of the user's, compressed or not, which stays as it is: the kernel
 * unpacks one archive after the other, and a file that comes again replaces the first. A path has
 * no '/' in front; the folders above it must have been added before. Nothing here logs; all
 * functions return 0 or -errno, and after a failure only initramfs_destroy() makes sense. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "boot/file_cache.h"

struct initramfs;
struct modules;

/* Starts one behind what @base has (a regular file, which stays the caller's; -1: nothing). */
int initramfs_create(int base, struct initramfs **ret);
void initramfs_destroy(struct initramfs *initramfs); /* NULL is fine */

/* @mode: the permissions alone. All belongs to root. */
int initramfs_add_folder(struct initramfs *initramfs, const char *path, unsigned mode);
int initramfs_add_file(struct initramfs *initramfs, const char *path, unsigned mode,
                       const void *data, size_t len);
int initramfs_add_link(struct initramfs *initramfs, const char *path, const char *target);
int initramfs_add_console(struct initramfs *initramfs); /* dev/ and dev/console */

/* Adds the folder modules/ with the plan's files, unpacked, and modules/order: their names, one a
 * line, in the order of loading. */
int initramfs_add_modules(struct initramfs *initramfs, const struct modules *modules);

/* Ends the archive, and gives the file: the caller's now, with its offset anywhere. */
int initramfs_finish(struct initramfs *initramfs, int *ret);

/* Where archives that were made before are kept: in @folder; NULL: nowhere. */
struct file_cache initramfs_cache(const char *folder);
