// SPDX-License-Identifier: Apache-2.0
/* A scratch folder with image files, and a back-end driven by a loop of its own.
 * Included after cmocka.h. */
#pragma once

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/loop.h"
#include "scratch.h"
#include "virtio/block_backend.h"

/* A folder on a real file system, and an image in it; made and removed once for all tests. */
static char dir[PATH_MAX], image[PATH_MAX];

static inline void scratch_path(char path[PATH_MAX], const char *folder, const char *name)
{
    int len = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    assert_true(len < PATH_MAX);
}

static inline int make_scratch(void **state)
{
    (void)state;
    snprintf(dir, PATH_MAX, "/var/tmp/hutch-test-XXXXXX");
    assert_non_null(scratch_make(dir));
    scratch_path(image, dir, "disk.img");
    return 0;
}

/* Fails if a test left something behind. */
static inline int remove_scratch(void **state)
{
    (void)state;
    unlink(image);
    return rmdir(dir);
}

/* Makes a file of @size bytes: each sector is filled with its number modulo 250, plus 1. Its blocks
 * are really there when this returns. */
static inline void image_make(const char *path, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint8_t *data = malloc(size ? size : 1);

    assert_true(fd >= 0 && data);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i / SECTOR_SIZE % 250 + 1);
    assert_int_equal(write(fd, data, size), size);
    assert_int_equal(fsync(fd), 0);
    free(data);
    close(fd);
}

static inline void image_read(const char *path, off_t offset, void *buf, size_t len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, buf, len, offset), len);
    close(fd);
}

/* --- a back-end, the loop that it answers on, and the answers --- */

struct rig {
    struct loop *loop;
    pthread_mutex_t guard;
    struct block_backend *backend;
    unsigned outstanding, batches;
};

struct job {
    struct block_request request;
    struct iovec iov[4];
    struct rig *rig;
    int err; /* 1: not done yet */
};

static inline void rig_note_done(struct block_request *request, int err)
{
    struct job *job = (struct job *)request;

    assert_int_equal(job->err, 1);
    job->err = err;
    job->rig->outstanding--;
}

static inline void rig_note_batch(void *ctx)
{
    struct rig *rig = ctx;

    rig->batches++;
    if (rig->outstanding == 0)
        loop_stop(rig->loop);
}

static inline void rig_attach(struct rig *rig, struct block_backend *backend)
{
    struct block_events events = { .batch_done = rig_note_batch, .ctx = rig };

    memset(rig, 0, sizeof(*rig));
    rig->backend = backend;
    pthread_mutex_init(&rig->guard, NULL);
    assert_int_equal(loop_create(&rig->loop), 0);
    assert_int_equal(rig->backend->ops->attach(rig->backend, rig->loop, &rig->guard, &events), 0);
}

static inline void rig_open(struct rig *rig, const struct block_file_params *params)
{
    struct block_backend *backend;

    assert_int_equal(block_file_open(params, &backend), 0);
    rig_attach(rig, backend);
}

/* Ends all but the back-end, which is returned. */
static inline struct block_backend *rig_detach(struct rig *rig)
{
    rig->backend->ops->detach(rig->backend);
    loop_destroy(rig->loop);
    pthread_mutex_destroy(&rig->guard);
    return rig->backend;
}

static inline void rig_close(struct rig *rig)
{
    rig->backend->ops->destroy(rig->backend);
    loop_destroy(rig->loop);
    pthread_mutex_destroy(&rig->guard);
}

static inline void job_init(struct job *job, enum block_op op, uint64_t offset, void *buf,
                            size_t len)
{
    *job = (struct job){ .err = 1 };
    job->iov[0] = (struct iovec){ buf, len };
    job->request = (struct block_request){ .op = op,
                                           .offset = offset,
                                           .len = len,
                                           .iov = job->iov,
                                           .iov_count = 1,
                                           .done = rig_note_done };
}

static inline void rig_submit(struct rig *rig, struct job *job)
{
    job->rig = rig;
    rig->outstanding++;
    rig->backend->ops->submit(rig->backend, &job->request);
}

static inline void rig_flush(struct rig *rig)
{
    pthread_mutex_lock(&rig->guard);
    rig->backend->ops->flush_submissions(rig->backend);
    pthread_mutex_unlock(&rig->guard);
}

static inline void rig_wait(struct rig *rig)
{
    rig_flush(rig);
    while (rig->outstanding > 0)
        assert_int_equal(loop_run(rig->loop), 0);
}

/* One request from start to end. */
static inline int rig_do(struct rig *rig, enum block_op op, uint64_t offset, void *buf, size_t len)
{
    struct job job;

    job_init(&job, op, offset, buf, len);
    rig_submit(rig, &job);
    rig_wait(rig);
    return job.err;
}
