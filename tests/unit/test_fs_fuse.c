// SPDX-License-Identifier: Apache-2.0
/* FUSE messages of honest and hostile guests to a folder on a real file system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>

#include "fs_harness.h"
#include "openat2.h"
#include "skip.h"

static const struct fs_share_params writable = { 0 };
static const struct fs_share_params readonly = { .read_only = true };

static unsigned count_open_files(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* --- what works --- */

static void agrees_on_a_version_and_on_sizes(void **state)
{
    (void)state;
    struct rig *rig = rig_start(&writable);
    const struct fuse_init_out *out = rig_reply(rig);

    assert_int_equal(out->major, FUSE_KERNEL_VERSION);
    assert_int_equal(out->max_pages, FS_DATA_PAGES);
    assert_int_equal(out->max_write, FS_DATA_PAGES * 4096);
    assert_true(out->flags & FUSE_MAX_PAGES);
    assert_false(out->flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_WRITEBACK_CACHE));
    assert_int_equal(rig_init_session(rig, 30), -EPROTO);
    rig_stop(rig);
}

static void who_caches_for_ever_writes_later_and_is_given_what_that_needs(void **state)
{
    (void)state;
    const struct fs_share_params for_ever = { .cache = FS_CACHE_ALWAYS };
    const struct fs_share_params never_written = { .cache = FS_CACHE_ALWAYS, .read_only = true };
    rig_write_file("root/file", "0123456789");
    struct rig *rig = rig_start(&for_ever);
    uint64_t node = 0, handle = 0;

    assert_true(((const struct fuse_init_out *)rig_reply(rig))->flags & FUSE_WRITEBACK_CACHE);
    node = rig_find(rig, 1, "file");
    assert_int_equal(rig_open(rig, node, O_WRONLY, &handle), 0);
    assert_int_equal(rig_read(rig, node, handle, 0, 4), 4); /* the rest of a page it writes to */
    assert_int_equal(rig_create(rig, 1, "new", O_WRONLY, 0644, &node, &handle), 0);
    assert_int_equal(rig_read(rig, node, handle, 0, 4), 0);
    /* Where it has data that we do not, we know of no holes. */
    struct fuse_lseek_in seek = { .fh = handle, .whence = SEEK_HOLE };
    assert_int_equal(rig_send(rig, FUSE_LSEEK, node, &seek, sizeof(seek), NULL, 0), -ENOSYS);
    rig_stop(rig);
    rig = rig_start(&never_written);
    assert_false(((const struct fuse_init_out *)rig_reply(rig))->flags & FUSE_WRITEBACK_CACHE);
    rig_stop(rig);
}

static void what_cannot_be_read_is_written_at_once(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip_because("root can read everything");
    const struct fs_share_params for_ever = { .cache = FS_CACHE_ALWAYS };
    rig_write_file("root/file", "");
    assert_int_equal(chmod(rig_path("root/file"), 0200), 0);
    struct rig *rig = rig_start(&for_ever);
    uint64_t node = rig_find(rig, 1, "file"), handle = 0;

    assert_int_equal(rig_open(rig, node, O_WRONLY, &handle), 0);
    assert_true(((const struct fuse_open_out *)rig_reply(rig))->open_flags & FOPEN_DIRECT_IO);
    rig_stop(rig);
}

static void that_there_is_no_file_holds_as_long_as_that_there_is_one(void **state)
{
    (void)state;
    const struct fs_share_params never_cached = { .cache = FS_CACHE_NONE };
    struct rig *rig = rig_start(&writable);
    const struct fuse_entry_out *entry = rig_reply(rig);

    assert_int_equal(rig_send_name(rig, FUSE_LOOKUP, 1, NULL, 0, "none"), 0);
    assert_int_equal(entry->nodeid, 0);
    assert_int_equal(entry->entry_valid, 1);
    rig_stop(rig);
    rig = rig_start(&never_cached);
    assert_int_equal(rig_send_name(rig, FUSE_LOOKUP, 1, NULL, 0, "none"), -ENOENT);
    rig_stop(rig);
}

static void a_file_is_created_written_and_read_back(void **state)
{
    (void)state;
    struct rig *rig = rig_start(&writable);
    uint64_t node = 0, handle = 0;

    assert_int_equal(rig_create(rig, 1, "file", O_RDWR, 0640, &node, &handle), 0);
    assert_int_equal(rig_write(rig, node, handle, 0, "hello world", 11), 11);
    assert_int_equal(rig_write(rig, node, handle, 6, "there", 5), 5);
    assert_int_equal(rig_read(rig, node, handle, 0, 100), 11);
    assert_memory_equal(rig_reply(rig), "hello there", 11);
    assert_int_equal(rig_read(rig, node, handle, 6, 3), 3);
    assert_int_equal(rig_read(rig, node, handle, 100, 3), 0);
    rig_expect_file("root/file", "hello there");
    struct stat st;
    assert_int_equal(stat(rig_path("root/file"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0640);
    struct fuse_release_in release = { .fh = handle };
    assert_int_equal(rig_send(rig, FUSE_RELEASE, node, &release, sizeof(release), NULL, 0), 0);
    assert_int_equal(rig_read(rig, node, handle, 0, 100), -EBADF);
    rig_stop(rig);
}

static void appending_goes_to_the_end_but_not_what_was_mapped(void **state)
{
    (void)state;
    rig_write_file("root/file", "0123456789");
    struct rig *rig = rig_start(&writable);
    uint64_t node = rig_find(rig, 1, "file"), handle = 0;

    assert_int_equal(rig_open(rig, node, O_RDWR | O_APPEND, &handle), 0);
    struct fuse_write_in in = { .fh = handle, .offset = 2, .size = 1, .flags = O_RDWR | O_APPEND };
    assert_int_equal(rig_send(rig, FUSE_WRITE, node, &in, sizeof(in), "a", 1), 0);
    rig_expect_file("root/file", "0123456789a");
    in.write_flags = FUSE_WRITE_CACHE;
    assert_int_equal(rig_send(rig, FUSE_WRITE, node, &in, sizeof(in), "m", 1), 0);
    rig_expect_file("root/file", "01m3456789a");
    rig_stop(rig);
}

static void what_the_guest_looked_up_twice_is_one_inode_until_forgotten(void **state)
{
    (void)state;
    rig_write_file("root/file", "x");
    struct rig *rig = rig_start(&writable);
    unsigned before = count_open_files();
    uint64_t node = rig_find(rig, 1, "file");
    struct fuse_forget_in forget = { .nlookup = 2 };
    struct fuse_getattr_in in = { 0 };

    assert_int_equal(link(rig_path("root/file"), rig_path("root/other")), 0);
    assert_int_equal(rig_find(rig, 1, "other"), node);
    assert_int_equal(count_open_files(), before + 1);
    assert_int_equal(rig_send(rig, FUSE_GETATTR, node, &in, sizeof(in), NULL, 0), 0);
    assert_int_equal(((const struct fuse_attr_out *)rig_reply(rig))->attr.nlink, 2);
    assert_int_equal(rig_send(rig, FUSE_FORGET, node, &forget, sizeof(forget), NULL, 0), 0);
    assert_int_equal(rig->written, 0);
    assert_int_equal(count_open_files(), before);
    assert_int_equal(rig_send(rig, FUSE_GETATTR, node, &in, sizeof(in), NULL, 0), -ESTALE);
    rig_stop(rig);
}

static void names_are_made_moved_linked_and_removed(void **state)
{
    (void)state;
    struct rig *rig = rig_start(&writable);
    uint64_t a = 0, b = 0, node = 0, handle = 0;

    assert_int_equal(rig_mkdir(rig, 1, "a", &a), 0);
    assert_int_equal(rig_mkdir(rig, 1, "b", &b), 0);
    assert_int_equal(rig_create(rig, a, "one", O_RDWR, 0644, &node, &handle), 0);
    assert_int_equal(rig_rename(rig, a, "one", b, "two", 0), 0);
    assert_int_equal(rig_lookup(rig, a, "one", NULL), -ENOENT);
    assert_int_equal(rig_find(rig, b, "two"), node);
    struct fuse_link_in link_in = { .oldnodeid = node };
    assert_int_equal(rig_send_name(rig, FUSE_LINK, a, &link_in, sizeof(link_in), "three"), 0);
    assert_int_equal(((const struct fuse_entry_out *)rig_reply(rig))->nodeid, node);
    assert_int_equal(rig_rename(rig, a, "three", b, "two", RENAME_NOREPLACE), -EEXIST);
    assert_int_equal(rig_rename(rig, 1, "a", 1, "b", RENAME_EXCHANGE), 0);
    assert_int_equal(rig_rename(rig, 1, "a", 1, "b", 64), -EINVAL);
    assert_int_equal(rig_send_name(rig, FUSE_RMDIR, 1, NULL, 0, "a"), -ENOTEMPTY);
    assert_int_equal(rig_send_name(rig, FUSE_UNLINK, b, NULL, 0, "two"), 0);
    assert_int_equal(rig_send_name(rig, FUSE_UNLINK, a, NULL, 0, "three"), 0);
    assert_int_equal(rig_send_name(rig, FUSE_UNLINK, a, NULL, 0, "three"), -ENOENT);
    assert_int_equal(rig_send_name(rig, FUSE_RMDIR, 1, NULL, 0, "a"), 0);
    assert_int_equal(rig_read(rig, node, handle, 0, 4), 0); /* it is open still */
    assert_int_equal(access(rig_path("root/a"), F_OK), -1);
    rig_stop(rig);
}

static void links_are_read_and_never_followed(void **state)
{
    (void)state;
    rig_write_file("secret", "secret");
    struct rig *rig = rig_start(&writable);
    uint64_t node = 0, handle = 0;

    assert_int_equal(rig_send(rig, FUSE_SYMLINK, 1, NULL, 0, "link\0../secret", 15), 0);
    node = rig_find(rig, 1, "link");
    assert_int_equal(rig_send(rig, FUSE_READLINK, node, NULL, 0, NULL, 0), 0);
    assert_int_equal(rig->reply_len, 9);
    assert_memory_equal(rig_reply(rig), "../secret", 9);
    assert_int_equal(rig_open(rig, node, O_RDONLY, &handle), -ELOOP);
    assert_int_equal(rig_create(rig, 1, "link", O_RDWR | O_TRUNC, 0644, &node, &handle), -ESTALE);
    assert_int_equal(rig_lookup(rig, rig_find(rig, 1, "link"), "x", NULL), -ENOTDIR);
    rig_expect_file("secret", "secret");
    rig_stop(rig);
}

/* Whoever creates has no rights to a file that is there: its kernel has to ask for them. */
static void a_file_that_was_taken_for_missing_is_looked_up_anew(void **state)
{
    (void)state;
    struct rig *rig = rig_start(&writable);
    uint64_t node = 0, handle = 0;

    assert_int_equal(rig_lookup(rig, 1, "file", &node), -ENOENT);
    rig_write_file("root/file", "secret");
    assert_int_equal(rig_create(rig, 1, "file", O_RDWR | O_TRUNC, 0644, &node, &handle), -ESTALE);
    assert_int_equal(rig_create(rig, 1, "file", O_RDWR | O_EXCL, 0644, &node, &handle), -EEXIST);
    rig_expect_file("root/file", "secret");
    node = rig_find(rig, 1, "file");
    assert_int_equal(rig_open(rig, node, O_RDWR | O_TRUNC, &handle), 0);
    rig_expect_file("root/file", "");
    rig_stop(rig);
}

static void attributes_are_set_of_files_and_of_links(void **state)
{
    (void)state;
    rig_write_file("root/file", "0123456789");
    assert_int_equal(symlink("/nowhere", rig_path("root/link")), 0);
    struct rig *rig = rig_start(&writable);
    uint64_t node = rig_find(rig, 1, "file"), link_node = rig_find(rig, 1, "link");
    struct fuse_setattr_in in = { .valid = FATTR_MODE | FATTR_SIZE | FATTR_MTIME,
                                  .mode = 0604,
                                  .size = 4,
                                  .mtime = 1000000,
                                  .mtimensec = 5 };
    struct stat st;

    assert_int_equal(rig_send(rig, FUSE_SETATTR, node, &in, sizeof(in), NULL, 0), 0);
    const struct fuse_attr_out *out = rig_reply(rig);
    assert_int_equal(out->attr.size, 4);
    assert_int_equal(out->attr.mode, S_IFREG | 0604);
    assert_int_equal(out->attr.mtime, 1000000);
    assert_int_equal(out->attr.mtimensec, 5);
    rig_expect_file("root/file", "0123");
    in.valid = FATTR_MTIME;
    assert_int_equal(rig_send(rig, FUSE_SETATTR, link_node, &in, sizeof(in), NULL, 0), 0);
    assert_int_equal(lstat(rig_path("root/link"), &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, 1000000);
    in.valid = FATTR_SIZE;
    assert_int_equal(rig_send(rig, FUSE_SETATTR, link_node, &in, sizeof(in), NULL, 0), -EINVAL);
    in.valid = FATTR_MODE;
    assert_int_equal(rig_send(rig, FUSE_SETATTR, link_node, &in, sizeof(in), NULL, 0), -EOPNOTSUPP);
    rig_stop(rig);
}

static void extended_attributes_of_users_are_kept_and_others_refused(void **state)
{
    (void)state;
    rig_write_file("root/file", "");
    struct rig *rig = rig_start(&writable);
    uint64_t node = rig_find(rig, 1, "file");
    uint32_t set_in[2] = { 5, 0 };
    struct fuse_getxattr_in in = { .size = 100 };
    char value[16];

    if (rig_send(rig, FUSE_SETXATTR, node, set_in, 8, "user.a\0value", 12) == -EOPNOTSUPP)
        skip_because("this file system has no attributes of users");
    assert_int_equal(getxattr(rig_path("root/file"), "user.a", value, sizeof(value)), 5);
    assert_int_equal(rig_send_name(rig, FUSE_GETXATTR, node, &in, sizeof(in), "user.a"), 0);
    assert_int_equal(rig->reply_len, 5);
    assert_memory_equal(rig_reply(rig), "value", 5);
    assert_int_equal(rig_send(rig, FUSE_LISTXATTR, node, &in, sizeof(in), NULL, 0), 0);
    assert_memory_equal(rig_reply(rig), "user.a", 7);
    in.size = 0;
    assert_int_equal(rig_send_name(rig, FUSE_GETXATTR, node, &in, sizeof(in), "user.a"), 0);
    assert_int_equal(((const struct fuse_getxattr_out *)rig_reply(rig))->size, 5);
    in.size = 2;
    assert_int_equal(rig_send_name(rig, FUSE_GETXATTR, node, &in, sizeof(in), "user.a"), -ERANGE);
    assert_int_equal(
        rig_send(rig, FUSE_SETXATTR, node, set_in, 8, "security.capability\0value", 25),
        -EOPNOTSUPP);
    assert_int_equal(rig_send(rig, FUSE_SETXATTR, node, set_in, 8, "trusted.overlay.x\0value", 23),
                     -EOPNOTSUPP);
    set_in[0] = 6; /* more than there is */
    assert_int_equal(rig_send(rig, FUSE_SETXATTR, node, set_in, 8, "user.b\0value", 12), -EINVAL);
    assert_int_equal(rig_send_name(rig, FUSE_REMOVEXATTR, node, NULL, 0, "user.a"), 0);
    assert_int_equal(rig_send_name(rig, FUSE_GETXATTR, node, &in, sizeof(in), "user.a"), -ENODATA);
    rig_stop(rig);
}

static void a_folder_is_listed_in_pieces(void **state)
{
    (void)state;
    struct rig *rig;
    unsigned found, before;
    char name[32];

    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), "root/file-%04d", i);
        rig_write_file(name, "");
    }
    rig = rig_start(&writable);
    before = count_open_files();
    assert_int_equal(rig_list(rig, 1, false, "file-0500", &found), 1002);
    assert_int_equal(found, 1);
    assert_int_equal(count_open_files(), before);
    assert_int_equal(rig_list(rig, 1, true, "file-0999", &found), 1002);
    assert_int_equal(found, 1);
    assert_true(rig->fuse.share->inode_count == 1001);
    rig_stop(rig);
}

static void holes_are_made_found_and_copied(void **state)
{
    (void)state;
    struct rig *rig = rig_start(&writable);
    uint64_t node = 0, handle = 0, copy_node = 0, copy = 0;
    struct stat st;

    assert_int_equal(rig_create(rig, 1, "file", O_RDWR, 0644, &node, &handle), 0);
    assert_int_equal(rig_write(rig, node, handle, 1 << 20, "end", 3), 3);
    struct fuse_lseek_in seek = { .fh = handle, .whence = SEEK_DATA };
    assert_int_equal(rig_send(rig, FUSE_LSEEK, node, &seek, sizeof(seek), NULL, 0), 0);
    assert_int_equal(((const struct fuse_lseek_out *)rig_reply(rig))->offset, 1 << 20);
    seek.whence = SEEK_END;
    assert_int_equal(rig_send(rig, FUSE_LSEEK, node, &seek, sizeof(seek), NULL, 0), -EINVAL);
    struct fuse_fallocate_in space = { .fh = handle, .length = 4 << 20 };
    assert_int_equal(rig_send(rig, FUSE_FALLOCATE, node, &space, sizeof(space), NULL, 0), 0);
    assert_int_equal(stat(rig_path("root/file"), &st), 0);
    assert_int_equal(st.st_size, 4 << 20);
    assert_int_equal(rig_create(rig, 1, "copy", O_RDWR, 0644, &copy_node, &copy), 0);
    struct fuse_copy_file_range_in range = {
        .fh_in = handle, .off_in = 1 << 20, .nodeid_out = copy_node, .fh_out = copy, .len = 3
    };
    assert_int_equal(rig_send(rig, FUSE_COPY_FILE_RANGE, node, &range, sizeof(range), NULL, 0), 0);
    rig_expect_file("root/copy", "end");
    rig_stop(rig);
}

static void a_file_without_a_name_gets_one(void **state)
{
    (void)state;
    struct rig *rig = rig_start(&writable);
    struct fuse_create_in in = { .flags = O_RDWR, .mode = S_IFREG | 0600 };
    int err = rig_send_name(rig, FUSE_TMPFILE, 1, &in, sizeof(in), "/");

    if (err == -EOPNOTSUPP)
        skip_because("this file system has no files without a name");
    assert_int_equal(err, 0);
    struct fuse_link_in link_in = {
        .oldnodeid = ((const struct fuse_entry_out *)rig_reply(rig))->nodeid,
    };
    assert_int_equal(rig_send_name(rig, FUSE_LINK, 1, &link_in, sizeof(link_in), "named"), 0);
    assert_int_equal(access(rig_path("root/named"), F_OK), 0);
    rig_stop(rig);
}

/* Until a change of the file has another time than its last one. */
static void wait_for_the_clock_of(const char *name)
{
    struct timespec now;
    struct stat st;

    assert_int_equal(stat(rig_path(name), &st), 0);
    do {
        (void)usleep(1000);
        assert_int_equal(clock_gettime(CLOCK_REALTIME_COARSE, &now), 0);
    } while (now.tv_sec < st.st_ctim.tv_sec ||
             (now.tv_sec == st.st_ctim.tv_sec && now.tv_nsec <= st.st_ctim.tv_nsec));
}

static void the_cache_is_kept_only_while_a_file_is_unchanged(void **state)
{
    (void)state;
    rig_write_file("root/file", "one");
    wait_for_the_clock_of("root/file");
    struct rig *rig = rig_start(&writable);
    uint64_t node = rig_find(rig, 1, "file"), handle = 0;
    const struct fuse_open_out *out = rig_reply(rig);

    assert_int_equal(rig_open(rig, node, O_RDONLY, &handle), 0);
    assert_int_equal(out->open_flags & FOPEN_KEEP_CACHE, 0);
    assert_int_equal(rig_open(rig, node, O_RDONLY, &handle), 0);
    assert_int_equal(out->open_flags & FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE);
    rig_write_file("root/file", "three");
    assert_int_equal(rig_open(rig, node, O_RDONLY, &handle), 0);
    assert_int_equal(out->open_flags & FOPEN_KEEP_CACHE, 0);
    rig_stop(rig);
}

static void a_change_that_left_no_trace_is_seen(void **state)
{
    (void)state;
    rig_write_file("root/file", "0");
    struct rig *rig = rig_start(&writable);
    uint64_t node = rig_find(rig, 1, "file"), handle = 0;
    const struct fuse_open_out *out = rig_reply(rig);
    int fd = open(rig_path("root/file"), O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    for (int i = 0; i < 300; i++) { /* many of them within a tick of the clock */
        assert_int_equal(rig_open(rig, node, O_RDONLY, &handle), 0);
        assert_int_equal(out->open_flags & FOPEN_KEEP_CACHE, 0);
        assert_int_equal(pwrite(fd, i % 2 ? "0" : "1", 1, 0), 1);
        struct fuse_release_in release = { .fh = handle };
        assert_int_equal(rig_send(rig, FUSE_RELEASE, node, &release, sizeof(release), NULL, 0), 0);
    }
    (void)close(fd);
    rig_stop(rig);
}

static void cache_modes_say_how_long_names_hold(void **state)
{
    (void)state;
    const struct fs_share_params none = { .cache = FS_CACHE_NONE };
    const struct fs_share_params always = { .cache = FS_CACHE_ALWAYS };
    const struct fs_share_params *const modes[] = { &writable, &none, &always };
    const uint64_t seconds[] = { 1, 0, 24 * 3600 };

    rig_write_file("root/file", "");
    for (int i = 0; i < 3; i++) {
        struct rig *rig = rig_start(modes[i]);
        uint64_t handle = 0, node = rig_find(rig, 1, "file");

        assert_int_equal(((const struct fuse_entry_out *)rig_reply(rig))->entry_valid, seconds[i]);
        assert_int_equal(rig_open(rig, node, O_RDONLY, &handle), 0);
        assert_int_equal(((const struct fuse_open_out *)rig_reply(rig))->open_flags,
                         i == 0   ? 0
                         : i == 1 ? FOPEN_DIRECT_IO
                                  : FOPEN_KEEP_CACHE);
        rig_stop(rig);
    }
}

/* --- what does not --- */

static void names_that_lead_out_are_refused(void **state)
{
    static const char *const names[] = { "..", ".", "", "a/b", "/", "../root", "/etc/passwd" };
    (void)state;
    struct rig *rig = rig_start(&writable);
    uint64_t node = 0, handle = 0, folder = 0;

    assert_int_equal(rig_mkdir(rig, 1, "a", &folder), 0);
    rig_write_file("root/a/b", "");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *name = names[i];

        assert_int_equal(rig_lookup(rig, 1, name, &node), -EINVAL);
        assert_int_equal(rig_lookup(rig, folder, name, &node), -EINVAL);
        assert_int_equal(rig_create(rig, 1, name, O_RDWR, 0644, &node, &handle), -EINVAL);
        assert_int_equal(rig_mkdir(rig, 1, name, NULL), -EINVAL);
        assert_int_equal(rig_rename(rig, 1, "a", 1, name, 0), -EINVAL);
        assert_int_equal(rig_rename(rig, 1, name, 1, "x", 0), -EINVAL);
        assert_int_equal(rig_send_name(rig, FUSE_UNLINK, 1, NULL, 0, name), -EINVAL);
        assert_int_equal(rig_send_name(rig, FUSE_RMDIR, 1, NULL, 0, name), -EINVAL);
    }
    char long_name[300];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_int_equal(rig_lookup(rig, 1, long_name, &node), -ENAMETOOLONG);
    assert_int_equal(rig_send(rig, FUSE_LOOKUP, 1, NULL, 0, "unended", 7), -EINVAL);
    assert_int_equal(rig_send(rig, FUSE_LOOKUP, 1, NULL, 0, NULL, 0), -EINVAL);
    rig_stop(rig);
}

static void a_readonly_folder_stays_as_it_is(void **state)
{
    (void)state;
    rig_write_file("root/file", "content");
    struct rig *rig = rig_start(&readonly);
    uint64_t node = rig_find(rig, 1, "file"), handle = 0, made = 0;
    struct fuse_setattr_in attr = { .valid = FATTR_MODE };
    struct fuse_link_in link_in = { .oldnodeid = node };
    struct fuse_mknod_in mknod_in = { .mode = S_IFREG | 0644 };

    assert_int_equal(rig_open(rig, node, O_RDWR, &handle), -EROFS);
    assert_int_equal(rig_open(rig, node, O_WRONLY, &handle), -EROFS);
    assert_int_equal(rig_open(rig, node, O_RDONLY | O_TRUNC, &handle), -EROFS);
    assert_int_equal(rig_open(rig, node, 3, &handle), -EROFS);
    assert_int_equal(rig_create(rig, 1, "new", O_RDWR, 0644, &made, &handle), -EROFS);
    assert_int_equal(rig_mkdir(rig, 1, "new", NULL), -EROFS);
    assert_int_equal(rig_send_name(rig, FUSE_MKNOD, 1, &mknod_in, sizeof(mknod_in), "n"), -EROFS);
    assert_int_equal(rig_send(rig, FUSE_SYMLINK, 1, NULL, 0, "l\0t", 4), -EROFS);
    assert_int_equal(rig_send_name(rig, FUSE_LINK, 1, &link_in, sizeof(link_in), "l"), -EROFS);
    assert_int_equal(rig_rename(rig, 1, "file", 1, "other", 0), -EROFS);
    assert_int_equal(rig_send_name(rig, FUSE_UNLINK, 1, NULL, 0, "file"), -EROFS);
    assert_int_equal(rig_send(rig, FUSE_SETATTR, node, &attr, sizeof(attr), NULL, 0), -EROFS);
    assert_int_equal(rig_open(rig, node, O_RDONLY, &handle), 0);
    assert_int_equal(rig_write(rig, node, handle, 0, "x", 1), -EROFS);
    assert_int_equal(rig_read(rig, node, handle, 0, 7), 7);
    rig_expect_file("root/file", "content");
    rig_stop(rig);
}

static void the_hosts_pipes_sockets_and_devices_are_not_opened(void **state)
{
    (void)state;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", rig_path("root/socket"));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    assert_int_equal(mkfifo(rig_path("root/fifo"), 0644), 0);
    bool has_device = !mknod(rig_path("root/device"), S_IFCHR | 0666, makedev(1, 3));
    struct rig *rig = rig_start(&writable);
    uint64_t handle = 0;

    assert_int_equal(rig_open(rig, rig_find(rig, 1, "socket"), O_RDONLY, &handle), -ENXIO);
    assert_int_equal(rig_open(rig, rig_find(rig, 1, "fifo"), O_RDONLY, &handle), -ENXIO);
    assert_int_equal(rig_open(rig, rig_find(rig, 1, "fifo"), O_RDWR, &handle), -ENXIO);
    if (has_device) {
        uint64_t node = rig_find(rig, 1, "device");
        assert_int_equal(((const struct fuse_entry_out *)rig_reply(rig))->attr.rdev, 0x103);
        assert_int_equal(rig_open(rig, node, O_RDWR, &handle), -ENXIO);
        assert_int_equal(rig_create(rig, 1, "device", O_RDWR, 0644, &node, &handle), -ESTALE);
    }
    rig_stop(rig);
}

static void devices_cannot_be_made(void **state)
{
    (void)state;
    struct rig *rig = rig_start(&writable);
    struct fuse_mknod_in in = { .mode = S_IFBLK | 0666, .rdev = 0x800 };

    assert_int_equal(rig_send_name(rig, FUSE_MKNOD, 1, &in, sizeof(in), "sda"), -EPERM);
    in = (struct fuse_mknod_in){ .mode = S_IFCHR | 0666, .rdev = 0x103 };
    assert_int_equal(rig_send_name(rig, FUSE_MKNOD, 1, &in, sizeof(in), "null"), -EPERM);
    in = (struct fuse_mknod_in){ .mode = S_IFIFO | 0666 };
    assert_int_equal(rig_send_name(rig, FUSE_MKNOD, 1, &in, sizeof(in), "fifo"), 0);
    rig_stop(rig);
}

static void what_root_creates_for_a_user_is_the_users(void **state)
{
    (void)state;
    struct stat st;
    uint64_t node = 0, handle = 0;

    if (geteuid() != 0)
        skip_because("only root becomes somebody else");
    assert_int_equal(chmod(rig_path("root"), 0777), 0);
    struct rig *rig = rig_start(&writable);
    rig->uid = 1234;
    rig->gid = 5678;
    assert_int_equal(rig_create(rig, 1, "file", O_RDWR, 0644, &node, &handle), 0);
    assert_int_equal(rig_mkdir(rig, 1, "folder", NULL), 0);
    assert_int_equal(rig_send(rig, FUSE_SYMLINK, 1, NULL, 0, "link\0t", 7), 0);
    static const char *const names[] = { "root/file", "root/folder", "root/link" };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(lstat(rig_path(names[i]), &st), 0);
        assert_int_equal(st.st_uid, 1234);
        assert_int_equal(st.st_gid, 5678);
    }
    rig->uid = rig->gid = UINT32_MAX; /* nobody's */
    assert_int_equal(rig_mkdir(rig, 1, "other", NULL), -EPERM);
    rig->uid = rig->gid = 0;
    assert_int_equal(rig_mkdir(rig, 1, "roots", NULL), 0);
    assert_int_equal(lstat(rig_path("root/roots"), &st), 0);
    assert_int_equal(st.st_uid, 0);
    rig_stop(rig);
}

/* --- races: the host, or another queue of the guest's, changes what is looked up --- */

struct swapper {
    atomic_bool is_stopping;
};

/* Puts a link out of the folder in the place of one of its folders, and back, as fast as it can. */
static void *swap(void *ctx)
{
    struct swapper *swapper = ctx;
    char folder[PATH_MAX + 16], link_path[PATH_MAX + 16];

    (void)snprintf(folder, sizeof(folder), "%s/root/folder", rig_scratch);
    (void)snprintf(link_path, sizeof(link_path), "%s/root/link", rig_scratch);
    while (!atomic_load(&swapper->is_stopping))
        (void)renameat2(AT_FDCWD, folder, AT_FDCWD, link_path, RENAME_EXCHANGE);
    return NULL;
}

static void a_link_swapped_in_during_lookups_never_leads_out(void **state)
{
    (void)state;
    struct swapper swapper = { false };
    pthread_t thread;
    unsigned reached = 0;

    assert_int_equal(mkdir(rig_path("root/folder"), 0755), 0);
    assert_int_equal(mkdir(rig_path("outside"), 0755), 0);
    rig_write_file("root/folder/file", "inside");
    rig_write_file("outside/file", "secret");
    assert_int_equal(symlink(rig_path("outside"), rig_path("root/link")), 0);
    struct rig *rig = rig_start(&writable);
    assert_int_equal(pthread_create(&thread, NULL, swap, &swapper), 0);
    for (int i = 0; i < 20000; i++) {
        uint64_t folder = 0, node = 0, handle = 0;

        if (rig_lookup(rig, 1, i % 2 ? "folder" : "link", &folder) ||
            rig_lookup(rig, folder, "file", &node))
            continue;
        if (i % 3 == 0) {
            (void)rig_create(rig, folder, "made", O_RDWR, 0644, &node, &handle);
            (void)rig_send_name(rig, FUSE_UNLINK, folder, NULL, 0, "made");
            continue;
        }
        assert_int_equal(rig_open(rig, node, O_RDONLY, &handle), 0);
        assert_int_equal(rig_read(rig, node, handle, 0, 10), 6);
        assert_memory_equal(rig_reply(rig), "inside", 6);
        struct fuse_release_in release = { .fh = handle };
        assert_int_equal(rig_send(rig, FUSE_RELEASE, node, &release, sizeof(release), NULL, 0), 0);
        reached++;
    }
    atomic_store(&swapper.is_stopping, true);
    pthread_join(thread, NULL);
    assert_true(reached > 100);
    assert_int_equal(access(rig_path("outside/made"), F_OK), -1);
    rig_stop(rig);
}

struct looker {
    struct rig *rig;
    unsigned seed;
};

/* Looks up, forgets, opens and closes what others do, too, with numbers partly guessed. */
static void *look(void *ctx)
{
    struct looker *looker = ctx;
    struct rig *rig = looker->rig;
    struct fs_call *call = malloc(sizeof(*call));
    uint8_t *in = malloc(RIG_MESSAGE_MAX), *out = calloc(1, RIG_MESSAGE_MAX);

    for (int i = 0; i < 3000; i++) {
        uint64_t node = (uint64_t)rand_r(&looker->seed) % 12, handle = node + 1;
        struct fuse_forget_in forget = { .nlookup = 1 };
        struct fuse_open_in open_in = { .flags = O_RDWR };
        struct fuse_read_in read_in = { .fh = handle, .size = 100 };
        struct fuse_release_in release = { .fh = handle };
        char name[16];

        (void)snprintf(name, sizeof(name), "file-%d", rand_r(&looker->seed) % 8);
        (void)rig_send_to(rig, call, in, out, FUSE_LOOKUP, 1, NULL, 0, name, strlen(name) + 1);
        (void)rig_send_to(rig, call, in, out, FUSE_OPEN, node, &open_in, sizeof(open_in), NULL, 0);
        (void)rig_send_to(rig, call, in, out, FUSE_READ, node, &read_in, sizeof(read_in), NULL, 0);
        (void)rig_send_to(rig, call, in, out, FUSE_RELEASE, node, &release, sizeof(release), NULL,
                          0);
        (void)rig_send_to(rig, call, in, out, FUSE_FORGET, node, &forget, sizeof(forget), NULL, 0);
        if (i % 500 == 499)
            (void)rig_send_to(rig, call, in, out, FUSE_DESTROY, 0, NULL, 0, NULL, 0);
        if (i % 500 == 499)
            atomic_store(&rig->fuse.is_ready, true);
    }
    free(call);
    free(in);
    free(out);
    return NULL;
}

static void threads_may_use_and_forget_the_same_files(void **state)
{
    (void)state;
    struct looker lookers[3];
    pthread_t threads[3];
    char name[32];

    for (int i = 0; i < 8; i++) {
        (void)snprintf(name, sizeof(name), "root/file-%d", i);
        rig_write_file(name, "x");
    }
    struct rig *rig = rig_start(&writable);
    unsigned before = count_open_files();
    rig->fuse.share->fd_max = 9; /* so that some are closed and opened again */
    for (unsigned i = 0; i < 3; i++) {
        lookers[i] = (struct looker){ rig, i + 1 };
        assert_int_equal(pthread_create(&threads[i], NULL, look, &lookers[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(rig_send(rig, FUSE_DESTROY, 0, NULL, 0, NULL, 0), 0);
    assert_int_equal(count_open_files(), before);
    rig_stop(rig);
}

/* --- messages that are none --- */

static void short_and_odd_messages_are_refused(void **state)
{
    (void)state;
    struct rig *rig = rig_start(&writable);
    struct fuse_open_in in = { 0 };
    struct fuse_read_in read_in = { .fh = 12345, .size = UINT32_MAX, .offset = UINT64_MAX };
    struct fuse_batch_forget_in batch = { .count = UINT32_MAX };

    assert_int_equal(rig_send(rig, FUSE_OPEN, 1, &in, 4, NULL, 0), -EINVAL);
    assert_int_equal(rig_send(rig, 0, 1, NULL, 0, NULL, 0), -ENOSYS);
    assert_int_equal(rig_send(rig, 4096, 1, NULL, 0, NULL, 0), -ENOSYS);
    assert_int_equal(rig_send(rig, FUSE_SETLKW, 1, NULL, 0, NULL, 0), -ENOSYS);
    assert_int_equal(rig_send(rig, FUSE_READ, 1, &read_in, sizeof(read_in), NULL, 0), -EBADF);
    assert_int_equal(rig_send(rig, FUSE_BATCH_FORGET, 1, &batch, sizeof(batch), NULL, 0), 0);
    assert_int_equal(rig_lookup(rig, 999, "x", NULL), -ESTALE);
    rig->room = 20; /* too little for an entry */
    assert_int_equal(rig_mkdir(rig, 1, "folder", NULL), -EINVAL);
    assert_int_equal(access(rig_path("root/folder"), F_OK), -1);
    rig->room = 8; /* not even for a header */
    assert_int_equal(rig_mkdir(rig, 1, "folder", NULL), 0);
    assert_int_equal(rig->written, 0);
    rig->room = RIG_MESSAGE_MAX;
    assert_int_equal(rig_send(rig, FUSE_DESTROY, 0, NULL, 0, NULL, 0), 0);
    assert_int_equal(rig_mkdir(rig, 1, "folder", NULL), -EPERM);
    rig_stop(rig);
}

/* --- more files than may be open --- */

enum { MANY = 100, FEW = 10 };

static int get_attr(struct rig *rig, uint64_t node)
{
    struct fuse_getattr_in in = { 0 };

    return rig_send(rig, FUSE_GETATTR, node, &in, sizeof(in), NULL, 0);
}

/* A share that may have FEW files open, whose guest knows MANY. */
static struct rig *start_with_many(uint64_t nodes[MANY])
{
    char name[32];
    struct rig *rig = rig_start(&writable);

    rig->fuse.share->fd_max = FEW;
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "root/file-%d", i);
        rig_write_file(name, name);
        nodes[i] = rig_find(rig, 1, name + 5);
    }
    return rig;
}

static void the_guest_may_know_more_files_than_are_open(void **state)
{
    (void)state;
    uint64_t nodes[MANY], handles[FEW] = { 0 };
    unsigned before = count_open_files(), found;
    struct rig *rig = start_with_many(nodes);
    int opened = 0;

    assert_true(count_open_files() <= before + FEW + 3);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(get_attr(rig, nodes[i]), 0);
        for (int j = 0; j < i; j++)
            assert_true(nodes[i] != nodes[j]);
    }
    while (opened < FEW && !rig_open(rig, nodes[opened * 7], O_RDONLY, &handles[opened]))
        opened++;
    assert_int_equal(opened, FEW - 2); /* beside the root, and what is being opened */
    for (int i = 0; i < opened; i++) {
        char name[32];
        int len = snprintf(name, sizeof(name), "root/file-%d", i * 7);
        assert_int_equal(rig_read(rig, nodes[i * 7], handles[i], 0, 100), len);
        assert_memory_equal(rig_reply(rig), name, (size_t)len);
    }
    assert_int_equal(rig_open(rig, nodes[0], O_RDONLY, &handles[0]), -ENFILE);
    assert_int_equal(rig_init_session(rig, FUSE_KERNEL_MINOR_VERSION), 0);
    assert_int_equal(rig->fuse.share->fd_count, 1);
    assert_int_equal(rig_list(rig, 1, true, "file-99", &found), MANY + 2);
    assert_true(count_open_files() <= before + FEW + 3);
    rig_stop(rig);
    assert_int_equal(count_open_files(), before);
}

static void a_closed_file_that_the_guest_moves_or_removes_is_found(void **state)
{
    (void)state;
    uint64_t nodes[MANY], folder = 0;
    struct rig *rig = start_with_many(nodes);

    assert_int_equal(rig_mkdir(rig, 1, "folder", &folder), 0);
    assert_int_equal(rig_rename(rig, 1, "file-3", folder, "moved", 0), 0);
    assert_int_equal(rig_send_name(rig, FUSE_UNLINK, 1, NULL, 0, "file-4"), 0);
    assert_int_equal(rig_rename(rig, 1, "folder", 1, "file-dir", 0), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(get_attr(rig, nodes[i]), 0);
    assert_int_equal(get_attr(rig, nodes[4]), 0);
    assert_int_equal(((const struct fuse_attr_out *)rig_reply(rig))->attr.nlink, 0);
    assert_int_equal(rig_find(rig, folder, "moved"), nodes[3]);
    for (int i = 5; i < MANY; i++)
        assert_int_equal(get_attr(rig, nodes[i]), 0);
    assert_int_equal(get_attr(rig, nodes[3]), 0);
    rig_stop(rig);
}

static void another_file_of_a_closed_ones_name_is_not_taken_for_it(void **state)
{
    (void)state;
    uint64_t nodes[MANY], node;
    struct rig *rig = start_with_many(nodes);

    rig_write_file("secret", "secret");
    rig_write_file("root/new", "new");
    assert_int_equal(rename(rig_path("root/new"), rig_path("root/file-0")), 0);
    assert_int_equal(unlink(rig_path("root/file-1")), 0);
    assert_int_equal(symlink("../secret", rig_path("root/file-1")), 0);
    assert_int_equal(get_attr(rig, nodes[0]), -ESTALE);
    assert_int_equal(get_attr(rig, nodes[1]), -ESTALE);
    node = rig_find(rig, 1, "file-0");
    assert_true(node != nodes[0]);
    assert_int_equal(get_attr(rig, node), 0);
    rig_stop(rig);
}

static void what_is_open_stays_though_the_host_puts_another_in_its_place(void **state)
{
    (void)state;
    uint64_t nodes[MANY], handle = 0;
    struct rig *rig = start_with_many(nodes);

    assert_int_equal(rig_open(rig, nodes[0], O_RDWR, &handle), 0);
    for (int i = 1; i < MANY; i++)
        assert_int_equal(get_attr(rig, nodes[i]), 0);
    rig_write_file("root/new", "new");
    assert_int_equal(rename(rig_path("root/new"), rig_path("root/file-0")), 0);
    assert_int_equal(get_attr(rig, nodes[0]), 0);
    assert_int_equal(((const struct fuse_attr_out *)rig_reply(rig))->attr.nlink, 0);
    assert_int_equal(rig_write(rig, nodes[0], handle, 0, "R", 1), 1);
    assert_int_equal(rig_read(rig, nodes[0], handle, 0, 100), 11);
    assert_memory_equal(rig_reply(rig), "Root/file-0", 11);
    assert_true(rig_find(rig, 1, "file-0") != nodes[0]);
    struct fuse_forget_in forget = { .nlookup = 1 };
    assert_int_equal(rig_send(rig, FUSE_FORGET, nodes[0], &forget, sizeof(forget), NULL, 0), 0);
    assert_int_equal(get_attr(rig, nodes[0]), -ESTALE);
    size_t count = rig->fuse.share->inode_count;
    struct fuse_release_in release = { .fh = handle };
    assert_int_equal(rig_send(rig, FUSE_RELEASE, 0, &release, sizeof(release), NULL, 0), 0);
    assert_int_equal(rig->fuse.share->inode_count, count - 1);
    rig_stop(rig);
}

static void folders_that_were_each_others_parents_are_forgotten(void **state)
{
    (void)state;
    uint64_t a = 0, b = 0;
    unsigned before = count_open_files();
    struct rig *rig = rig_start(&writable);

    assert_int_equal(rig_mkdir(rig, 1, "a", &a), 0);
    assert_int_equal(rig_mkdir(rig, a, "b", &b), 0);
    assert_int_equal(rig_rename(rig, a, "b", 1, "b", 0), 0);
    assert_int_equal(rig_rename(rig, 1, "a", b, "a", 0), 0);
    assert_int_equal(rig_find(rig, b, "a"), a);
    assert_int_equal(rig_send(rig, FUSE_DESTROY, 0, NULL, 0, NULL, 0), 0);
    assert_int_equal(rig->fuse.share->inode_count, 1);
    rig_stop(rig);
    assert_int_equal(count_open_files(), before);
}

static void folders_that_are_known_stay_open_up_to_the_limit(void **state)
{
    (void)state;
    struct rig *rig = rig_start(&writable);
    uint64_t node = 1;
    int depth = 0;

    rig->fuse.share->fd_max = FEW;
    while (depth < MANY && !rig_mkdir(rig, node, "d", &node))
        depth++;
    assert_int_equal(depth, FEW - 1);
    rig_stop(rig);
}

#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, rig_make_scratch, rig_remove_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FS_TEST(agrees_on_a_version_and_on_sizes),
        FS_TEST(who_caches_for_ever_writes_later_and_is_given_what_that_needs),
        FS_TEST(what_cannot_be_read_is_written_at_once),
        FS_TEST(that_there_is_no_file_holds_as_long_as_that_there_is_one),
        FS_TEST(a_file_is_created_written_and_read_back),
        FS_TEST(appending_goes_to_the_end_but_not_what_was_mapped),
        FS_TEST(what_the_guest_looked_up_twice_is_one_inode_until_forgotten),
        FS_TEST(names_are_made_moved_linked_and_removed),
        FS_TEST(links_are_read_and_never_followed),
        FS_TEST(a_file_that_was_taken_for_missing_is_looked_up_anew),
        FS_TEST(attributes_are_set_of_files_and_of_links),
        FS_TEST(extended_attributes_of_users_are_kept_and_others_refused),
        FS_TEST(a_folder_is_listed_in_pieces),
        FS_TEST(holes_are_made_found_and_copied),
        FS_TEST(a_file_without_a_name_gets_one),
        FS_TEST(the_cache_is_kept_only_while_a_file_is_unchanged),
        FS_TEST(a_change_that_left_no_trace_is_seen),
        FS_TEST(cache_modes_say_how_long_names_hold),
        FS_TEST(names_that_lead_out_are_refused),
        FS_TEST(a_readonly_folder_stays_as_it_is),
        FS_TEST(the_hosts_pipes_sockets_and_devices_are_not_opened),
        FS_TEST(devices_cannot_be_made),
        FS_TEST(what_root_creates_for_a_user_is_the_users),
        FS_TEST(a_link_swapped_in_during_lookups_never_leads_out),
        FS_TEST(threads_may_use_and_forget_the_same_files),
        FS_TEST(short_and_odd_messages_are_refused),
        FS_TEST(the_guest_may_know_more_files_than_are_open),
        FS_TEST(a_closed_file_that_the_guest_moves_or_removes_is_found),
        FS_TEST(another_file_of_a_closed_ones_name_is_not_taken_for_it),
        FS_TEST(what_is_open_stays_though_the_host_puts_another_in_its_place),
        FS_TEST(folders_that_were_each_others_parents_are_forgotten),
        FS_TEST(folders_that_are_known_stay_open_up_to_the_limit),
    };

    if (!has_openat2())
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
