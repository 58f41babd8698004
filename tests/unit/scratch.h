// SPDX-License-Identifier: Apache-2.0
/* A folder for a test's files, gone with the test's program also when a signal ends that. One at a
 * time: each test program has its own, or each of its tests in turn. */
#pragma once

#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
    pid_t owner; /* of whom a child, which inherits all of this, is none */
    char path[PATH_MAX];
};
static struct scratch scratch_kept;

static inline int scratch_remove_entry(const char *path, const struct stat *st, int type,
                                       struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    (void)remove(path);
    return 0;
}

/* Removes a folder with all that is in it. */
static inline void scratch_remove(const char *path)
{
    (void)nftw(path, scratch_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    scratch_kept.owner = 0;
}

/* Not what a signal handler may do by the book; but the tests wait nearly always, and the worst is
 * that the program does not end by itself, and is killed. */
static inline void scratch_on_signal(int signal_number)
{
    if (scratch_kept.owner == getpid()) {
        (void)umount2(scratch_kept.path, MNT_DETACH);
        scratch_remove(scratch_kept.path);
    }
    (void)raise(signal_number); /* SA_RESETHAND: and this is the end */
}

/* Makes a folder from @path, which ends with XXXXXX. Returns @path, or NULL. */
static inline char *scratch_make(char *path)
{
    static const int deadly[] = { SIGHUP, SIGINT, SIGTERM };
    struct sigaction action = { .sa_handler = scratch_on_signal, .sa_flags = SA_RESETHAND };

    if (!mkdtemp(path))
        return NULL;
    (void)snprintf(scratch_kept.path, sizeof(scratch_kept.path), "%s", path);
    scratch_kept.owner = getpid();
    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
        (void)sigaction(deadly[i], &action, NULL);
    return path;
}
