// SPDX-License-Identifier: Apache-2.0
/* The files that the guest knows of a shared folder, and those that it has opened.
 *
 * How this works: the guest names both by numbers that we gave it, places in a table each. An
 * inode is found by its number, and by device, number and mount of the host's file, so that a file
 * with two names is one to the guest, too. It goes when the guest has forgotten it as often as it
 * was told of it (FUSE counts), and no request uses it any more.
 *
 * Every inode keeps a descriptor open, as far as the limit of open files allows: that makes it safe
 * (what was looked up is what is used) and right (its number cannot become another file's). Beyond
 * the limit, one that nobody uses is closed, after a look that its name still leads to it, and
 * opened again by that name when it is needed: it must be the same file then, to the time of its
 * birth. What the guest has open is there also without its name. Before the guest moves or removes
 * a name, what is there is opened (fs_inode_revive()), and stays so until it is looked up under
 * another name. If the host moves a file that is closed, the guest's kernel gets ESTALE, and looks
 * the name up anew. (File handles would know better, and need CAP_DAC_READ_SEARCH.) Folders in
 * which the guest knows something stay open, so opening again takes one step; if there are too many
 * of those, the guest gets ENFILE. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs_tree.h"
#include "host/fd.h"

enum {
    BUCKETS_MIN = 64,
    INODES_MAX = 1024 * 1024, /* that the guest knows, each of some 200 bytes */
    SEARCH_MAX = 4096,        /* inodes looked at to find one that can be closed */
};

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

static bool is_same_file(const struct fs_inode *a, const struct fs_inode *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->mount_id == b->mount_id &&
           a->birth == b->birth && a->type == b->type;
}

static struct fs_inode *find(const struct fs_share *share, const struct fs_inode *like)
{
    struct fs_inode *inode = share->buckets[bucket_of(share, like)];

    while (inode && !is_same_file(inode, like))
        inode = inode->next;
    return inode;
}

static void close_inode(struct fs_share *share, struct fs_inode *inode)
{
    if (inode->fd >= 0)
        share->fd_count--;
    fd_close(&inode->fd);
}

static void drop_inode(struct fs_share *share, struct fs_inode *inode)
{
    struct fs_inode **at = &share->buckets[bucket_of(share, inode)];

    while (*at != inode)
        at = &(*at)->next;
    *at = inode->next;
    fs_table_remove(&share->inodes, inode->id);
    share->inode_count--;
    close_inode(share, inode);
    free(inode->name);
    free(inode);
}

/* Also the folders above that were there for nothing else. */
static void drop_if_unused(struct fs_share *share, struct fs_inode *inode)
{
    while (inode && inode->uses == 0 && inode->opens == 0 && inode->lookups == 0 &&
           inode->children == 0 && !inode->is_pinned && inode->id != FS_ROOT_ID) {
        struct fs_inode *parent = inode->parent;

        drop_inode(share, inode);
        if (parent)
            parent->children--;
        inode = parent;
    }
}

/* --- closing and opening again; with the lock held --- */

/* Says what @fd is of. */
static int identify(int fd, struct fs_inode *inode)
{
    struct statx stx;
    int err = fs_stat(fd, "", &stx);

    if (!err)
        *inode = fs_inode_like(&stx, fd);
    return err;
}

/* Opens what is where the inode was last found. Returns a descriptor, or -ESTALE if that is another
 * file, or -errno. */
static int open_by_name(const struct fs_inode *inode)
{
    if (!inode->name)
        return -ESTALE;
    AUTO_CLOSE int fd = fs_open_at(inode->parent, inode->name, O_PATH, 0);
    struct fs_inode found;
    int err = fd < 0 ? fd : identify(fd, &found);

    if (err)
        return err == -ENOENT ? -ESTALE : err;
    return is_same_file(inode, &found) ? take_fd(&fd) : -ESTALE;
}

static void forget_name(struct fs_share *share, struct fs_inode *inode)
{
    struct fs_inode *parent = inode->parent;

    free(inode->name);
    inode->name = NULL;
    inode->parent = NULL;
    if (parent) {
        parent->children--;
        drop_if_unused(share, parent);
    }
}

/* Notes where the inode was found. */
static void note_name(struct fs_share *share, struct fs_inode *inode, struct fs_inode *parent,
                      const char *name)
{
    if (!parent || parent == inode || (inode->parent == parent && !strcmp(inode->name, name)))
        return;
    forget_name(share, inode);
    inode->name = strdup(name);
    if (!inode->name)
        return;
    inode->parent = parent;
    parent->children++;
}

/* Whether it was open, and could be closed. */
static bool try_to_close(struct fs_share *share, struct fs_inode *inode)
{
    if (inode->fd < 0 || inode->uses || inode->children || inode->is_pinned || !inode->name)
        return false;
    int fd = open_by_name(inode);
    if (fd < 0) {
        forget_name(share, inode);
        return false;
    }
    fd_close(&fd);
    close_inode(share, inode);
    share->has_closed = true;
    return true;
}

int fs_make_room(struct fs_share *share)
{
    for (unsigned i = 0; share->fd_count >= share->fd_max; i++) {
        if (i == SEARCH_MAX || i > share->inodes.size)
            return -ENFILE;
        share->hand = (share->hand + 1) % share->inodes.size;
        struct fs_inode *inode = share->inodes.slots[share->hand];
        if (inode)
            (void)try_to_close(share, inode);
    }
    return 0;
}

/* Opens what the guest has open of the inode once more. Returns as open_by_name(). */
static int open_by_handle(const struct fs_share *share, const struct fs_inode *inode)
{
    for (uint32_t i = 0; inode->opens > 0 && i < share->handles.size; i++) {
        const struct fs_handle *handle = share->handles.slots[i];

        if (handle && handle->inode == inode)
            return fs_open_again(share, handle->fd);
    }
    return -ESTALE;
}

/* For one that is in use from now on. What the guest has open is there though nothing leads to it
 * any more. */
static int reopen(struct fs_share *share, struct fs_inode *inode)
{
    if (inode->fd >= 0)
        return 0;
    int err = fs_make_room(share);
    int fd = err ? err : open_by_name(inode);
    if (fd == -ESTALE)
        fd = open_by_handle(share, inode);
    if (fd < 0)
        return fd;
    inode->fd = fd;
    share->fd_count++;
    return 0;
}

/* A copy of *@like for the table, which owns its descriptor from then on. */
static int add_inode(struct fs_share *share, const struct fs_inode *like, struct fs_inode **ret)
{
    int err = share->inode_count < INODES_MAX ? fs_make_room(share) : -ENFILE;

    if (err)
        return err;
    struct fs_inode *inode = malloc(sizeof(*inode));
    if (!inode)
        return -ENOMEM;
    *inode = *like;
    err = fs_table_add(&share->inodes, inode, &inode->id);
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

int fs_inode_get(struct fs_share *share, uint64_t id, struct fs_inode **ret)
{
    pthread_mutex_lock(&share->lock);
    struct fs_inode *inode = fs_table_find(&share->inodes, id);
    /* One that is only still in use is forgotten already. */
    if (inode && id != FS_ROOT_ID && inode->lookups == 0 && !inode->is_pinned)
        inode = NULL;
    int err = inode ? reopen(share, inode) : -ESTALE;
    if (!err)
        inode->uses++;
    pthread_mutex_unlock(&share->lock);
    if (err)
        return err;
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

void fs_inode_end_open(struct fs_share *share, struct fs_inode *inode)
{
    inode->opens--;
    drop_if_unused(share, inode);
}

/* The inode that @fd is of, open; *@fd is taken if it is needed. With the lock held. */
static int find_or_add(struct fs_share *share, const struct fs_inode *like, int *fd,
                       struct fs_inode **ret)
{
    struct fs_inode *inode = find(share, like);
    int err = 0;

    if (!inode)
        err = add_inode(share, like, &inode);
    else if (inode->fd < 0)
        err = fs_make_room(share);
    if (err)
        return err;
    if (inode->fd < 0) {
        inode->fd = *fd;
        share->fd_count++;
    }
    if (inode->fd == *fd)
        (void)take_fd(fd);
    *ret = inode;
    return 0;
}

/* The guest is told of it. With the lock held. */
static void count_lookup(struct fs_share *share, struct fs_inode *inode, struct fs_inode *parent,
                         const char *name)
{
    inode->lookups++;
    inode->uses++;
    note_name(share, inode, parent, name);
}

bool fs_inode_find(struct fs_share *share, const struct statx *stx, struct fs_inode *parent,
                   const char *name, struct fs_inode **ret)
{
    const struct fs_inode like = fs_inode_like(stx, -1);

    if (fs_is_hidden(share, &like))
        return false;
    pthread_mutex_lock(&share->lock);
    struct fs_inode *inode = find(share, &like);
    bool is_there = inode && inode->fd >= 0;
    if (is_there)
        count_lookup(share, inode, parent, name);
    pthread_mutex_unlock(&share->lock);
    if (is_there)
        *ret = inode;
    return is_there;
}

int fs_inode_adopt(struct fs_share *share, int fd, struct fs_inode *parent, const char *name,
                   struct fs_inode **ret, struct statx *stx)
{
    AUTO_CLOSE int own = fd;
    int err = fs_stat(own, "", stx);

    if (err)
        return err;
    struct fs_inode like = fs_inode_like(stx, own);
    /* Before it was opened the name was not hidden, but the host may have moved the folder. */
    if (fs_is_hidden(share, &like) || (parent && fs_name_is_hidden(share, parent, name)))
        return -ENOENT;
    like.is_opaque = parent && like.dev != parent->dev && fs_is_kernels(own);
    pthread_mutex_lock(&share->lock);
    struct fs_inode *inode;
    err = find_or_add(share, &like, &own, &inode);
    if (!err)
        count_lookup(share, inode, parent, name);
    pthread_mutex_unlock(&share->lock);
    if (err)
        return err;
    *ret = inode;
    return 0;
}

void fs_inode_revive(struct fs_share *share, const struct fs_inode *folder, const char *name)
{
    struct fs_inode like, *inode;

    pthread_mutex_lock(&share->lock);
    bool has_closed = share->has_closed;
    pthread_mutex_unlock(&share->lock);
    if (!has_closed)
        return;
    AUTO_CLOSE int fd = fs_open_at(folder, name, O_PATH, 0);
    if (fd < 0 || identify(fd, &like))
        return;
    pthread_mutex_lock(&share->lock);
    inode = find(share, &like);
    if (inode && inode->fd < 0 && !fs_make_room(share)) {
        inode->fd = take_fd(&fd);
        share->fd_count++;
        forget_name(share, inode); /* it is not closed again until it is found anew */
    }
    pthread_mutex_unlock(&share->lock);
}

void fs_inode_forget(struct fs_share *share, uint64_t id, uint64_t count)
{
    pthread_mutex_lock(&share->lock);
    struct fs_inode *inode = fs_table_find(&share->inodes, id);
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

static struct fs_stamp stamp_of(const struct stat *st)
{
    return (struct fs_stamp){
        .mtime_sec = st->st_mtim.tv_sec,
        .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
        .ctime_sec = st->st_ctim.tv_sec,
        .ctime_nsec = (uint32_t)st->st_ctim.tv_nsec,
        .size = (uint64_t)st->st_size,
    };
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* The clock that files get their times from moves a few hundred times in a second, and what is
 * changed twice in between keeps its time (Linux before 6.13). So a stamp counts only if that
 * clock, looked at before the file, had moved on since the change; or if the change is of a time
 * that is more than a second ahead, as after a clock was set back. */
bool fs_inode_is_unchanged(struct fs_share *share, struct fs_inode *inode, int fd)
{
    struct timespec before, after;
    struct stat st;
    bool is_known = !clock_gettime(CLOCK_REALTIME_COARSE, &before) && !fstat(fd, &st) &&
                    !clock_gettime(CLOCK_REALTIME_COARSE, &after);
    const struct fs_stamp now = is_known ? stamp_of(&st) : (struct fs_stamp){ 0 };

    pthread_mutex_lock(&share->lock);
    bool is_unchanged = is_known && inode->has_stamp && stamps_are_equal(&inode->stamp, &now);
    inode->has_stamp =
        is_known && (is_later(&before, &st.st_ctim) || st.st_ctim.tv_sec > after.tv_sec + 1);
    inode->stamp = now;
    pthread_mutex_unlock(&share->lock);
    return is_unchanged;
}

/* --- all of them --- */

int fs_inodes_init(struct fs_share *share, int root)
{
    AUTO_CLOSE int own = root;
    struct fs_inode like, *inode;
    int err = identify(own, &like);

    if (err)
        return err;
    share->buckets = calloc(BUCKETS_MIN, sizeof(struct fs_inode *));
    if (!share->buckets)
        return -ENOMEM;
    share->bucket_count = BUCKETS_MIN;
    err = add_inode(share, &like, &inode);
    if (!err)
        (void)take_fd(&own);
    return err;
}

void fs_inodes_forget(struct fs_share *share)
{
    for (uint32_t i = 0; i < share->inodes.size; i++) {
        struct fs_inode *inode = share->inodes.slots[i];

        if (inode) {
            inode->lookups = 0;
            inode->is_pinned = inode->has_stamp = false;
            /* Without a look at who is whose parent: after renames two may be each other's. */
            free(inode->name);
            inode->name = NULL;
            inode->parent = NULL;
            inode->children = 0;
        }
    }
    for (uint32_t i = 0; i < share->inodes.size; i++)
        drop_if_unused(share, share->inodes.slots[i]);
}

void fs_inodes_fini(struct fs_share *share)
{
    if (share->inode_count > 0)
        drop_inode(share, fs_table_find(&share->inodes, FS_ROOT_ID));
    fs_table_fini(&share->inodes);
    free(share->buckets);
}
