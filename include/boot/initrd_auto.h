// SPDX-License-Identifier: Apache-2.0
/* The initial RAM disk of `-i auto`: the modules that a kernel needs for a root file system on a
 * virtio disk, and an init that loads them, mounts it and hands over (guests/init/disk_init.c). */
#pragma once

#include <stdbool.h>

struct initrd_auto {
    const char *kernel;         /* for messages */
    const char *modules_folder; /* of that kernel */
    const char *cmdline;        /* has root=, and maybe rootfstype= */
    bool may_be_pci;            /* how the disk is found: */
    bool may_be_mmio;           /* both if only the machine will tell */
    const char *cache_folder;   /* where one of packed modules is kept; NULL: nowhere */
};

/* Makes it. Logs what is wrong. Returns 0 or -errno; *@ret is a file, the caller's. */
int initrd_auto_build(const struct initrd_auto *in, int *ret);
