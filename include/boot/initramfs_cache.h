// SPDX-License-Identifier: Apache-2.0
/* Initial RAM disks that were made before, as files in a folder of the user's.
 *
 * A key stands for all that one is made of. Several processes may use the folder at once: a file
 * is there whole or not at all. It holds at most INITRAMFS_CACHE_MAX of them, none that was not
 * used for INITRAMFS_CACHE_DAYS. Nothing here logs; all functions return 0 or -errno. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { INITRAMFS_CACHE_MAX = 16, INITRAMFS_CACHE_DAYS = 30 };

/* Adds bytes to a key, which is 0 at first. */
uint64_t initramfs_cache_key(uint64_t key, const void *data, size_t len);

/* Opens the one with this key, for reading; -ENOENT if there is none that the user owns. */
int initramfs_cache_find(const char *folder, uint64_t key, int *ret);

/* Copies @fd, a regular file, into the folder, which is made if it is not there; removes what is
 * too old or too much. */
int initramfs_cache_store(const char *folder, uint64_t key, int fd);

/* Finds the one with this key, or has it made by @make (*@ret is a file then, the caller's), and
 * keeps that. A folder that cannot be used costs time, and nothing else; NULL: there is none.
 * Returns 0, or what @make returned. */
int initramfs_cache_get(const char *folder, uint64_t key, int (*make)(void *ctx, int *ret),
                        void *ctx, int *ret);
