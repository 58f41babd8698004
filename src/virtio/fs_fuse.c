// SPDX-License-Identifier: Apache-2.0
/* FUSE messages in, answers out (<linux/fuse.h>, virtio 1.2, 5.11.6).
 *
 * How this works: a message is a header, the operation's struct, and names or data behind it. All
 * but the data of a write is copied out of the guest's memory once, and the table below says what
 * each operation must have: so an operation begins with a struct that is there, names that end and
 * are good, the inode that the header names, and room for its answer.
 *
 * No library does this: libfuse's low level wants a whole message in one buffer of its own and
 * answers by writing to /dev/fuse, so every read and write would be copied once more; its sessions
 * have threads, signals and a mount that we have no use for; and what it saves is this file.
 *
 * A guest that gives no sensible message gets EINVAL; ENOSYS tells its kernel not to ask again, so
 * locks, polls and ioctls stay in the guest. Kernels since 5.4, the first with virtio-fs, speak
 * version 7.31 or later. */
#include "fs_fuse.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum {
    MINOR_MIN = 31,
    OLD_INIT_IN = 16, /* before 7.36 */
    PAGE_BYTES = 4096,
    DATA_MAX = FS_DATA_PAGES * PAGE_BYTES,
    LARGE = 96 * 1024, /* a read or write of so much is worth another thread for what comes next */
};

/* What is behind an operation's struct. */
enum names {
    NO_NAMES,
    NAME,      /* a file's, in the folder that the header names */
    TWO_NAMES, /* a file's here, and one in another folder */
    NAME_TEXT, /* a file's, and a link's content */
    TEXT,      /* an attribute's name */
};

enum op_flags {
    CHANGES = 1,     /* refused if the folder is read-only */
    NO_INODE = 2,    /* the header names none */
    NO_REPLY = 4,    /* nobody waits for an answer */
    TAKES_DATA = 8,  /* what follows the struct stays where it is */
    GIVES_DATA = 16, /* the reply goes to the guest's buffers directly */
    WAITS = 32       /* for the disk, and for as much as there is to write */
};

struct op {
    fs_op_fn *serve;
    uint16_t arg_len, reply_len; /* at least */
    uint8_t names, flags;
};

static fs_op_fn op_init, op_destroy, op_nothing;

#define ENTRY sizeof(struct fuse_entry_out)
#define ENTRY_OPEN (sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out))

static const struct op ops[] = {
    [FUSE_LOOKUP] = { fs_op_lookup, 0, ENTRY, NAME, 0 },
    [FUSE_FORGET] = { fs_op_forget, sizeof(struct fuse_forget_in), 0, NO_NAMES,
                      NO_INODE | NO_REPLY },
    [FUSE_GETATTR] = { fs_op_getattr, sizeof(struct fuse_getattr_in), sizeof(struct fuse_attr_out),
                       NO_NAMES, 0 },
    [FUSE_SETATTR] = { fs_op_setattr, sizeof(struct fuse_setattr_in), sizeof(struct fuse_attr_out),
                       NO_NAMES, CHANGES },
    [FUSE_READLINK] = { fs_op_readlink, 0, 0, NO_NAMES, 0 },
    [FUSE_SYMLINK] = { fs_op_symlink, 0, ENTRY, NAME_TEXT, CHANGES },
    [FUSE_MKNOD] = { fs_op_mknod, sizeof(struct fuse_mknod_in), ENTRY, NAME, CHANGES },
    [FUSE_MKDIR] = { fs_op_mkdir, sizeof(struct fuse_mkdir_in), ENTRY, NAME, CHANGES },
    [FUSE_UNLINK] = { fs_op_unlink, 0, 0, NAME, CHANGES },
    [FUSE_RMDIR] = { fs_op_rmdir, 0, 0, NAME, CHANGES },
    [FUSE_RENAME] = { fs_op_rename, sizeof(struct fuse_rename_in), 0, TWO_NAMES, CHANGES },
    [FUSE_LINK] = { fs_op_link, sizeof(struct fuse_link_in), ENTRY, NAME, CHANGES },
    [FUSE_OPEN] = { fs_op_open, sizeof(struct fuse_open_in), sizeof(struct fuse_open_out), NO_NAMES,
                    0 },
    [FUSE_READ] = { fs_op_read, sizeof(struct fuse_read_in), 0, NO_NAMES, GIVES_DATA },
    [FUSE_WRITE] = { fs_op_write, sizeof(struct fuse_write_in), sizeof(struct fuse_write_out),
                     NO_NAMES, CHANGES | TAKES_DATA },
    [FUSE_STATFS] = { fs_op_statfs, 0, sizeof(struct fuse_statfs_out), NO_NAMES, 0 },
    [FUSE_RELEASE] = { fs_op_release, sizeof(struct fuse_release_in), 0, NO_NAMES, NO_INODE },
    [FUSE_FSYNC] = { fs_op_fsync, sizeof(struct fuse_fsync_in), 0, NO_NAMES, WAITS },
    [FUSE_SETXATTR] = { fs_op_setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE, 0, TEXT, CHANGES },
    [FUSE_GETXATTR] = { fs_op_getxattr, sizeof(struct fuse_getxattr_in), 0, TEXT, 0 },
    [FUSE_LISTXATTR] = { fs_op_listxattr, sizeof(struct fuse_getxattr_in), 0, NO_NAMES, 0 },
    [FUSE_REMOVEXATTR] = { fs_op_removexattr, 0, 0, TEXT, CHANGES },
    [FUSE_FLUSH] = { fs_op_flush, sizeof(struct fuse_flush_in), 0, NO_NAMES, WAITS },
    [FUSE_INIT] = { op_init, OLD_INIT_IN, sizeof(struct fuse_init_out), NO_NAMES, NO_INODE },
    [FUSE_OPENDIR] = { fs_op_opendir, sizeof(struct fuse_open_in), sizeof(struct fuse_open_out),
                       NO_NAMES, 0 },
    [FUSE_READDIR] = { fs_op_readdir, sizeof(struct fuse_read_in), 0, NO_NAMES, 0 },
    [FUSE_RELEASEDIR] = { fs_op_releasedir, sizeof(struct fuse_release_in), 0, NO_NAMES, NO_INODE },
    [FUSE_FSYNCDIR] = { fs_op_fsyncdir, sizeof(struct fuse_fsync_in), 0, NO_NAMES, WAITS },
    [FUSE_CREATE] = { fs_op_create, sizeof(struct fuse_create_in), ENTRY_OPEN, NAME, CHANGES },
    /* Requests are not interrupted: all of them end. */
    [FUSE_INTERRUPT] = { op_nothing, 0, 0, NO_NAMES, NO_INODE | NO_REPLY },
    [FUSE_DESTROY] = { op_destroy, 0, 0, NO_NAMES, NO_INODE },
    [FUSE_BATCH_FORGET] = { fs_op_batch_forget, sizeof(struct fuse_batch_forget_in), 0, NO_NAMES,
                            NO_INODE | NO_REPLY },
    [FUSE_FALLOCATE] = { fs_op_fallocate, sizeof(struct fuse_fallocate_in), 0, NO_NAMES,
                         CHANGES | WAITS },
    [FUSE_READDIRPLUS] = { fs_op_readdirplus, sizeof(struct fuse_read_in), 0, NO_NAMES, 0 },
    [FUSE_RENAME2] = { fs_op_rename2, sizeof(struct fuse_rename2_in), 0, TWO_NAMES, CHANGES },
    [FUSE_LSEEK] = { fs_op_lseek, sizeof(struct fuse_lseek_in), sizeof(struct fuse_lseek_out),
                     NO_NAMES, 0 },
    [FUSE_COPY_FILE_RANGE] = { fs_op_copy_file_range, sizeof(struct fuse_copy_file_range_in),
                               sizeof(struct fuse_write_out), NO_NAMES, CHANGES | WAITS },
    [FUSE_SYNCFS] = { fs_op_syncfs, 0, 0, NO_NAMES, WAITS },
    [FUSE_TMPFILE] = { fs_op_tmpfile, sizeof(struct fuse_create_in), ENTRY_OPEN, TEXT, CHANGES },
};

/* --- replies --- */

void *fs_reply_add(struct fs_call *call, size_t len)
{
    void *at = call->reply + call->reply_len;

    memset(at, 0, len);
    call->reply_len += len;
    return at;
}

/* --- the mount --- */

static uint32_t wanted_flags(const struct fs_share *share)
{
    uint32_t flags = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_ASYNC_DIO |
                     FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_SUBMOUNTS |
                     FUSE_HANDLE_KILLPRIV_V2 | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO;

    if (share->cache == FS_CACHE_AUTO)
        flags |= FUSE_AUTO_INVAL_DATA;
    /* With that, the guest's kernel keeps what is written for a while, and believes its own sizes
     * and times of files only: so where nobody else changes them. A log that the host writes would
     * never grow for a guest of FS_CACHE_AUTO. */
    if (share->cache == FS_CACHE_ALWAYS && !share->read_only)
        flags |= FUSE_WRITEBACK_CACHE;
    if (share->cache != FS_CACHE_NONE)
        flags |= FUSE_CACHE_SYMLINKS; /* a link is replaced, never changed */
    return flags;
}

static int op_init(struct fs_call *call)
{
    const struct fuse_init_in *in = call->arg;
    struct fuse_init_out *out = fs_reply_add(call, sizeof(*out));
    uint32_t flags = in->flags & wanted_flags(call->share);

    out->major = FUSE_KERNEL_VERSION;
    out->minor = FUSE_KERNEL_MINOR_VERSION;
    if (in->major > FUSE_KERNEL_VERSION)
        return 0; /* it tries again with our version */
    if (in->major < FUSE_KERNEL_VERSION || in->minor < MINOR_MIN)
        return -EPROTO;
    fs_forget_all(call->share);
    out->max_readahead = in->max_readahead < DATA_MAX ? in->max_readahead : DATA_MAX;
    out->flags = flags;
    out->max_background = 64;
    out->congestion_threshold = 48;
    out->max_write = DATA_MAX;
    out->max_pages = FS_DATA_PAGES;
    out->time_gran = 1;
    atomic_store(&call->fuse->init_flags, flags);
    atomic_store(&call->fuse->is_ready, true);
    return 0;
}

void fs_fuse_reset(struct fs_fuse *fuse)
{
    atomic_store(&fuse->is_ready, false);
    fs_forget_all(fuse->share);
}

static int op_destroy(struct fs_call *call)
{
    fs_fuse_reset(call->fuse);
    return 0;
}

static int op_nothing(struct fs_call *call)
{
    (void)call;
    return 0;
}

/* --- messages --- */

/* Takes the next string of what is left. NULL if it does not end. */
static const char *take_text(struct fs_call *call)
{
    const char *text = (const char *)call->rest;
    size_t len = strnlen(text, call->rest_len);

    if (len == call->rest_len)
        return NULL;
    call->rest += len + 1;
    call->rest_len -= len + 1;
    return text;
}

static int take_names(struct fs_call *call, enum names names)
{
    unsigned count = names == NO_NAMES ? 0 : names == TWO_NAMES || names == NAME_TEXT ? 2 : 1;

    for (unsigned i = 0; i < count; i++) {
        call->name[i] = take_text(call);
        if (!call->name[i])
            return -EINVAL;
    }
    if (names != NO_NAMES && names != TEXT && !fs_name_is_valid(call->name[0]))
        return strlen(call->name[0]) > NAME_MAX ? -ENAMETOOLONG : -EINVAL;
    if (names == TWO_NAMES && !fs_name_is_valid(call->name[1]))
        return strlen(call->name[1]) > NAME_MAX ? -ENAMETOOLONG : -EINVAL;
    return 0;
}

/* Copies the message out of the guest's memory, up to a write's data, whose place is noted. */
static int take_message(struct fs_call *call, const struct op *op, struct virtqueue_chain *chain)
{
    const size_t header_len = sizeof(call->header);
    size_t len = call->header.len;

    if (len > chain->readable_bytes || len < header_len + op->arg_len)
        return -EINVAL;
    len -= header_len;
    struct iovec *in = virtqueue_readable(chain);
    size_t count = iov_skip(&in, chain->readable_count, header_len);
    if (op->flags & TAKES_DATA) {
        call->data_len = len - op->arg_len;
        len = op->arg_len;
    }
    if (len > FS_ARGS_MAX)
        return -EINVAL;
    (void)iov_read(in, count, 0, call->args, len);
    call->args[len] = 0;
    if (op->flags & TAKES_DATA)
        call->data_count = iov_skip(&in, count, len);
    call->data = in;
    call->arg = call->args;
    call->rest = call->args + op->arg_len;
    call->rest_len = len - op->arg_len;
    return 0;
}

/* Where the reply goes: behind the header, which comes last. */
static void find_room(struct fs_call *call, const struct op *op, struct virtqueue_chain *chain)
{
    size_t room = chain->writable_bytes - sizeof(struct fuse_out_header);

    call->room = room < FS_REPLY_MAX ? room : FS_REPLY_MAX;
    if (op->flags & GIVES_DATA) {
        call->data = virtqueue_writable(chain);
        call->data_count =
            iov_skip(&call->data, chain->writable_count, sizeof(struct fuse_out_header));
        call->data_len = room;
    }
}

static int serve_op(struct fs_call *call, const struct op *op)
{
    bool is_first = call->header.opcode == FUSE_INIT;
    int err = take_names(call, op->names);

    if (err)
        return err;
    if (!is_first && !atomic_load(&call->fuse->is_ready))
        return -EPERM;
    if (!(op->flags & NO_INODE))
        err = fs_inode_get(call->share, call->header.nodeid, &call->inode);
    if (!err && (op->flags & CHANGES) &&
        (call->share->read_only || (call->inode && call->inode->is_opaque)))
        err = -EROFS;
    if (!err)
        err = op->serve(call);
    fs_inode_put(call->share, call->inode);
    return err;
}

static const struct op *find_op(uint32_t opcode)
{
    bool is_known = opcode < sizeof(ops) / sizeof(ops[0]) && ops[opcode].serve;

    return is_known ? &ops[opcode] : NULL;
}

static int serve_message(struct fs_call *call, const struct op *op, struct virtqueue_chain *chain)
{
    bool has_room = chain->writable_bytes >= sizeof(struct fuse_out_header) + op->reply_len;

    if (!has_room && !(op->flags & NO_REPLY))
        return -EINVAL;
    int err = take_message(call, op, chain);
    if (err)
        return err;
    if (has_room && !(op->flags & NO_REPLY))
        find_room(call, op, chain);
    return serve_op(call, op);
}

/* @written: bytes that are in the guest's buffers already. */
static uint32_t answer(struct fs_call *call, const struct virtqueue_chain *chain,
                       const struct iovec *writable, int err, bool is_in_place)
{
    struct fuse_out_header out = { .unique = call->header.unique, .error = err };
    size_t len = err ? 0 : call->reply_len;

    out.len = (uint32_t)(sizeof(out) + len);
    (void)iov_write(writable, chain->writable_count, 0, &out, sizeof(out));
    if (len && !is_in_place)
        (void)iov_write(writable, chain->writable_count, sizeof(out), call->reply, len);
    return out.len;
}

bool fs_fuse_may_wait(struct virtqueue_chain *chain)
{
    struct fuse_in_header header;

    if ((uint64_t)chain->readable_bytes + chain->writable_bytes > LARGE)
        return true;
    if (iov_read(virtqueue_readable(chain), chain->readable_count, 0, &header, sizeof(header)) !=
        sizeof(header))
        return false;
    const struct op *op = find_op(header.opcode);
    return op && (op->flags & WAITS);
}

uint32_t fs_fuse_serve(struct fs_fuse *fuse, struct fs_call *call, struct virtqueue_chain *chain)
{
    struct iovec writable[VIRTQUEUE_MAX_SEGMENTS];
    const size_t header_len = sizeof(call->header);

    memset(call, 0, offsetof(struct fs_call, args));
    call->fuse = fuse;
    call->share = fuse->share;
    memcpy(writable, virtqueue_writable(chain), chain->writable_count * sizeof(writable[0]));
    if (iov_read(virtqueue_readable(chain), chain->readable_count, 0, &call->header, header_len) !=
        header_len)
        return 0;

    const struct op *op = find_op(call->header.opcode);
    int err = op ? serve_message(call, op, chain) : -ENOSYS;

    if ((op && (op->flags & NO_REPLY)) || chain->writable_bytes < sizeof(struct fuse_out_header))
        return 0;
    return answer(call, chain, writable, err, op && (op->flags & GIVES_DATA));
}
