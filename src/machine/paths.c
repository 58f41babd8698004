// SPDX-License-Identifier: Apache-2.0
/* Absolute paths, as far as their text goes: links are not looked at. */
#include <stdlib.h>
#include <string.h>

#include "root_private.h"

/* Takes the last component off @path, which has @len bytes. */
static size_t drop_last(const char *path, size_t len)
{
    while (len > 0 && path[len - 1] != '/')
        len--;
    return len > 0 ? len - 1 : 0;
}

static size_t append(char *path, size_t len, const char *more)
{
    while (*more) {
        size_t part = strcspn(more, "/");

        if (part == 2 && more[0] == '.' && more[1] == '.') {
            len = drop_last(path, len);
        } else if (part > 0 && !(part == 1 && more[0] == '.')) {
            path[len++] = '/';
            memcpy(path + len, more, part);
            len += part;
        }
        more += part;
        more += *more == '/';
    }
    return len;
}

char *path_normalise(const char *folder, const char *path)
{
    char *ret = malloc(strlen(folder) + strlen(path) + 3);
    size_t len = 0;

    if (!ret)
        return NULL;
    if (path[0] != '/')
        len = append(ret, len, folder);
    len = append(ret, len, path);
    if (len == 0)
        ret[len++] = '/';
    ret[len] = '\0';
    return ret;
}

bool path_is_beneath(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    if (len == 1)
        return true;
    return !strncmp(path, folder, len) && (path[len] == '/' || !path[len]);
}
