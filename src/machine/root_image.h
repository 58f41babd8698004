// SPDX-License-Identifier: Apache-2.0
/* A disk image as the guest's root (--root=IMAGE): where in it the root file system is. */
#pragma once

#include "machine/config.h"

/* Makes config->root_path the first disk, and finds the root file system in it: in the whole, or in
 * a partition. Without a COMMAND the machine then boots from it: the kernel command line gets its
 * root=, and an initial RAM disk is made unless the user brings one. What it does not know is left
 * to others to refuse. Logs. Returns 0 or -errno. */
int root_image_take(struct config *config);

/* How a file system of that type is mounted without a byte being written to it, whatever state it
 * was left in. */
const char *root_image_options(const char *type);
