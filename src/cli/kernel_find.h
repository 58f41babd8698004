// SPDX-License-Identifier: Apache-2.0
/* Which kernels there are: those that the host has installed, and those in hutch's cache. */
#pragma once

#include <stddef.h>

enum kernel_origin { KERNEL_INSTALLED, KERNEL_CACHED };

struct kernel {
    char *release; /* as uname -r would say: what the image tells, or else what its name does */
    char *path;    /* of the image */
    enum kernel_origin origin;
};

struct kernel_list {
    struct kernel *kernels; /* the newest release first; installed before cached */
    size_t count;
};

/* Finds them all. A folder that is not there has none. Returns 0 or -ENOMEM. */
int kernel_list_read(struct kernel_list *ret);
void kernel_list_fini(struct kernel_list *list);

/* The cache's folder for kernels, named after XDG_CACHE_HOME, HOME or the user's home as the host
 * knows it, in this order. Returns 0, -ENOENT if there is none of these, or -ENOMEM; *@ret is the
 * caller's to free. */
int kernel_cache_folder(char **ret);
/* The same for the initial RAM disks that are kept there. */
int initrd_cache_folder(char **ret);
/* And where kernels that were unpacked for a start are kept. */
int unpacked_cache_folder(char **ret);
