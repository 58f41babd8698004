// SPDX-License-Identifier: Apache-2.0
/* A scratch folder with image files, and a back-end driven by a loop of its own. */
#pragma once

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/loop.h"
#include "virtio/block_backend.h"

/* Makes an empty folder on a real file system and leaves its path in @dir. */
static inline void scratch_make(char dir[PATH_MAX])
{
    snprintf(dir, PATH_MAX, "/var/tmp/hutch-test-XXXXXX");
    char *made = mkdtemp(dir);
    assert(made);
    (void)made;
}

static inline void scratch_path(char path[PATH_MAX], const char *dir, const char *name)
{
    int len = snprintf(path, PATH_MAX, "%s/%s", dir, name);
    assert(len < PATH_MAX);
    (void)len;
}

/* Makes a file of @size bytes: each sector is filled with its number modulo 250, plus 1. */
static inline void image_make(const char *path, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint8_t *data = malloc(size ? size : 1);

    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i / SECTOR_SIZE % 250 + 1);
    ssize_t written = fd < 0 ? -1 : write(fd, data, size);
    if (written != (ssize_t)size || fsync(fd) < 0) /* so that its blocks are really there */
        abort();
    free(data);
    close(fd);
}

static inline void image_read(const char *path, off_t offset, void *buf, size_t len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || pread(fd, buf, len, offset) != (ssize_t)len)
        abort();
    close(fd);
}
