// SPDX-License-Identifier: Apache-2.0
/* `hutch kernel check`: whether a kernel has what a machine of ours needs. */
#pragma once

#include <stdbool.h>

/* Prints what was found about the kernel at @path. Returns the exit status: 0, 1 if something is
 * missing, 125 if nothing could be found out. */
int kernel_check(const char *path);

/* Warns if a kernel that gets no initrd cannot reach the disk which @cmdline has as its root, as
 * far as its configuration is at hand. */
void kernel_warn_about_root(const char *path, const char *cmdline, bool by_pci);
