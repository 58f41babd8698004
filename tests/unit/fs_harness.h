// SPDX-License-Identifier: Apache-2.0
/* A shared folder, and a guest's kernel that sends FUSE messages to it, without a device.
 * Included after cmocka.h. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"
#include "virtio/fs_fuse.h"

enum { RIG_MESSAGE_MAX = 256 * 1024 };

struct rig {
    struct fs_fuse fuse;
    struct fs_call *call;
    char folder[PATH_MAX]; /* what is shared: "root" in the scratch folder */
    uint8_t in[RIG_MESSAGE_MAX], out[RIG_MESSAGE_MAX];
    size_t reply_len; /* of the last reply, without its header */
    size_t room;      /* for the reply, header included */
    uint32_t written; /* what the last message was answered with */
    uint32_t uid, gid;
};

static char rig_scratch[PATH_MAX];

/* The path of something in the scratch folder: "root/..." is shared, all else is not. */
static inline const char *rig_path(const char *name)
{
    static _Thread_local char paths[4][PATH_MAX];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 4];

    assert_true(snprintf(path, PATH_MAX, "%s/%s", rig_scratch, name) < PATH_MAX);
    return path;
}

static inline void rig_write_file(const char *name, const char *text)
{
    FILE *file = fopen(rig_path(name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static inline void rig_expect_file(const char *name, const char *text)
{
    char found[256] = "";
    FILE *file = fopen(rig_path(name), "r");

    assert_non_null(file);
    size_t len = fread(found, 1, sizeof(found) - 1, file);
    found[len] = '\0';
    (void)fclose(file);
    assert_string_equal(found, text);
}

/* Sends a message of @arg and then @tail. Returns the error of the answer, 0 or -errno. */
static inline int rig_send_to(struct rig *rig, struct fs_call *call, uint8_t *in, uint8_t *out,
                              uint32_t opcode, uint64_t node, const void *arg, size_t arg_len,
                              const void *tail, size_t tail_len)
{
    struct fuse_in_header header = {
        .opcode = opcode, .unique = 77, .nodeid = node, .uid = rig->uid, .gid = rig->gid
    };
    struct virtqueue_chain chain = { .readable_count = 1, .writable_count = 1 };
    struct fuse_out_header answer;

    header.len = (uint32_t)(sizeof(header) + arg_len + tail_len);
    assert_true(header.len <= RIG_MESSAGE_MAX);
    memcpy(in, &header, sizeof(header));
    if (arg_len)
        memcpy(in + sizeof(header), arg, arg_len);
    if (tail_len)
        memcpy(in + sizeof(header) + arg_len, tail, tail_len);
    chain.segments[0] = (struct iovec){ in, header.len };
    chain.segments[1] = (struct iovec){ out, rig->room };
    chain.readable_bytes = header.len;
    chain.writable_bytes = (uint32_t)rig->room;
    uint32_t written = fs_fuse_serve(&rig->fuse, call, &chain);
    assert_true(written <= rig->room);
    if (call == rig->call)
        rig->written = written;
    if (written == 0)
        return 0;
    memcpy(&answer, out, sizeof(answer));
    assert_int_equal(answer.len, written);
    assert_int_equal(answer.unique, 77);
    assert_true(answer.error <= 0 && answer.error > -512);
    if (call == rig->call)
        rig->reply_len = written - sizeof(answer);
    return answer.error;
}

static inline int rig_send(struct rig *rig, uint32_t opcode, uint64_t node, const void *arg,
                           size_t arg_len, const void *tail, size_t tail_len)
{
    return rig_send_to(rig, rig->call, rig->in, rig->out, opcode, node, arg, arg_len, tail,
                       tail_len);
}

/* With names for the tail. */
static inline int rig_send_name(struct rig *rig, uint32_t opcode, uint64_t node, const void *arg,
                                size_t arg_len, const char *name)
{
    return rig_send(rig, opcode, node, arg, arg_len, name, strlen(name) + 1);
}

static inline const void *rig_reply(const struct rig *rig)
{
    return rig->out + sizeof(struct fuse_out_header);
}

/* --- what a kernel does --- */

/* Inode 0 says that there is none, and how long that holds. */
static inline int rig_lookup(struct rig *rig, uint64_t folder, const char *name, uint64_t *node)
{
    int err = rig_send_name(rig, FUSE_LOOKUP, folder, NULL, 0, name);
    uint64_t found = err ? 0 : ((const struct fuse_entry_out *)rig_reply(rig))->nodeid;

    if (!err && node)
        *node = found;
    return !err && found == 0 ? -ENOENT : err;
}

static inline uint64_t rig_find(struct rig *rig, uint64_t folder, const char *name)
{
    uint64_t node = 0;

    assert_int_equal(rig_lookup(rig, folder, name, &node), 0);
    assert_true(node != 0);
    return node;
}

static inline int rig_open(struct rig *rig, uint64_t node, uint32_t flags, uint64_t *handle)
{
    struct fuse_open_in in = { .flags = flags };
    int err = rig_send(rig, FUSE_OPEN, node, &in, sizeof(in), NULL, 0);

    if (!err)
        *handle = ((const struct fuse_open_out *)rig_reply(rig))->fh;
    return err;
}

static inline int rig_create(struct rig *rig, uint64_t folder, const char *name, uint32_t flags,
                             uint32_t mode, uint64_t *node, uint64_t *handle)
{
    struct fuse_create_in in = { .flags = flags, .mode = S_IFREG | mode };
    int err = rig_send_name(rig, FUSE_CREATE, folder, &in, sizeof(in), name);
    const uint8_t *reply = rig_reply(rig);

    if (err)
        return err;
    *node = ((const struct fuse_entry_out *)(const void *)reply)->nodeid;
    *handle =
        ((const struct fuse_open_out *)(const void *)(reply + sizeof(struct fuse_entry_out)))->fh;
    return 0;
}

static inline int rig_mkdir(struct rig *rig, uint64_t folder, const char *name, uint64_t *node)
{
    struct fuse_mkdir_in in = { .mode = 0755 };
    int err = rig_send_name(rig, FUSE_MKDIR, folder, &in, sizeof(in), name);

    if (!err && node)
        *node = ((const struct fuse_entry_out *)rig_reply(rig))->nodeid;
    return err;
}

static inline int rig_rename(struct rig *rig, uint64_t from, const char *name, uint64_t to,
                             const char *new_name, uint32_t flags)
{
    struct fuse_rename2_in in = { .newdir = to, .flags = flags };
    char names[1024];
    size_t len = strlen(name) + 1, new_len = strlen(new_name) + 1;

    memcpy(names, name, len);
    memcpy(names + len, new_name, new_len);
    return rig_send(rig, FUSE_RENAME2, from, &in, sizeof(in), names, len + new_len);
}

static inline int rig_write(struct rig *rig, uint64_t node, uint64_t handle, uint64_t offset,
                            const void *data, size_t len)
{
    struct fuse_write_in in = { .fh = handle, .offset = offset, .size = (uint32_t)len };
    int err = rig_send(rig, FUSE_WRITE, node, &in, sizeof(in), data, len);

    return err ? err : (int)((const struct fuse_write_out *)rig_reply(rig))->size;
}

static inline int rig_read(struct rig *rig, uint64_t node, uint64_t handle, uint64_t offset,
                           size_t len)
{
    struct fuse_read_in in = { .fh = handle, .offset = offset, .size = (uint32_t)len };
    int err = rig_send(rig, FUSE_READ, node, &in, sizeof(in), NULL, 0);

    return err ? err : (int)rig->reply_len;
}

/* Opens a folder and counts its entries, as READDIR or READDIRPLUS tell them; @name, if not NULL,
 * must be among them exactly *@found times. */
static inline int rig_list(struct rig *rig, uint64_t folder, bool plus, const char *name,
                           unsigned *found)
{
    struct fuse_open_in open_in = { .flags = O_RDONLY };
    struct fuse_read_in in = { .size = 4096 };
    int count = 0;

    *found = 0;
    int err = rig_send(rig, FUSE_OPENDIR, folder, &open_in, sizeof(open_in), NULL, 0);
    if (err)
        return err;
    in.fh = ((const struct fuse_open_out *)rig_reply(rig))->fh;
    for (;;) {
        err =
            rig_send(rig, plus ? FUSE_READDIRPLUS : FUSE_READDIR, folder, &in, sizeof(in), NULL, 0);
        assert_int_equal(err, 0);
        assert_true(rig->reply_len <= in.size);
        if (rig->reply_len == 0)
            break;
        const uint8_t *reply = rig_reply(rig);
        for (size_t at = 0; at < rig->reply_len;) {
            const struct fuse_dirent *entry =
                (const void *)(reply + at + (plus ? sizeof(struct fuse_entry_out) : 0));
            if (name && strlen(name) == entry->namelen &&
                !memcmp(name, entry->name, entry->namelen))
                ++*found;
            count++;
            in.offset = entry->off;
            at += (plus ? sizeof(struct fuse_entry_out) : 0) + FUSE_DIRENT_SIZE(entry);
        }
    }
    struct fuse_release_in release = { .fh = in.fh };
    assert_int_equal(rig_send(rig, FUSE_RELEASEDIR, folder, &release, sizeof(release), NULL, 0), 0);
    return count;
}

/* --- making one --- */

static inline int rig_init_session(struct rig *rig, uint32_t minor)
{
    struct fuse_init_in in = {
        .major = FUSE_KERNEL_VERSION, .minor = minor, .max_readahead = 1 << 20, .flags = UINT32_MAX
    };

    return rig_send(rig, FUSE_INIT, 0, &in, sizeof(in), NULL, 0);
}

static inline struct rig *rig_start(const struct fs_share_params *params)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig->call = malloc(sizeof(*rig->call));
    assert_non_null(rig->call);
    rig->room = RIG_MESSAGE_MAX;
    rig->uid = geteuid();
    rig->gid = getegid();
    struct fs_share_params own = *params;
    own.path = rig_path("root");
    assert_int_equal(fs_share_open(&own, &rig->fuse.share), 0);
    assert_int_equal(rig_init_session(rig, FUSE_KERNEL_MINOR_VERSION), 0);
    return rig;
}

static inline void rig_stop(struct rig *rig)
{
    fs_share_destroy(rig->fuse.share);
    free(rig->call);
    free(rig);
}

static inline int rig_make_scratch(void **state)
{
    (void)state;
    (void)umask(0);
    snprintf(rig_scratch, sizeof(rig_scratch), "/var/tmp/hutch-test-XXXXXX");
    assert_non_null(scratch_make(rig_scratch));
    return mkdir(rig_path("root"), 0755);
}

static inline int rig_remove_scratch(void **state)
{
    (void)state;
    scratch_remove(rig_scratch);
    return 0;
}
