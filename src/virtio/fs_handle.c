// SPDX-License-Identifier: Apache-2.0
/* What the guest has open of a shared folder: descriptors by number, which stay while a request
 * uses them, though the guest closes them meanwhile. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs_tree.h"
#include "host/fd.h"

static void drop_handle(struct fs_share *share, struct fs_handle *handle)
{
    fs_table_remove(&share->handles, handle->id);
    fs_inode_end_open(share, handle->inode);
    share->fd_count--;
    fd_close(&handle->fd);
    share->rest_count -= handle->rest != NULL;
    free(handle->rest);
    pthread_mutex_destroy(&handle->position_lock);
    free(handle);
}

/* With the lock held. */
static int add_handle(struct fs_share *share, struct fs_handle *handle)
{
    int err = fs_make_room(share);
    if (!err)
        err = fs_table_add(&share->handles, handle, &handle->id);
    if (err)
        return err;
    share->fd_count++;
    handle->inode->opens++;
    return 0;
}

int fs_handle_add(struct fs_share *share, struct fs_inode *inode, int fd, uint64_t *ret)
{
    AUTO_CLOSE int own = fd;
    struct fs_handle *handle = malloc(sizeof(*handle));

    if (!handle)
        return -ENOMEM;
    *handle = (struct fs_handle){
        .inode = inode, .fd = fd, .is_folder = S_ISDIR(inode->type), .is_open = true
    };
    pthread_mutex_init(&handle->position_lock, NULL);
    pthread_mutex_lock(&share->lock);
    int err = add_handle(share, handle);
    if (!err)
        *ret = handle->id;
    pthread_mutex_unlock(&share->lock);
    if (err) {
        pthread_mutex_destroy(&handle->position_lock);
        free(handle);
        return err;
    }
    (void)take_fd(&own);
    return 0;
}

/* With the lock held. NULL if there is none that is open. */
static struct fs_handle *find_handle(const struct fs_share *share, uint64_t id, bool is_folder)
{
    struct fs_handle *handle = fs_table_find(&share->handles, id);

    return handle && handle->is_open && handle->is_folder == is_folder ? handle : NULL;
}

int fs_handle_get(struct fs_share *share, uint64_t id, bool is_folder, struct fs_handle **ret)
{
    pthread_mutex_lock(&share->lock);
    struct fs_handle *handle = find_handle(share, id, is_folder);
    if (handle)
        handle->uses++;
    pthread_mutex_unlock(&share->lock);
    if (!handle)
        return -EBADF;
    *ret = handle;
    return 0;
}

void fs_handle_put(struct fs_share *share, struct fs_handle *handle)
{
    pthread_mutex_lock(&share->lock);
    handle->uses--;
    if (handle->uses == 0 && !handle->is_open)
        drop_handle(share, handle);
    pthread_mutex_unlock(&share->lock);
}

static void close_handle(struct fs_share *share, struct fs_handle *handle)
{
    handle->is_open = false;
    if (handle->uses == 0)
        drop_handle(share, handle);
}

int fs_handle_close(struct fs_share *share, uint64_t id, bool is_folder)
{
    pthread_mutex_lock(&share->lock);
    struct fs_handle *handle = find_handle(share, id, is_folder);
    if (handle)
        close_handle(share, handle);
    pthread_mutex_unlock(&share->lock);
    return handle ? 0 : -EBADF;
}

/* Whether there may be one more, which is counted then. */
static bool count_rest(struct fs_share *share, bool had_one, bool has_one)
{
    pthread_mutex_lock(&share->lock);
    share->rest_count -= had_one;
    bool is_allowed = has_one && share->rest_count < FS_RESTS_MAX;
    share->rest_count += is_allowed;
    pthread_mutex_unlock(&share->lock);
    return is_allowed;
}

void fs_handle_keep_rest(struct fs_share *share, struct fs_handle *handle, const void *rest,
                         size_t len, int64_t position)
{
    uint8_t *copy = len ? malloc(len) : NULL;

    if (copy)
        memcpy(copy, rest, len);
    if ((handle->rest || copy) && !count_rest(share, handle->rest != NULL, copy != NULL)) {
        free(copy);
        copy = NULL;
    }
    free(handle->rest);
    handle->rest = copy;
    handle->rest_len = copy ? len : 0;
    handle->position = len && !copy ? -1 : position;
}

void fs_handles_close(struct fs_share *share)
{
    for (uint32_t i = 0; i < share->handles.size; i++) {
        struct fs_handle *handle = share->handles.slots[i];

        if (handle && handle->is_open)
            close_handle(share, handle);
    }
}
