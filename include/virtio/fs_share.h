// SPDX-License-Identifier: Apache-2.0
/* What stands behind a virtio-fs device: a folder of the host.
 *
 * Whatever the guest asks for and whoever on the host renames things meanwhile, nothing outside of
 * the folder can be reached: see fs_host.c. A share outlives its devices: who opened it destroys
 * it, and until then lends it to one device after the other. */
#pragma once

#include <stdbool.h>

struct fs_share;

/* How long the guest believes what it was told. */
enum fs_cache {
    FS_CACHE_AUTO,   /* names and attributes for a second; a file's content while it is unchanged
                      * when it is opened */
    FS_CACHE_ALWAYS, /* for a day, and it keeps what it writes for a while: for folders that
                      * nobody else changes */
    FS_CACHE_NONE,   /* not at all, and files are read and written past the guest's page cache */
};

struct fs_share_params {
    const char *path;
    bool read_only;
    enum fs_cache cache;
    /* Whole paths on the host that do not exist for the guest, where they are in the folder: now,
     * and however often what is there or leads there is made anew. Symbolic links are followed.
     * NULL-terminated, or NULL. */
    const char *const *hidden;
    unsigned share_count; /* shares of this process, which divide its descriptors; 0: 1 */
};

/* Opens the folder. The process's soft limit of open files is raised to the hard one, as every
 * file that the guest's kernel knows is one. Logs what is wrong. Returns 0 or -errno. */
int fs_share_open(const struct fs_share_params *params, struct fs_share **ret);
/* Nobody uses it any more. NULL is fine. */
void fs_share_destroy(struct fs_share *share);
