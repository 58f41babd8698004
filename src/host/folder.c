// SPDX-License-Identifier: Apache-2.0
/* As `mkdir -p`: from the top down, as another process may make the same meanwhile. */
#include "host/folder.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "host/fd.h"

static int make_one(const char *path, mode_t mode)
{
    return mkdir(path, mode) && errno != EEXIST ? -errno : 0;
}

int folder_make(const char *path, mode_t mode)
{
    AUTO_FREE char *part = strdup(path);
    int err = part ? 0 : -ENOMEM;

    for (char *at = part; !err && *at && (at = strchr(at + 1, '/'));) {
        *at = '\0';
        err = make_one(part, mode);
        *at = '/';
    }
    return err ? err : make_one(path, mode);
}
