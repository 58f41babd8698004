// SPDX-License-Identifier: Apache-2.0
/* The files that the guest knows of a shared folder, and those that it has opened.
 *
 * How this works: the guest names both by numbers that we gave it, places in a table each. An
 * inode is found by its number, and by device, number and mount of the host's file, so that a file
 * with two names is one to the guest, too. It goes when the guest has forgotten it as often as it
 * was told of it (FUSE counts), and no request uses it any more.
 *
 * Every inode keeps a descriptor open. That makes it safe (what was looked up is what is used) and
 * right (its number cannot become another file's), and costs what the limit of open files allows:
 * beyond that the guest gets ENFILE. To open inodes again, by file handle or by name, would need
 * CAP_DAC_READ_SEARCH or be wrong after a rename. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_tree.h"
#include "host/fd.h"

enum { TABLE_MIN = 64 };

/* --- numbers --- */

static int table_grow(struct fs_table *table)
{
    uint32_t capacity = table->capacity ? 2 * table->capacity : TABLE_MIN;
    void **slots = realloc(table->slots, capacity * sizeof(*slots));

    if (!slots)
        return -ENOMEM;
    table->slots = slots;
    uint32_t *free_ids = realloc(table->free, capacity * sizeof(*free_ids));
    if (!free_ids)
        return -ENOMEM;
    table->free = free_ids;
    table->capacity = capacity;
    return 0;
}

/* Returns 0 or -ENOMEM. */
static int table_add(struct fs_table *table, void *item, uint64_t *id)
{
    if (table->free_count > 0) {
        uint32_t slot = table->free[--table->free_count];

        table->slots[slot] = item;
        *id = (uint64_t)slot + 1;
        return 0;
    }
    if (table->size == table->capacity) {
        int err = table_grow(table);

        if (err)
            return err;
    }
    table->slots[table->size++] = item;
    *id = table->size;
    return 0;
}

static void *table_find(const struct fs_table *table, uint64_t id)
{
    return id > 0 && id <= table->size ? table->slots[id - 1] : NULL;
}

static void table_remove(struct fs_table *table, uint64_t id)
{
    table->slots[id - 1] = NULL;
    table->free[table->free_count++] = (uint32_t)(id - 1);
}

static void table_fini(struct fs_table *table)
{
    free(table->slots);
    free(table->free);
    *table = (struct fs_table){ 0 };
}

/* --- inodes; with the lock held --- */

static size_t bucket_of(const struct fs_share *share, const struct fs_inode *inode)
{
    uint64_t hash =
        (inode->ino ^ (inode->dev << 32) ^ (inode->mount_id << 48)) * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t)(hash >> 32) & (share->bucket_count - 1);
}

static void insert(struct fs_share *share, struct fs_inode *inode)
{
    struct fs_inode **bucket = &share->buckets[bucket_of(share, inode)];

    inode->next = *bucket;
    *bucket = inode;
}

/* Makes more buckets, if there is memory; it works with few ones as well. */
static void grow_buckets(struct fs_share *share)
{
    size_t old_count = share->bucket_count;
    struct fs_inode **old = share->buckets;
    struct fs_inode **buckets = calloc(2 * old_count, sizeof(struct fs_inode *));

    if (!buckets)
        return;
    share->buckets = buckets;
    share->bucket_count = 2 * old_count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct fs_inode *inode = old[i], *next; inode; inode = next) {
            next = inode->next;
            insert(share, inode);
        }
    }
    free(old);
}

static struct fs_inode *find(const struct fs_share *share, const struct fs_inode *like)
{
    struct fs_inode *inode = share->buckets[bucket_of(share, like)];

    while (inode && (inode->ino != like->ino || inode->dev != like->dev ||
                     inode->mount_id != like->mount_id))
        inode = inode->next;
    return inode;
}

static void drop_inode(struct fs_share *share, struct fs_inode *inode)
{
    struct fs_inode **at = &share->buckets[bucket_of(share, inode)];

    while (*at != inode)
        at = &(*at)->next;
    *at = inode->next;
    table_remove(&share->inodes, inode->id);
    share->inode_count--;
    share->fd_count--;
    fd_close(&inode->fd);
    free(inode);
}

static void drop_if_unused(struct fs_share *share, struct fs_inode *inode)
{
    if (inode->uses == 0 && inode->lookups == 0 && !inode->is_pinned && inode->id != FS_ROOT_ID)
        drop_inode(share, inode);
}

/* A copy of *@like for the table, which owns its descriptor from then on. */
static int add_inode(struct fs_share *share, const struct fs_inode *like, struct fs_inode **ret)
{
    if (share->fd_count >= share->fd_max)
        return -ENFILE;

    struct fs_inode *inode = malloc(sizeof(*inode));

    if (!inode)
        return -ENOMEM;
    *inode = *like;
    int err = table_add(&share->inodes, inode, &inode->id);
    if (err) {
        free(inode);
        return err;
    }
    if (share->inode_count >= share->bucket_count)
        grow_buckets(share);
    insert(share, inode);
    share->inode_count++;
    share->fd_count++;
    *ret = inode;
    return 0;
}

/* --- inodes --- */

/* Says what @fd is of. */
static int identify(int fd, struct fs_inode *inode)
{
    struct statx stx;

    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
                STATX_TYPE | STATX_INO | STATX_MNT_ID, &stx) < 0)
        return -errno;
    *inode = (struct fs_inode){
        .dev = (uint64_t)stx.stx_dev_major << 32 | stx.stx_dev_minor,
        .ino = stx.stx_ino,
        .mount_id = stx.stx_mask & STATX_MNT_ID ? stx.stx_mnt_id : 0,
        .type = stx.stx_mode & S_IFMT,
        .fd = fd,
    };
    return 0;
}

int fs_inode_get(struct fs_share *share, uint64_t id, struct fs_inode **ret)
{
    pthread_mutex_lock(&share->lock);
    struct fs_inode *inode = table_find(&share->inodes, id);
    /* One that is only still in use is forgotten already. */
    if (inode && id != FS_ROOT_ID && inode->lookups == 0 && !inode->is_pinned)
        inode = NULL;
    if (inode)
        inode->uses++;
    pthread_mutex_unlock(&share->lock);
    if (!inode)
        return -ESTALE;
    *ret = inode;
    return 0;
}

void fs_inode_put(struct fs_share *share, struct fs_inode *inode)
{
    if (!inode)
        return;
    pthread_mutex_lock(&share->lock);
    inode->uses--;
    drop_if_unused(share, inode);
    pthread_mutex_unlock(&share->lock);
}

int fs_inode_adopt(struct fs_share *share, int fd, struct fs_inode **ret)
{
    AUTO_CLOSE int own = fd;
    struct fs_inode like;
    int err = identify(own, &like);

    if (err)
        return err;
    if (fs_is_hidden(share, like.dev, like.ino))
        return -ENOENT;
    pthread_mutex_lock(&share->lock);
    struct fs_inode *inode = find(share, &like);
    if (!inode)
        err = add_inode(share, &like, &inode);
    if (!err) {
        if (inode->fd == own)
            (void)take_fd(&own);
        inode->lookups++;
        inode->uses++;
    }
    pthread_mutex_unlock(&share->lock);
    if (err)
        return err;
    *ret = inode;
    return 0;
}

void fs_inode_forget(struct fs_share *share, uint64_t id, uint64_t count)
{
    pthread_mutex_lock(&share->lock);
    struct fs_inode *inode = table_find(&share->inodes, id);
    if (inode) {
        inode->lookups -= count < inode->lookups ? count : inode->lookups;
        drop_if_unused(share, inode);
    }
    pthread_mutex_unlock(&share->lock);
}

void fs_inode_pin(struct fs_share *share, struct fs_inode *inode)
{
    pthread_mutex_lock(&share->lock);
    inode->is_pinned = true;
    pthread_mutex_unlock(&share->lock);
}

static bool stamps_are_equal(const struct fs_stamp *a, const struct fs_stamp *b)
{
    return a->mtime_sec == b->mtime_sec && a->mtime_nsec == b->mtime_nsec &&
           a->ctime_sec == b->ctime_sec && a->ctime_nsec == b->ctime_nsec && a->size == b->size;
}

bool fs_inode_is_unchanged(struct fs_share *share, struct fs_inode *inode, const struct stat *st)
{
    const struct fs_stamp now = {
        .mtime_sec = st->st_mtim.tv_sec,
        .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
        .ctime_sec = st->st_ctim.tv_sec,
        .ctime_nsec = (uint32_t)st->st_ctim.tv_nsec,
        .size = (uint64_t)st->st_size,
    };

    pthread_mutex_lock(&share->lock);
    bool is_unchanged = inode->has_stamp && stamps_are_equal(&inode->stamp, &now);
    inode->has_stamp = true;
    inode->stamp = now;
    pthread_mutex_unlock(&share->lock);
    return is_unchanged;
}

/* --- what is open --- */

static void drop_handle(struct fs_share *share, struct fs_handle *handle)
{
    table_remove(&share->handles, handle->id);
    share->fd_count--;
    fd_close(&handle->fd);
    pthread_mutex_destroy(&handle->position_lock);
    free(handle);
}

/* With the lock held. */
static int add_handle(struct fs_share *share, struct fs_handle *handle)
{
    if (share->fd_count >= share->fd_max)
        return -ENFILE;
    int err = table_add(&share->handles, handle, &handle->id);
    if (!err)
        share->fd_count++;
    return err;
}

int fs_handle_add(struct fs_share *share, int fd, bool is_folder, uint64_t *ret)
{
    AUTO_CLOSE int own = fd;
    struct fs_handle *handle = malloc(sizeof(*handle));

    if (!handle)
        return -ENOMEM;
    *handle = (struct fs_handle){ .fd = fd, .is_folder = is_folder, .is_open = true };
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
    struct fs_handle *handle = table_find(&share->handles, id);

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

/* --- all of them --- */

int fs_inodes_init(struct fs_share *share, int root)
{
    AUTO_CLOSE int own = root;
    struct fs_inode like, *inode;
    int err = identify(own, &like);

    if (err)
        return err;
    share->buckets = calloc(TABLE_MIN, sizeof(struct fs_inode *));
    if (!share->buckets)
        return -ENOMEM;
    share->bucket_count = TABLE_MIN;
    err = add_inode(share, &like, &inode);
    if (!err)
        (void)take_fd(&own);
    return err;
}

void fs_forget_all(struct fs_share *share)
{
    pthread_mutex_lock(&share->lock);
    for (uint32_t i = 0; i < share->handles.size; i++) {
        struct fs_handle *handle = share->handles.slots[i];

        if (handle && handle->is_open)
            close_handle(share, handle);
    }
    for (uint32_t i = 0; i < share->inodes.size; i++) {
        struct fs_inode *inode = share->inodes.slots[i];

        if (inode) {
            inode->lookups = 0;
            inode->is_pinned = inode->has_stamp = false;
            drop_if_unused(share, inode);
        }
    }
    pthread_mutex_unlock(&share->lock);
}

void fs_inodes_fini(struct fs_share *share)
{
    fs_forget_all(share);
    if (share->inode_count > 0)
        drop_inode(share, table_find(&share->inodes, FS_ROOT_ID));
    table_fini(&share->inodes);
    table_fini(&share->handles);
    free(share->buckets);
}
