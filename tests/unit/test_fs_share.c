// SPDX-License-Identifier: Apache-2.0
/* What of the host's a shared folder gives away, and as whom it acts there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <sys/mount.h>

#include "fs_harness.h"
#include "openat2.h"
#include "skip.h"

static const struct fs_share_params writable = { 0 };

static void a_file_system_of_the_kernels_is_not_shared(void **state)
{
    (void)state;
    const struct fs_share_params params = { .path = "/proc/self" };
    struct fs_share *share = NULL;

    assert_int_equal(fs_share_open(&params, &share), -EINVAL);
    assert_null(share);
}

/* Makes a folder in ours to mount something on, in a namespace of our own. */
static bool make_place(const char *name)
{
    return mkdir(rig_path(name), 0755) == 0 && unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool mount_proc(void)
{
    return make_place("root/proc") &&
           mount("/proc", rig_path("root/proc"), NULL, MS_BIND, NULL) == 0;
}

static void a_file_system_of_the_kernels_in_the_folder_is_empty(void **state)
{
    (void)state;
    struct fuse_setattr_in attr = { .valid = FATTR_MODE, .mode = 0777 };
    unsigned found;

    if (!mount_proc())
        skip_because("only root mounts");
    struct rig *rig = rig_start(&writable);
    uint64_t proc = rig_find(rig, 1, "proc"), node = 0, handle = 0;

    assert_true(access(rig_path("root/proc/self/mem"), F_OK) == 0);
    assert_int_equal(rig_lookup(rig, proc, "self", &node), -ENOENT);
    assert_int_equal(rig_lookup(rig, proc, "kmsg", &node), -ENOENT);
    assert_int_equal(rig_list(rig, proc, false, "self", &found), 2);
    assert_int_equal(rig_list(rig, proc, true, "kmsg", &found), 2);
    assert_int_equal(rig_mkdir(rig, proc, "new", NULL), -EROFS);
    assert_int_equal(rig_create(rig, proc, "kmsg", O_WRONLY, 0644, &node, &handle), -EROFS);
    assert_int_equal(rig_send(rig, FUSE_SETATTR, proc, &attr, sizeof(attr), NULL, 0), -EROFS);
    assert_int_equal(rig_mkdir(rig, 1, "folder", NULL), 0);
    assert_int_equal(rig_rename(rig, 1, "folder", proc, "folder", 0), -EACCES);
    rig_stop(rig);
    assert_int_equal(umount2(rig_path("root/proc"), MNT_DETACH), 0);
}

static dev_t synced; /* the file system that was synced last */

/* In the place of the C library's: to see which one it is takes a file system that tells. */
int syncfs(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    synced = st.st_dev;
    return 0;
}

static void a_guest_syncs_the_file_system_that_it_means(void **state)
{
    (void)state;
    const struct fs_share_params readonly = { .read_only = true };
    const uint64_t padding = 0;
    struct stat root, inner;

    if (!make_place("root/inner") || mount("none", rig_path("root/inner"), "tmpfs", 0, NULL))
        skip_because("only root mounts");
    assert_int_equal(stat(rig_path("root"), &root), 0);
    assert_int_equal(stat(rig_path("root/inner"), &inner), 0);
    struct rig *rig = rig_start(&writable);
    uint64_t node = rig_find(rig, 1, "inner");

    assert_int_equal(rig_send(rig, FUSE_SYNCFS, 1, &padding, sizeof(padding), NULL, 0), 0);
    assert_int_equal(synced, root.st_dev);
    assert_int_equal(rig_send(rig, FUSE_SYNCFS, node, &padding, sizeof(padding), NULL, 0), 0);
    assert_int_equal(synced, inner.st_dev);
    rig_stop(rig);
    synced = 0;
    rig = rig_start(&readonly);
    assert_int_equal(rig_send(rig, FUSE_SYNCFS, 1, &padding, sizeof(padding), NULL, 0), 0);
    assert_int_equal(synced, 0);
    rig_stop(rig);
    assert_int_equal(umount2(rig_path("root/inner"), MNT_DETACH), 0);
}

static void root_creates_for_a_user_where_one_of_his_groups_may(void **state)
{
    (void)state;
    struct stat st;
    uint64_t node = 0, handle = 0;

    if (geteuid() != 0)
        skip_because("only root becomes somebody else");
    assert_int_equal(mkdir(rig_path("root/team"), 0770), 0);
    assert_int_equal(chown(rig_path("root/team"), 0, 4242), 0);
    struct rig *rig = rig_start(&writable);
    uint64_t team = rig_find(rig, 1, "team");

    rig->uid = rig->gid = 1234; /* and 4242, as the guest's kernel knows */
    assert_int_equal(rig_create(rig, team, "file", O_RDWR, 06755, &node, &handle), 0);
    assert_int_equal(stat(rig_path("root/team/file"), &st), 0);
    assert_int_equal(st.st_uid, 1234);
    assert_int_equal(st.st_gid, 1234);
    assert_int_equal(rig_mkdir(rig, team, "folder", &node), 0);
    /* And is root again. */
    rig->uid = rig->gid = 0;
    struct fuse_setattr_in owner = { .valid = FATTR_UID, .uid = 99 };
    assert_int_equal(rig_send(rig, FUSE_SETATTR, node, &owner, sizeof(owner), NULL, 0), 0);
    rig_stop(rig);
}

/* What the host gave and the reply had no room for is kept, but not of any number of folders. */
static void folders_are_read_on_however_many_are_open(void **state)
{
    (void)state;
    enum { COUNT = FS_RESTS_MAX + 100, FILES = 20 };
    static uint64_t handles[COUNT];
    const struct fuse_open_in open_in = { .flags = O_RDONLY };
    char name[32];

    for (int i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof(name), "root/file-%02d", i);
        rig_write_file(name, "");
    }
    struct rig *rig = rig_start(&writable);
    if (rig->fuse.share->fd_max <= COUNT) {
        rig_stop(rig);
        skip_because("too few files may be open here");
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < COUNT; i++) {
            struct fuse_read_in in = { .size = 128 }; /* some three entries */
            int count = 0;

            if (pass == 0) {
                assert_int_equal(rig_send(rig, FUSE_OPENDIR, 1, &open_in, sizeof(open_in), NULL, 0),
                                 0);
                handles[i] = ((const struct fuse_open_out *)rig_reply(rig))->fh;
            }
            in.fh = handles[i];
            do {
                assert_int_equal(rig_send(rig, FUSE_READDIR, 1, &in, sizeof(in), NULL, 0), 0);
                for (size_t at = 0; at < rig->reply_len; count++) {
                    const struct fuse_dirent *entry =
                        (const void *)((const uint8_t *)rig_reply(rig) + at);
                    in.offset = entry->off;
                    at += FUSE_DIRENT_SIZE(entry);
                }
            } while (pass == 1 && rig->reply_len > 0);
            assert_true(pass == 0 ? count > 0 && count < FILES : count == FILES + 2);
        }
        assert_int_equal(rig->fuse.share->rest_count, pass == 0 ? FS_RESTS_MAX : 0);
    }
    rig_stop(rig);
}

static void content_of_links_may_be_kept_unless_nothing_is(void **state)
{
    (void)state;
    const struct fs_share_params none = { .cache = FS_CACHE_NONE };
    struct rig *rig = rig_start(&writable);

    assert_int_equal(rig_init_session(rig, FUSE_KERNEL_MINOR_VERSION), 0);
    assert_true(((const struct fuse_init_out *)rig_reply(rig))->flags & FUSE_CACHE_SYMLINKS);
    rig_stop(rig);
    rig = rig_start(&none);
    assert_int_equal(rig_init_session(rig, FUSE_KERNEL_MINOR_VERSION), 0);
    assert_false(((const struct fuse_init_out *)rig_reply(rig))->flags & FUSE_CACHE_SYMLINKS);
    rig_stop(rig);
}

#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, rig_make_scratch, rig_remove_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FS_TEST(a_file_system_of_the_kernels_is_not_shared),
        FS_TEST(a_file_system_of_the_kernels_in_the_folder_is_empty),
        FS_TEST(a_guest_syncs_the_file_system_that_it_means),
        FS_TEST(root_creates_for_a_user_where_one_of_his_groups_may),
        FS_TEST(folders_are_read_on_however_many_are_open),
        FS_TEST(content_of_links_may_be_kept_unless_nothing_is),
    };

    if (!has_openat2())
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
