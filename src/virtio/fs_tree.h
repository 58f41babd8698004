// SPDX-License-Identifier: Apache-2.0
/* The host's side of a shared folder, for what serves FUSE messages from it (fs_fuse.c and the
 * fs_ops_*.c): the inodes that the guest knows, what it has opened, and how a name becomes either.
 *
 * Any thread may call these. What fs_inode_get(), fs_inode_adopt() and fs_handle_get() give stays
 * until it is put back, whatever the guest forgets or closes meanwhile. */
#pragma once

#include <linux/capability.h>
#include <linux/stat.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "virtio/fs_share.h"

enum {
    FS_ROOT_ID = 1, /* FUSE_ROOT_ID */
    FS_RESTS_MAX = 1024
};

/* What tells that a file's content was changed. */
struct fs_stamp {
    int64_t mtime_sec, ctime_sec;
    uint64_t size;
    uint32_t mtime_nsec, ctime_nsec;
};

/* A file of the host that the guest knows. */
struct fs_inode {
    uint64_t id; /* the guest's word for it */
    uint64_t dev, ino, mount_id, birth;
    mode_t type;    /* S_IFMT */
    bool is_opaque; /* shown, and nothing of what is in it: see fs_host.c */
    int fd;         /* O_PATH; -1: closed, which none in use is */
    /* Under the share's lock: */
    uint64_t lookups; /* how often the guest was told of it, less what it forgot */
    unsigned uses;
    unsigned opens; /* handles that are of it */
    bool is_pinned; /* stays until the guest forgets everything */
    /* Where it was last found, to be opened again; NULL if that is not known. */
    struct fs_inode *parent;
    char *name;
    unsigned children;     /* whose parent it is; it stays, and stays open, for them */
    bool has_stamp;        /* that would be another one by now if the content were */
    struct fs_stamp stamp; /* when it was last opened */
    struct fs_inode *next; /* in the same bucket */
};

/* What the guest has open. */
struct fs_handle {
    uint64_t id;
    struct fs_inode *inode; /* whose it is, which stays that long */
    int fd;
    bool is_folder;
    /* Of a folder, for whoever reads it on: */
    pthread_mutex_t position_lock;
    int64_t position; /* behind what the guest was given, if it goes on there; -1: not known */
    uint8_t *rest;    /* what was read from the host and had no room; NULL: nothing */
    size_t rest_len;
    /* Under the share's lock: */
    bool is_open;
    unsigned uses;
};

/* Numbers from 1 on, and what they stand for. */
struct fs_table {
    void **slots;
    uint32_t *free;
    uint32_t size, capacity, free_count;
};

/* Which file of the host it is, also when its number is given out again. */
struct fs_hidden_file {
    uint64_t dev, ino, birth;
};

/* A name in a folder that the guest does not see, or that is on the way to such a one. */
struct fs_hidden_name {
    char *folder; /* its path */
    char *name;
    bool is_way;
    bool was_there; /* the folder, at the start: which was that one */
    struct fs_hidden_file folder_then;
};

/* What does not exist for the guest: see fs_hidden.c. */
struct fs_hidden {
    struct fs_hidden_file *files; /* that were there at the start */
    struct fs_hidden_name *names; /* sorted */
    size_t file_count, name_count;
};

struct fs_share {
    bool read_only;
    enum fs_cache cache;
    bool applies_ids; /* what is created belongs to the guest's user: we are root */
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3]; /* what we may, if applies_ids */
    bool flush_has_value; /* a close on this file system can fail */
    int proc_fd;          /* /proc/self/fd, to open in earnest what is O_PATH */
    struct fs_hidden hidden;
    pthread_mutex_t lock; /* of what follows */
    struct fs_table inodes, handles;
    struct fs_inode **buckets;
    size_t bucket_count, inode_count;
    size_t fd_count, fd_max; /* of inodes and handles */
    size_t rest_count;       /* handles that keep a rest, at most FS_RESTS_MAX */
    uint32_t hand;           /* the inode that is asked first when there are too many */
    bool has_closed;         /* some inode ever was closed */
};

/* --- fs_host.c --- */

/* Whether @name can be a file's in a folder: one component, and neither "." nor "..". */
bool fs_name_is_valid(const char *name);

/* Opens the file @name in @folder with @flags (O_CLOEXEC and O_NOFOLLOW are added): no link is
 * followed, and nothing else left the folder. Returns a descriptor or -errno. */
int fs_open_at(const struct fs_inode *folder, const char *name, int flags, mode_t mode);
/* Opens what @inode stands for in earnest: of files and folders only; others are -ENXIO or -ELOOP.
 * Returns a descriptor or -errno. */
int fs_open_inode(const struct fs_share *share, const struct fs_inode *inode, int flags);
/* O_PATH of what @fd has open. Returns a descriptor or -errno. */
int fs_open_again(const struct fs_share *share, int fd);
/* What is known of a file, by its descriptor (@name "") or by a name in a folder, where no link is
 * followed. Returns 0 or -errno. */
int fs_stat(int fd, const char *name, struct statx *stx);
/* An inode as @stx tells it from others. */
struct fs_inode fs_inode_like(const struct statx *stx, int fd);

/* Whether @fd is of a file system that is the kernel's way to talk, and not there for files. */
bool fs_is_kernels(int fd);

/* "N", as openat(proc_fd) wants it, or with the whole path in front. */
struct fs_proc_name {
    char text[40];
};
struct fs_proc_name fs_proc_name(int fd);
struct fs_proc_name fs_proc_path(int fd);

/* --- fs_user.c --- */

/* Makes this thread create files as a user of the guest's, and itself again. Returns 0 or -EPERM.
 */
int fs_act_as(const struct fs_share *share, uid_t uid, gid_t gid);
void fs_act_as_ourselves(const struct fs_share *share);

/* --- fs_table.c: with the share's lock held --- */

/* Returns 0 or -ENOMEM. */
int fs_table_add(struct fs_table *table, void *item, uint64_t *id);
/* NULL if there is none. */
void *fs_table_find(const struct fs_table *table, uint64_t id);
void fs_table_remove(struct fs_table *table, uint64_t id);
void fs_table_fini(struct fs_table *table);

/* --- fs_inode.c --- */

/* Takes over @root, an O_PATH descriptor, as inode FS_ROOT_ID. Returns 0 or -errno. */
int fs_inodes_init(struct fs_share *share, int root);
/* Of nobody who uses one, and after fs_inodes_forget(). */
void fs_inodes_fini(struct fs_share *share);
/* With the share's lock held: the guest knows none any more but the root. */
void fs_inodes_forget(struct fs_share *share);

/* Returns 0, or -ESTALE if the guest was told of no such number, or the host moved or removed the
 * file while it was closed; -ENFILE. */
int fs_inode_get(struct fs_share *share, uint64_t id, struct fs_inode **ret);
/* NULL is fine. */
void fs_inode_put(struct fs_share *share, struct fs_inode *inode);
/* With the share's lock held: one of its handles is gone. */
void fs_inode_end_open(struct fs_share *share, struct fs_inode *inode);
/* Finds the inode that @stx is of, if it is open, and counts a lookup of the guest's. */
bool fs_inode_find(struct fs_share *share, const struct statx *stx, struct fs_inode *parent,
                   const char *name, struct fs_inode **ret);
/* Finds or makes the inode that @fd (O_PATH; taken over in any case) is of, counts a lookup of the
 * guest's, and says what is known of the file. @parent, @name: where it is, or NULL. Returns 0,
 * -ENOENT if it is hidden, -ENFILE if the guest knows too many. */
int fs_inode_adopt(struct fs_share *share, int fd, struct fs_inode *parent, const char *name,
                   struct fs_inode **ret, struct statx *stx);
/* The file at @name is about to be moved or removed: if its inode is closed it could not be found
 * any more, so it is opened. */
void fs_inode_revive(struct fs_share *share, const struct fs_inode *folder, const char *name);
/* The guest forgets @count lookups. */
void fs_inode_forget(struct fs_share *share, uint64_t id, uint64_t count);
/* It stays until fs_forget_all(). */
void fs_inode_pin(struct fs_share *share, struct fs_inode *inode);
/* Whether the content, which @fd has open, is surely the one of the last time this was asked. */
bool fs_inode_is_unchanged(struct fs_share *share, struct fs_inode *inode, int fd);

/* With the share's lock held: makes room for one more descriptor. Returns 0 or -ENFILE. */
int fs_make_room(struct fs_share *share);

/* --- fs_handle.c --- */

/* Takes over @fd, which is of @inode, in any case. Returns 0, or -ENFILE if the guest has too much
 * open. */
int fs_handle_add(struct fs_share *share, struct fs_inode *inode, int fd, uint64_t *ret);
/* Returns 0, or -EBADF if there is none of this kind. */
int fs_handle_get(struct fs_share *share, uint64_t id, bool is_folder, struct fs_handle **ret);
void fs_handle_put(struct fs_share *share, struct fs_handle *handle);
/* It is closed when nobody uses it any more. Returns 0 or -EBADF. */
int fs_handle_close(struct fs_share *share, uint64_t id, bool is_folder);
/* Of a folder, with its position locked: keeps what had no room in the reply, which was up to
 * @position; a @len of 0 is nothing. Beyond FS_RESTS_MAX, or without memory, it is read again. */
void fs_handle_keep_rest(struct fs_share *share, struct fs_handle *handle, const void *rest,
                         size_t len, int64_t position);
/* With the share's lock held: closes them all. */
void fs_handles_close(struct fs_share *share);

/* --- fs_hidden.c --- */

/* Of @paths, NULL-terminated, or NULL. Returns 0 or -ENOMEM; fs_hidden_fini() is due in any case.
 */
int fs_hidden_init(struct fs_hidden *hidden, const char *const *paths);
void fs_hidden_fini(struct fs_hidden *hidden);

/* Whether the file is hidden from the guest, whatever its name. */
bool fs_is_hidden(const struct fs_share *share, const struct fs_inode *inode);
/* Whether a hidden file has this inode number, on whatever device. */
bool fs_may_be_hidden(const struct fs_share *share, uint64_t ino);
/* Whether @name is hidden in a folder, whatever file it is of. */
bool fs_name_is_hidden(const struct fs_share *share, const struct fs_inode *folder,
                       const char *name);
/* Whether a folder of this name is on the way to what is hidden: it may be made, and removed when
 * it is empty, but neither moved there nor away, and no link may be made or removed there. */
bool fs_name_is_way(const struct fs_share *share, const struct fs_inode *folder, const char *name);
/* That nothing hidden is called @name, which is about to be made, replaced or removed, and that the
 * folder is none of the kernel's. Returns 0 or -EACCES. */
int fs_check_name(const struct fs_share *share, const struct fs_inode *folder, const char *name);

/* --- fs_share.c --- */

/* Looks @name up for the guest. Returns as fs_inode_adopt(), or -errno of the host. */
int fs_lookup(struct fs_share *share, struct fs_inode *folder, const char *name,
              struct fs_inode **ret, struct statx *stx);
/* The guest knows nothing any more but the root, and has nothing open. */
void fs_forget_all(struct fs_share *share);
