// SPDX-License-Identifier: Apache-2.0
/* FUSE messages of a guest, and what answers them from a shared folder. */
#pragma once

#include <linux/fuse.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "fs_tree.h"
#include "virtio/virtqueue.h"

enum {
    FS_ARGS_MAX = 80 * 1024,  /* of a message, but for the data of a write: an xattr has 64 KiB */
    FS_REPLY_MAX = 80 * 1024, /* but for the data of a read */
    FS_DATA_PAGES = 256,      /* in a message: Linux sends no more unless root asks it to */
};

/* What a guest's mount agreed on; any thread. */
struct fs_fuse {
    struct fs_share *share;
    atomic_bool is_ready;   /* INIT was answered */
    atomic_uint init_flags; /* FUSE_* of both sides */
};

/* One message being answered. */
struct fs_call {
    struct fs_fuse *fuse;
    struct fs_share *share;
    struct fuse_in_header header;
    struct fs_inode *inode; /* what header.nodeid names */
    const void *arg;        /* the operation's struct; aligned */
    const char *name[2];    /* NUL-terminated; checked as the operation's table entry says */
    const uint8_t *rest;    /* what follows */
    size_t rest_len;
    struct iovec *data; /* of a write: what is not copied; of a read: where it goes */
    size_t data_count, data_len;
    size_t room;      /* the reply's, but for a read's data */
    size_t reply_len; /* without its header */
    _Alignas(8) uint8_t args[FS_ARGS_MAX + 1];
    _Alignas(8) uint8_t reply[FS_REPLY_MAX];
};

/* Answers the message in @chain, which is changed. @call: room for it, one for each thread that
 * serves. Takes as long as the host does. Returns how many bytes were written into the chain: none
 * if the message wants no answer, or the guest left no room for one. */
uint32_t fs_fuse_serve(struct fs_fuse *fuse, struct fs_call *call, struct virtqueue_chain *chain);
/* Whether what is asked for may take the host's disk long: a hint, as the guest may change it. */
bool fs_fuse_may_wait(struct virtqueue_chain *chain);
/* Forgets the mount. Messages that are being answered meanwhile keep what they use. */
void fs_fuse_reset(struct fs_fuse *fuse);

/* --- what the operations share (fs_ops_*.c) --- */

/* Each returns 0 or -errno for the guest, and adds its reply to @call. */
typedef int fs_op_fn(struct fs_call *call);

/* Room for @len more bytes of the reply, zeroed. There is: the table says how much is needed, and
 * others ask call->room. */
void *fs_reply_add(struct fs_call *call, size_t len);
/* Fill in what is told of a file, and of one that was found in call->inode. */
void fs_fill_attr(const struct statx *stx, struct fuse_attr *attr);
void fs_fill_entry(struct fs_call *call, struct fs_inode *inode, const struct statx *stx,
                   struct fuse_entry_out *entry);
/* The set-user and set-group bits of a mode that a write by anybody but root takes off: without
 * S_IXGRP, the latter means something else. */
mode_t fs_set_ids(mode_t mode);
/* Seconds for which names and attributes hold. */
uint64_t fs_valid_seconds(const struct fs_share *share);
/* A file that was just created or found is opened for the guest: adds a fuse_open_out. Takes @fd
 * over in any case. */
int fs_reply_open(struct fs_call *call, struct fs_inode *inode, int fd);
/* Brings what was written by way of a handle, of a folder or not, to the disk: FSYNC, FSYNCDIR. */
int fs_sync_handle(struct fs_call *call, bool is_folder);
/* What of the guest's flags is for the host's open(). */
int fs_open_flags(uint32_t guest_flags);
/* Whether the guest writes when it likes, and knows sizes and times best (FUSE_WRITEBACK_CACHE). */
bool fs_has_writeback(const struct fs_fuse *fuse);
/* The flags for what a handle is of, as far as the file's mode allows. */
int fs_flags_of_handle(const struct fs_fuse *fuse, int flags);

/* fs_ops_names.c */
fs_op_fn fs_op_lookup, fs_op_forget, fs_op_batch_forget, fs_op_readlink, fs_op_symlink, fs_op_mknod,
    fs_op_mkdir, fs_op_unlink, fs_op_rmdir, fs_op_rename, fs_op_rename2, fs_op_link, fs_op_create,
    fs_op_tmpfile;
/* fs_ops_folder.c */
fs_op_fn fs_op_opendir, fs_op_readdir, fs_op_readdirplus, fs_op_releasedir, fs_op_fsyncdir,
    fs_op_statfs, fs_op_syncfs;
/* fs_ops_file.c */
fs_op_fn fs_op_open, fs_op_read, fs_op_write, fs_op_release, fs_op_flush, fs_op_fsync,
    fs_op_fallocate, fs_op_lseek, fs_op_copy_file_range;
/* fs_ops_attr.c */
fs_op_fn fs_op_getattr, fs_op_setattr, fs_op_setxattr, fs_op_getxattr, fs_op_listxattr,
    fs_op_removexattr;
