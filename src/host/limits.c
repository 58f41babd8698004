// SPDX-License-Identifier: Apache-2.0
/* How much of the host this process may use.
 *
 * A control group's limit holds for all below it, so the way from ours up to the root is walked.
 * In a container the path in /proc/self/cgroup may be one that only the host sees; the mounted
 * root is then the container's own group, and is read in any case. */
#include "host/limits.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/fd.h"

enum { FILE_MAX = 64 << 10 };

/* The number in a file of /sys; UINT64_MAX if there is none ("max" is none). */
static uint64_t read_limit(const char *path)
{
    AUTO_FREE char *text = NULL;
    char *end;

    if (fd_read_file(path, FILE_MAX, &text, NULL))
        return UINT64_MAX;
    unsigned long long value = strtoull(text, &end, 10);
    return end == text ? UINT64_MAX : value;
}

/* The least limit of the group @path below @mount and those above it. */
static uint64_t walk_up(const char *root, const char *mount, char *path, const char *file)
{
    uint64_t least = UINT64_MAX;

    for (;;) {
        char name[PATH_MAX];
        if (snprintf(name, sizeof(name), "%s%s%s/%s", root, mount, path, file) <
            (int)sizeof(name)) {
            uint64_t limit = read_limit(name);
            least = limit < least ? limit : least;
        }
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Whether the comma-separated @list has @word. */
static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, word, len) && (!at[len] || at[len] == ','))
            return true;
    }
    return false;
}

/* One line of /proc/self/cgroup: "0::/path" is v2, "5:memory:/path" a hierarchy of v1. */
static uint64_t line_limit(const char *root, char *line)
{
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!path)
        return UINT64_MAX;
    controllers++;
    *path++ = '\0';
    if (!strcmp(path, "/"))
        *path = '\0';
    if (!*controllers)
        return walk_up(root, "/sys/fs/cgroup", path, "memory.max");
    if (list_has(controllers, "memory"))
        return walk_up(root, "/sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
    return UINT64_MAX;
}

uint64_t limits_cgroup_memory(const char *root)
{
    char path[PATH_MAX];
    AUTO_FREE char *text = NULL;
    uint64_t least = UINT64_MAX;
    char *rest = NULL;

    (void)snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (fd_read_file(path, FILE_MAX, &text, NULL))
        return UINT64_MAX;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        uint64_t limit = line_limit(root, line);
        least = limit < least ? limit : least;
    }
    /* v1 says "none" with a number near the top of its range. */
    return least >= UINT64_MAX >> 2 ? UINT64_MAX : least;
}

static uint64_t host_memory(const char *root)
{
    char path[PATH_MAX];
    AUTO_FREE char *text = NULL;

    (void)snprintf(path, sizeof(path), "%s/proc/meminfo", root);
    if (fd_read_file(path, FILE_MAX, &text, NULL))
        return UINT64_MAX;
    static const char label[] = "MemTotal:";
    const char *line = strstr(text, label);
    return line ? strtoull(line + sizeof(label) - 1, NULL, 10) << 10 : UINT64_MAX;
}

uint64_t limits_memory(const char *root)
{
    uint64_t host = host_memory(root), group = limits_cgroup_memory(root);
    uint64_t least = host < group ? host : group;

    return least == UINT64_MAX ? 0 : least;
}

unsigned limits_cpus(void)
{
    cpu_set_t set;

    /* Fails only with more than 1024 CPUs; then there are surely enough. */
    if (sched_getaffinity(0, sizeof(set), &set))
        return CPU_SETSIZE;
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}
