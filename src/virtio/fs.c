// SPDX-License-Identifier: Apache-2.0
/* How this works: each queue has a thread that leads it: it waits for the driver, takes a chain
 * under the device's lock, answers it without the lock, as files may be slow, and gives it back
 * under the lock again. What the guest queues stays in its ring until then, so nothing is kept here
 * but one message for each thread:
 *
 *   notify -> leader: pop, unlock, serve, lock, push, interrupt
 *
 * Linux before 6.11 uses one queue whatever it is offered, and others' lookups shall not wait until
 * somebody's file is on the disk. So there are more threads than queues, and before a leader does
 * what may take long, it leaves its queue to a thread that has none (fs_fuse_may_wait()). All else
 * it does by itself: waking another thread takes longer than most messages do.
 *
 * A reset waits, as for every device, for the messages that are being answered; then the guest's
 * mount is forgotten. Queue 0 is for what must not wait behind others (5.11.2), which in Linux is
 * FORGET.
 *
 * A thread has a umask of its own, 0, as the guest's kernel has applied that of its process. Where
 * the host does not let a thread have its own, the process's is taken off as well.
 *
 * A mounted folder cannot be saved: what it stands for are descriptors. */
#include "virtio/fs.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "devices/device.h"
#include "fs_fuse.h"
#include "host/log.h"
#include "host/thread.h"

enum {
    QUEUE_SIZE = 512,       /* Linux sends no message that would not fit it without indirection */
    REQUEST_QUEUE = 1,      /* the first one; 0 is of high priority */
    SPARE_WORKERS = 2,      /* beside one for each queue */
    STACK_SIZE = 384 * 1024 /* bytes, for a struct job and what serves it */
};
static_assert(FS_MAX_QUEUES + REQUEST_QUEUE <= VIRTIO_DEV_MAX_QUEUES, "they fit a device");
static_assert(FS_DATA_PAGES + 4 <= QUEUE_SIZE && FS_DATA_PAGES + 4 <= VIRTQUEUE_MAX_SEGMENTS,
              "a message of the most pages fits a chain, with headers and arguments");
static_assert(sizeof(((struct virtio_fs_config *)0)->tag) == FS_TAG_LEN, "as Linux has it");

/* On the thread's stack, as of memory that was never needed nothing is taken there. */
struct job {
    struct virtqueue_chain chain;
    struct fs_call call;
};
static_assert(sizeof(struct job) <= STACK_SIZE / 2, "there is room for what serves it");

struct fs {
    struct virtio_dev vdev;
    struct virtio_fs_config config;
    struct fs_fuse fuse;
    /* With the device's lock: */
    bool is_stopping;
    bool has_left; /* the driver is gone; its mount is to be forgotten */
    bool is_led[FS_MAX_QUEUES + REQUEST_QUEUE];
    pthread_cond_t queue_left; /* some queue is led by nobody, or is_stopping */
    unsigned thread_count;
    pthread_t threads[FS_MAX_QUEUES + REQUEST_QUEUE + SPARE_WORKERS];
};

static struct fs *to_fs(struct virtio_dev *vdev)
{
    return container_of(vdev, struct fs, vdev);
}

/* --- the workers; with the device's lock held --- */

/* What a driver that was reset had mounted goes as soon as nothing of it is being served. */
static void forget_left(struct fs *fs)
{
    if (fs->has_left && fs->vdev.requests_in_flight == 0) {
        fs->has_left = false;
        fs_fuse_reset(&fs->fuse);
    }
}

static void leave_queue(struct fs *fs, unsigned index)
{
    fs->is_led[index] = false;
    pthread_cond_signal(&fs->queue_left);
}

/* Whether it still leads the queue. */
static bool serve_chain(struct fs *fs, struct job *job, unsigned index)
{
    struct virtio_dev *vdev = &fs->vdev;
    uint16_t head = job->chain.head;
    bool leads = !fs_fuse_may_wait(&job->chain);

    if (!leads)
        leave_queue(fs, index);
    virtio_dev_begin_request(vdev);
    pthread_mutex_unlock(&vdev->lock);
    uint32_t written = fs_fuse_serve(&fs->fuse, &job->call, &job->chain);
    pthread_mutex_lock(&vdev->lock);
    if (virtio_dev_is_running(vdev)) {
        virtio_dev_push(vdev, index, head, written);
        virtio_dev_flush_interrupt(vdev, index);
    }
    virtio_dev_end_request(vdev);
    forget_left(fs);
    return leads;
}

/* Until it left the queue, or all ends. */
static void lead_queue(struct fs *fs, struct job *job, unsigned index)
{
    struct virtio_dev *vdev = &fs->vdev;

    fs->is_led[index] = true;
    while (!fs->is_stopping) {
        if (virtio_dev_pop(vdev, index, &job->chain)) {
            if (!serve_chain(fs, job, index))
                return;
        } else {
            pthread_mutex_unlock(&vdev->lock);
            virtio_dev_wait(vdev, index);
            pthread_mutex_lock(&vdev->lock);
        }
    }
}

/* The first queue that nobody leads; queue_count if there is none. */
static unsigned find_queue(const struct fs *fs)
{
    unsigned index = 0;

    while (index < fs->vdev.queue_count && fs->is_led[index])
        index++;
    return index;
}

static void take_own_umask(const struct fs *fs)
{
    if (unshare(CLONE_FS))
        log_debug("%s: a umask for a thread: %s", fs->vdev.name, strerror(errno));
    else
        (void)umask(0);
}

static void *work(void *ctx)
{
    struct fs *fs = ctx;
    struct virtio_dev *vdev = &fs->vdev;
    struct job job;

    take_own_umask(fs);
    pthread_mutex_lock(&vdev->lock);
    while (!fs->is_stopping) {
        unsigned index = find_queue(fs);

        if (index < vdev->queue_count)
            lead_queue(fs, &job, index);
        else
            pthread_cond_wait(&fs->queue_left, &vdev->lock);
    }
    pthread_mutex_unlock(&vdev->lock);
    return NULL;
}

static void stop_workers(struct fs *fs)
{
    pthread_mutex_lock(&fs->vdev.lock);
    fs->is_stopping = true;
    pthread_cond_broadcast(&fs->queue_left);
    for (unsigned i = 0; i < fs->vdev.queue_count; i++)
        virtio_dev_notify(&fs->vdev, i);
    pthread_mutex_unlock(&fs->vdev.lock);
    while (fs->thread_count > 0)
        pthread_join(fs->threads[--fs->thread_count], NULL);
    pthread_cond_destroy(&fs->queue_left);
}

/* --- the device --- */

static void fs_config_read(struct virtio_dev *vdev, uint32_t offset, void *data, uint32_t len)
{
    memcpy(data, (const uint8_t *)&to_fs(vdev)->config + offset, len);
}

/* A guest that never mounts anything costs no thread. */
static int fs_activate(struct virtio_dev *vdev)
{
    struct fs *fs = to_fs(vdev);

    while (fs->thread_count < vdev->queue_count + SPARE_WORKERS) {
        int err = thread_start(&fs->threads[fs->thread_count], STACK_SIZE, work, fs);

        if (err)
            return log_errno(err, "%s: a thread", vdev->name);
        fs->thread_count++;
    }
    return 0;
}

static void fs_reset(struct virtio_dev *vdev)
{
    struct fs *fs = to_fs(vdev);

    fs->has_left = true;
    forget_left(fs);
}

static int fs_save(struct virtio_dev *vdev, struct state_writer *out)
{
    (void)out;
    return atomic_load(&to_fs(vdev)->fuse.is_ready) ? -EOPNOTSUPP : 0;
}

static void fs_destroy(struct virtio_dev *vdev)
{
    struct fs *fs = to_fs(vdev);

    stop_workers(fs);
    fs_fuse_reset(&fs->fuse);
    virtio_dev_fini(vdev);
    free(fs);
}

static const struct virtio_dev_ops fs_ops = {
    .config_read = fs_config_read,
    .activate = fs_activate,
    .reset = fs_reset,
    .save = fs_save,
    .destroy = fs_destroy,
};

int fs_create(const struct fs_params *params, struct virtio_dev **ret)
{
    const struct virtio_dev_params vdev_params = {
        .name = params->name,
        .device_id = VIRTIO_ID_FS,
        .config_size = sizeof(struct virtio_fs_config),
        .queue_count = params->queue_count + REQUEST_QUEUE,
        .queue_size = QUEUE_SIZE,
        .ops = &fs_ops,
        .mem = params->mem,
    };
    struct fs *fs = calloc(1, sizeof(*fs));

    if (!fs)
        return -ENOMEM;
    pthread_cond_init(&fs->queue_left, NULL);
    fs->fuse.share = params->share;
    fs->config.num_request_queues = htole32(params->queue_count);
    memcpy(fs->config.tag, params->tag, strnlen(params->tag, FS_TAG_LEN));
    int err = virtio_dev_init(&fs->vdev, &vdev_params);

    if (err) {
        fs_destroy(&fs->vdev);
        return err;
    }
    *ret = &fs->vdev;
    return 0;
}
