// SPDX-License-Identifier: Apache-2.0
/* Where a kernel's modules are. */
#pragma once

/* Finds the folder with the modules of the kernel at @path, by the release that the image tells of
 * itself. Logs what is wrong. Returns 0 or -errno; *@ret is the caller's to free. */
int kernel_modules_find(const char *path, char **ret);

/* The same for a release that is known, and without a word; -ENOENT if they are nowhere. */
int kernel_modules_look(const char *path, const char *release, char **ret);
