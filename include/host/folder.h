// SPDX-License-Identifier: Apache-2.0
/* Folders of the user's, such as his caches. */
#pragma once

#include <sys/types.h>

/* Makes the folder @path with those above it that are not there, each with @mode. Returns 0, also
 * if it is there, or -errno. Any thread may call this. */
int folder_make(const char *path, mode_t mode);
