// SPDX-License-Identifier: Apache-2.0
/* `hutch kernel check`: whether a kernel has what a machine of ours needs. */
#pragma once

/* Prints what was found about the kernel at @path. Returns the exit status: 0, 1 if something is
 * missing, 125 if nothing could be found out. */
int kernel_check(const char *path);
