// SPDX-License-Identifier: Apache-2.0
/* What was made before and takes time to make anew, as files in a folder of the user's: initial RAM
 * disks, unpacked kernels.
 *
 * A key stands for all that one is made of. Several processes may use the folder at once: a file
 * is there whole or not at all. It holds at most @max of them, none that was not used for
 * FILE_CACHE_DAYS. Nothing here logs; all functions return 0 or -errno. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { FILE_CACHE_DAYS = 30 };

/* One kind of them. */
struct file_cache {
    const char *folder; /* made when there is something for it; NULL: there is none */
    const char *ending; /* of their names, with its dot */
    unsigned max;
};

/* Adds bytes to a key, which is 0 at first. */
uint64_t file_cache_key(uint64_t key, const void *data, size_t len);

/* Opens the one with this key, for reading; -ENOENT if there is none that the user owns. */
int file_cache_find(const struct file_cache *cache, uint64_t key, int *ret);

/* Copies @fd, a regular file, into the folder, which is made if it is not there; removes what is
 * too old or too much. */
int file_cache_store(const struct file_cache *cache, uint64_t key, int fd);

/* Finds the one with this key, or has it made by @make (*@ret is a file then, the caller's), and
 * keeps that. A folder that cannot be used costs time, and nothing else.
 * Returns 0, or what @make returned. */
int file_cache_get(const struct file_cache *cache, uint64_t key, int (*make)(void *ctx, int *ret),
                   void *ctx, int *ret);
