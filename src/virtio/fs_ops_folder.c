// SPDX-License-Identifier: Apache-2.0
/* FUSE operations on folders that are open, and on the file system as a whole.
 *
 * The guest's place in a folder is the host's own (d_off), so a folder can be read on from wherever
 * the guest says. Where it goes on from where it was, which is nearly always, the host does so,
 * too: see find_position(). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_fuse.h"
#include "host/fd.h"

enum {
    HOST_ENTRIES_MAX = 16 * 1024, /* bytes of the host's entries read at once ... */
    HOST_ENTRIES_MIN = 512,       /* ... the least that any entry fits */
};

/* What getdents64() gives; no header has it. */
struct host_entry {
    uint64_t ino;
    int64_t next_offset;
    uint16_t len;
    uint8_t type;
    char name[];
};

int fs_op_opendir(struct fs_call *call)
{
    if (!S_ISDIR(call->inode->type))
        return -ENOTDIR;

    uint64_t id;
    int fd = fs_open_inode(call->share, call->inode, O_RDONLY | O_DIRECTORY);
    int err = fd < 0 ? fd : fs_handle_add(call->share, call->inode, fd, &id);

    if (err)
        return err;
    struct fuse_open_out *out = fs_reply_add(call, sizeof(*out));
    out->fh = id;
    if (call->share->cache == FS_CACHE_ALWAYS)
        out->open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
    return 0;
}

int fs_op_releasedir(struct fs_call *call)
{
    const struct fuse_release_in *in = call->arg;

    return fs_handle_close(call->share, in->fh, true);
}

int fs_op_fsyncdir(struct fs_call *call)
{
    return fs_sync_handle(call, true);
}

/* --- reading --- */

static bool is_dot(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

/* An entry tells no device, and it need not be the folder's: an overlay's files can have others. */
static bool shall_be_left_out(const struct fs_call *call, const struct host_entry *entry)
{
    return (call->inode->is_opaque && !is_dot(entry->name)) ||
           fs_name_is_hidden(call->share, call->inode, entry->name) ||
           (fs_may_be_hidden(call->share, entry->ino) &&
            fs_check_name(call->share, call->inode, entry->name));
}

/* Also looks the entry up for the guest; what cannot be looked up is a name alone. */
static void fill_plus(struct fs_call *call, const char *name, struct fuse_entry_out *out)
{
    struct fs_inode *inode;
    struct statx stx;

    if (is_dot(name) || fs_lookup(call->share, call->inode, name, &inode, &stx))
        return;
    fs_fill_entry(call, inode, &stx, out);
    fs_inode_put(call->share, inode);
}

/* Adds an entry to the reply. Returns whether there was room for it. */
static bool add_entry(struct fs_call *call, const struct host_entry *entry, bool plus, size_t room)
{
    size_t name_len = strlen(entry->name);
    size_t head_len = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
    size_t len = FUSE_DIRENT_ALIGN(head_len + name_len);

    if (len > room - call->reply_len)
        return false;
    uint8_t *at = fs_reply_add(call, len);
    if (plus)
        fill_plus(call, entry->name, (struct fuse_entry_out *)(void *)at);
    struct fuse_dirent *out = (struct fuse_dirent *)(void *)(at + head_len - FUSE_NAME_OFFSET);
    /* Of the folder around the root the guest need not know. */
    bool leads_out = call->inode->id == FS_ROOT_ID && !strcmp(entry->name, "..");
    out->ino = leads_out ? call->inode->ino : entry->ino;
    out->off = (uint64_t)entry->next_offset;
    out->namelen = (uint32_t)name_len;
    out->type = entry->type;
    memcpy(out->name, entry->name, name_len);
    return true;
}

/* Adds entries from a buffer of the host's. Returns how many bytes of it had room in the reply, and
 * moves *@position behind them. */
static size_t add_entries(struct fs_call *call, const uint8_t *buf, size_t len, bool plus,
                          size_t room, int64_t *position)
{
    size_t at = 0;

    while (at < len) {
        const struct host_entry *entry = (const struct host_entry *)(const void *)(buf + at);

        if (!shall_be_left_out(call, entry) && !add_entry(call, entry, plus, room))
            break;
        at += entry->len;
        *position = entry->next_offset;
    }
    return at;
}

/* Gets the host ready to go on at @offset. What was read and had no room comes first: going back to
 * a place works by chance on file systems that count entries, as tmpfs did before Linux 6.6, if
 * some were removed meanwhile. Returns how many bytes of that there are, or -errno. */
static ssize_t find_position(struct fs_handle *handle, int64_t offset, uint8_t *buf)
{
    if (offset >= 0 && handle->position == offset) {
        if (handle->rest)
            memcpy(buf, handle->rest, handle->rest_len);
        return (ssize_t)handle->rest_len;
    }
    return lseek(handle->fd, offset, SEEK_SET) < 0 ? -errno : 0;
}

/* With the handle's position locked. */
static int read_entries(struct fs_call *call, struct fs_handle *handle, uint64_t offset, bool plus,
                        size_t room)
{
    _Alignas(8) uint8_t buf[HOST_ENTRIES_MAX];
    size_t part = plus ? room / 4 : room, used = 0;
    int64_t position = (int64_t)offset;
    ssize_t len = find_position(handle, position, buf);

    part = part < HOST_ENTRIES_MIN ? HOST_ENTRIES_MIN : part > sizeof(buf) ? sizeof(buf) : part;
    if (len < 0)
        return (int)len;
    do {
        if (len == 0)
            len = syscall(SYS_getdents64, handle->fd, buf, part);
        if (len <= 0)
            break;
        used = add_entries(call, buf, (size_t)len, plus, room, &position);
        len -= (ssize_t)used;
    } while (len == 0);
    int err = len < 0 && !call->reply_len ? -errno : 0;
    fs_handle_keep_rest(call->share, handle, buf + used, len > 0 ? (size_t)len : 0, position);
    return err;
}

static int read_folder(struct fs_call *call, bool plus)
{
    const struct fuse_read_in *in = call->arg;
    size_t room = call->room < in->size ? call->room : in->size;
    struct fs_handle *handle;
    int err = fs_handle_get(call->share, in->fh, true, &handle);

    if (err)
        return err;
    pthread_mutex_lock(&handle->position_lock);
    err = read_entries(call, handle, in->offset, plus, room);
    pthread_mutex_unlock(&handle->position_lock);
    fs_handle_put(call->share, handle);
    return err;
}

int fs_op_readdir(struct fs_call *call)
{
    return read_folder(call, false);
}

int fs_op_readdirplus(struct fs_call *call)
{
    return read_folder(call, true);
}

/* --- the file system --- */

int fs_op_statfs(struct fs_call *call)
{
    struct statfs st;

    if (fstatfs(call->inode->fd, &st))
        return -errno;
    struct fuse_statfs_out *out = fs_reply_add(call, sizeof(*out));
    out->st = (struct fuse_kstatfs){
        .blocks = st.f_blocks,
        .bfree = st.f_bfree,
        .bavail = st.f_bavail,
        .files = st.f_files,
        .ffree = st.f_ffree,
        .bsize = (uint32_t)st.f_bsize,
        .namelen = (uint32_t)st.f_namelen,
        .frsize = (uint32_t)st.f_frsize,
    };
    return 0;
}

/* Of the folder, or of what is mounted in it: that is a file system of its own to the guest. */
int fs_op_syncfs(struct fs_call *call)
{
    if (call->share->read_only)
        return 0;
    AUTO_CLOSE int fd = fs_open_inode(call->share, call->inode, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return fd;
    return syncfs(fd) ? -errno : 0;
}
