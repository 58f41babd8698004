// SPDX-License-Identifier: Apache-2.0
/* What of a shared folder does not exist for the guest, whoever makes it, and whenever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "fs_harness.h"
#include "openat2.h"

/* A guest that shares the folder, where some paths are hidden: up to three, or NULL. */
static struct rig *start_hiding(const char *one, const char *two, const char *three)
{
    const char *const names[] = { one, two, three };
    const char *paths[4] = { NULL };
    const struct fs_share_params params = { .hidden = paths };

    for (int i = 0; i < 3 && names[i]; i++)
        paths[i] = rig_path(names[i]);
    return rig_start(&params);
}

static void make_folder(const char *name)
{
    assert_int_equal(mkdir(rig_path(name), 0755), 0);
}

static int make_link(struct rig *rig, uint64_t folder, const char *name, const char *target)
{
    char names[256];
    int len = snprintf(names, sizeof(names), "%s%c%s", name, '\0', target);

    return rig_send(rig, FUSE_SYMLINK, folder, NULL, 0, names, (size_t)len + 1);
}

/* Neither found nor listed nor made, and what is beside it is. */
static void expect_hidden(struct rig *rig, uint64_t folder, const char *name, const char *other)
{
    uint64_t node = 0, handle = 0;
    unsigned found;

    assert_int_equal(rig_lookup(rig, folder, name, &node), -ENOENT);
    assert_true(rig_list(rig, folder, false, name, &found) > 0);
    assert_int_equal(found, 0);
    assert_true(rig_list(rig, folder, true, name, &found) > 0);
    assert_int_equal(found, 0);
    assert_int_equal(rig_create(rig, folder, name, O_RDWR, 0644, &node, &handle), -EACCES);
    assert_int_equal(rig_mkdir(rig, folder, name, &node), -EACCES);
    assert_int_equal(rig_send_name(rig, FUSE_UNLINK, folder, NULL, 0, name), -EACCES);
    if (!other)
        return;
    assert_int_equal(rig_rename(rig, folder, name, folder, "mine", 0), -EACCES);
    assert_int_equal(rig_rename(rig, folder, other, folder, name, 0), -EACCES);
    assert_int_equal(rig_rename(rig, folder, other, folder, name, RENAME_EXCHANGE), -EACCES);
    (void)rig_find(rig, folder, other);
    (void)rig_list(rig, folder, true, other, &found);
    assert_int_equal(found, 1);
}

static void hidden_paths_are_absent_whatever_their_name(void **state)
{
    (void)state;
    make_folder("root/home");
    make_folder("root/home/keys");
    rig_write_file("root/home/keys/key", "secret");
    rig_write_file("root/password", "secret");
    assert_int_equal(link(rig_path("root/password"), rig_path("root/alias")), 0);
    struct rig *rig = start_hiding("root/home/keys", "root/password", "root/home/later");
    uint64_t home = rig_find(rig, 1, "home"), node = 0, handle = 0;
    unsigned found;

    rig_write_file("root/home/later", "secret");
    assert_int_equal(rig_lookup(rig, home, "keys", &node), -ENOENT);
    assert_int_equal(rig_lookup(rig, home, "later", &node), -ENOENT);
    assert_int_equal(rig_lookup(rig, 1, "password", &node), -ENOENT);
    assert_int_equal(rig_lookup(rig, 1, "alias", &node), -ENOENT);
    assert_int_equal(rig_list(rig, home, false, "keys", &found), 2);
    assert_int_equal(rig_list(rig, 1, true, "alias", &found), 3);
    assert_int_equal(rig_create(rig, 1, "password", O_RDWR, 0644, &node, &handle), -EACCES);
    assert_int_equal(rig_send_name(rig, FUSE_UNLINK, 1, NULL, 0, "alias"), -EACCES);
    assert_int_equal(rig_rename(rig, home, "keys", 1, "mine", 0), -EACCES);
    assert_int_equal(rig_create(rig, 1, "own", O_RDWR, 0644, &node, &handle), 0);
    assert_int_equal(rig_rename(rig, 1, "own", 1, "password", 0), -EACCES);
    assert_int_equal(rig_rename(rig, 1, "own", 1, "alias", RENAME_EXCHANGE), -EACCES);
    /* The host may move a folder above: what is hidden in it stays hidden. */
    assert_int_equal(rename(rig_path("root/home"), rig_path("root/moved")), 0);
    assert_int_equal(rig_lookup(rig, rig_find(rig, 1, "moved"), "keys", &node), -ENOENT);
    expect_hidden(rig, home, "later", NULL);
    rig_expect_file("root/password", "secret");
    rig_stop(rig);
}

static void a_folder_that_the_host_makes_later_hides_the_name(void **state)
{
    (void)state;
    struct rig *rig =
        start_hiding("root/.docker/config.json", "root/.config/git/credentials", NULL);

    assert_int_equal(rig_lookup(rig, 1, ".docker", NULL), -ENOENT);
    make_folder("root/.docker");
    rig_write_file("root/.docker/config.json", "secret");
    rig_write_file("root/.docker/daemon.json", "no secret");
    expect_hidden(rig, rig_find(rig, 1, ".docker"), "config.json", "daemon.json");

    make_folder("root/.config");
    uint64_t config = rig_find(rig, 1, ".config");
    make_folder("root/.config/git");
    rig_write_file("root/.config/git/credentials", "secret");
    rig_write_file("root/.config/git/config", "no secret");
    expect_hidden(rig, rig_find(rig, config, "git"), "credentials", "config");
    rig_stop(rig);
}

static void a_folder_that_the_host_replaces_hides_the_name(void **state)
{
    (void)state;
    make_folder("root/.docker");
    rig_write_file("root/.docker/config.json", "secret");
    rig_write_file("root/.docker/daemon.json", "no secret");
    struct rig *rig = start_hiding("root/.docker/config.json", NULL, NULL);
    uint64_t old = rig_find(rig, 1, ".docker");

    make_folder("root/next");
    rig_write_file("root/next/config.json", "not hidden here");
    rig_write_file("root/next/daemon.json", "no secret");
    uint64_t next = rig_find(rig, 1, "next");
    (void)rig_find(rig, next, "config.json");
    assert_int_equal(syscall(SYS_renameat2, AT_FDCWD, rig_path("root/next"), AT_FDCWD,
                             rig_path("root/.docker"), RENAME_EXCHANGE),
                     0);
    expect_hidden(rig, next, "config.json", "daemon.json");
    assert_int_equal(rig_find(rig, 1, ".docker"), next);
    expect_hidden(rig, old, "config.json", "daemon.json"); /* where it was at the start */

    scratch_remove(rig_path("root/.docker"));
    make_folder("root/.docker");
    rig_write_file("root/.docker/config.json", "secret");
    rig_write_file("root/.docker/daemon.json", "no secret");
    expect_hidden(rig, rig_find(rig, 1, ".docker"), "config.json", "daemon.json");
    rig_stop(rig);
}

static void a_folder_that_the_guest_makes_hides_the_name(void **state)
{
    (void)state;
    struct rig *rig = start_hiding("root/.m2/settings.xml", "root/a/b/key", NULL);
    uint64_t maven = 0, a = 0, b = 0, node = 0, handle = 0;

    assert_int_equal(rig_mkdir(rig, 1, ".m2", &maven), 0);
    expect_hidden(rig, maven, "settings.xml", NULL);
    assert_int_equal(rig_create(rig, maven, "other.xml", O_RDWR, 0644, &node, &handle), 0);
    rig_write_file("root/.m2/settings.xml", "secret");
    expect_hidden(rig, maven, "settings.xml", "other.xml");

    assert_int_equal(rig_mkdir(rig, 1, "a", &a), 0);
    assert_int_equal(rig_mkdir(rig, a, "key", NULL), 0);
    assert_int_equal(rig_mkdir(rig, a, "b", &b), 0);
    expect_hidden(rig, b, "key", NULL);
    /* An empty one may go, and come again. */
    assert_int_equal(rig_send_name(rig, FUSE_RMDIR, a, NULL, 0, "b"), 0);
    assert_int_equal(rig_mkdir(rig, a, "b", &b), 0);
    expect_hidden(rig, b, "key", NULL);
    assert_int_equal(rig_send_name(rig, FUSE_RMDIR, 1, NULL, 0, ".m2"), -ENOTEMPTY);
    rig_stop(rig);
}

static void what_leads_to_a_hidden_path_is_not_moved_by_the_guest(void **state)
{
    (void)state;
    make_folder("root/a");
    make_folder("root/a/b");
    rig_write_file("root/a/b/key", "secret");
    struct rig *rig = start_hiding("root/a/b/key", "root/later/key", NULL);
    uint64_t a = rig_find(rig, 1, "a"), own = 0, node = 0, handle = 0;

    assert_int_equal(rig_mkdir(rig, 1, "own", &own), 0);
    assert_int_equal(rig_create(rig, own, "key", O_RDWR, 0644, &node, &handle), 0);
    assert_int_equal(rig_rename(rig, 1, "a", 1, "x", 0), -EXDEV);
    assert_int_equal(rig_rename(rig, a, "b", 1, "x", 0), -EXDEV);
    assert_int_equal(rig_rename(rig, 1, "own", 1, "a", RENAME_EXCHANGE), -EXDEV);
    assert_int_equal(rig_rename(rig, a, "b", 1, "own", RENAME_EXCHANGE), -EXDEV);
    assert_int_equal(rig_rename(rig, 1, "own", 1, "later", 0), -EXDEV);
    assert_int_equal(rig_rename(rig, 1, "a", 1, "x", RENAME_WHITEOUT), -EXDEV);
    /* The same names elsewhere are any others. */
    assert_int_equal(rig_mkdir(rig, own, "a", NULL), 0);
    assert_int_equal(rig_rename(rig, own, "a", own, "later", 0), 0);
    assert_int_equal(rig_rename(rig, own, "later", a, "own", 0), 0);
    expect_hidden(rig, rig_find(rig, a, "b"), "key", NULL);
    rig_stop(rig);
}

static void no_link_of_the_guests_leads_to_a_hidden_path(void **state)
{
    (void)state;
    make_folder("root/own");
    assert_int_equal(symlink("own", rig_path("root/host")), 0);
    struct rig *rig = start_hiding("root/later/key", "root/host/key", NULL);
    uint64_t node = 0, handle = 0;

    assert_int_equal(make_link(rig, 1, "later", "own"), -EACCES);
    assert_int_equal(make_link(rig, 1, "link", "own"), 0);
    struct fuse_link_in second = { .oldnodeid = rig_find(rig, 1, "link") };
    assert_int_equal(rig_send_name(rig, FUSE_LINK, 1, &second, sizeof(second), "later"), -EACCES);
    assert_int_equal(rig_send_name(rig, FUSE_UNLINK, 1, NULL, 0, "host"), -EACCES);
    /* Files lead nowhere. */
    assert_int_equal(rig_create(rig, 1, "later", O_RDWR, 0644, &node, &handle), 0);
    assert_int_equal(rig_send_name(rig, FUSE_UNLINK, 1, NULL, 0, "later"), 0);
    rig_stop(rig);
}

static void the_hosts_links_to_a_folder_are_followed(void **state)
{
    (void)state;
    make_folder("root/dotfiles");
    make_folder("root/dotfiles/config");
    make_folder("root/docker");
    assert_int_equal(symlink("dotfiles/config", rig_path("root/.config")), 0);
    struct rig *rig =
        start_hiding("root/.config/gh", "root/.config/git/credentials", "root/.docker/config.json");
    uint64_t dotfiles = rig_find(rig, 1, "dotfiles"), config = rig_find(rig, dotfiles, "config");

    make_folder("root/dotfiles/config/gh");
    make_folder("root/dotfiles/config/git");
    expect_hidden(rig, config, "gh", NULL);
    expect_hidden(rig, rig_find(rig, config, "git"), "credentials", NULL);
    assert_int_equal(rig_rename(rig, dotfiles, "config", 1, "x", 0), -EXDEV);
    assert_int_equal(rig_rename(rig, config, "git", 1, "x", 0), -EXDEV);
    /* One that is made later, too. */
    assert_int_equal(symlink("docker", rig_path("root/.docker")), 0);
    expect_hidden(rig, rig_find(rig, 1, "docker"), "config.json", NULL);
    assert_int_equal(rig_send_name(rig, FUSE_UNLINK, 1, NULL, 0, ".docker"), -EACCES);
    rig_stop(rig);
}

static void what_a_hidden_link_leads_to_is_hidden(void **state)
{
    (void)state;
    make_folder("root/dotfiles");
    rig_write_file("root/dotfiles/netrc", "secret");
    assert_int_equal(symlink("dotfiles/netrc", rig_path("root/.netrc")), 0);
    struct rig *rig = start_hiding("root/.netrc", NULL, NULL);

    rig_write_file("root/dotfiles/other", "new secret");
    assert_int_equal(rename(rig_path("root/dotfiles/other"), rig_path("root/dotfiles/netrc")), 0);
    expect_hidden(rig, 1, ".netrc", "dotfiles");
    expect_hidden(rig, rig_find(rig, 1, "dotfiles"), "netrc", NULL);
    rig_stop(rig);
}

static void a_folder_that_is_shared_is_there_whatever_is_hidden(void **state)
{
    (void)state;
    rig_write_file("root/file", "content");
    struct rig *rig = start_hiding("", "root", "root/key");

    (void)rig_find(rig, 1, "file");
    rig_write_file("root/key", "secret");
    expect_hidden(rig, 1, "key", "file");
    rig_stop(rig);
}

/* An ordinary user's guest, which can take his rights as it can give them. */
static void a_way_that_the_guest_bars_shows_nothing(void **state)
{
    (void)state;
    struct fuse_setattr_in attr = { .valid = FATTR_MODE, .mode = 0 };

    make_folder("root/a");
    make_folder("root/a/later");
    if (geteuid() == 0) {
        assert_int_equal(chown(rig_scratch, 4242, 4242), 0);
        assert_int_equal(chown(rig_path("root/a"), 4242, 4242), 0);
        assert_int_equal(seteuid(4242), 0);
        assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0); /* for /proc/self/fd */
    }
    struct rig *rig = start_hiding("root/a/b/key", NULL, NULL);
    uint64_t a = rig_find(rig, 1, "a"), later = rig_find(rig, a, "later"), b = 0;
    uint64_t node = 0, handle = 0;
    assert_int_equal(rig_mkdir(rig, a, "b", &b), 0);
    rig_write_file("root/a/b/key", "secret");
    expect_hidden(rig, b, "key", NULL);

    assert_int_equal(rig_send(rig, FUSE_SETATTR, a, &attr, sizeof(attr), NULL, 0), 0);
    assert_int_equal(faccessat(AT_FDCWD, rig_path("root/a/b"), F_OK, AT_EACCESS), -1);
    assert_int_equal(rig_create(rig, b, "other", O_RDWR, 0644, &node, &handle), 0);
    expect_hidden(rig, b, "key", "other");
    expect_hidden(rig, later, "key", NULL);
    rig_stop(rig);
    assert_int_equal(seteuid(getuid()), 0);
    assert_int_equal(chmod(rig_path("root/a"), 0755), 0);
}

/* The number of a file that is removed is soon another's. */
static void another_file_with_the_number_of_a_hidden_one_is_there(void **state)
{
    (void)state;
    struct stat hidden, st = { 0 };
    uint64_t node = 0, handle = 0;
    char name[32];

    rig_write_file("root/key", "secret");
    assert_int_equal(stat(rig_path("root/key"), &hidden), 0);
    struct rig *rig = start_hiding("root/key", NULL, NULL);
    assert_int_equal(unlink(rig_path("root/key")), 0);
    for (int i = 0; i < 100 && st.st_ino != hidden.st_ino; i++) {
        (void)snprintf(name, sizeof(name), "file-%d", i);
        assert_int_equal(rig_create(rig, 1, name, O_RDWR, 0644, &node, &handle), 0);
        (void)snprintf(name, sizeof(name), "root/file-%d", i);
        assert_int_equal(stat(rig_path(name), &st), 0);
    }
    rig_stop(rig);
    if (st.st_ino != hidden.st_ino)
        skip();
}

/* --- several threads --- */

enum { SEEKERS = 2, ROUNDS = 500 };

struct seeker {
    struct rig *rig;
    const atomic_bool *is_over;
    atomic_uint in_folder; /* how often it looked for the name where it would be */
    unsigned found;
};

/* Looks for the name in any way, with message buffers of its own. */
static void *seek(void *arg)
{
    static const char names[][12] = { ".docker", "config.json" };
    struct seeker *seeker = arg;
    struct rig *rig = seeker->rig;
    struct fs_call *call = malloc(sizeof(*call));
    uint8_t *in = malloc(RIG_MESSAGE_MAX), *out = malloc(RIG_MESSAGE_MAX);
    const struct fuse_entry_out *entry = (const void *)(out + sizeof(struct fuse_out_header));

    while (call && in && out && !atomic_load(seeker->is_over)) {
        if (rig_send_to(rig, call, in, out, FUSE_LOOKUP, 1, NULL, 0, names[0], sizeof(names[0])) ||
            entry->nodeid == 0)
            continue;
        uint64_t folder = entry->nodeid;
        for (int i = 0; i < 5; i++) {
            int err = rig_send_to(rig, call, in, out, FUSE_LOOKUP, folder, NULL, 0, names[1],
                                  sizeof(names[1]));
            atomic_fetch_add(&seeker->in_folder, 1);
            seeker->found += !err && entry->nodeid != 0;
        }
        struct fuse_forget_in forget = { .nlookup = 1 };
        (void)rig_send_to(rig, call, in, out, FUSE_FORGET, folder, &forget, sizeof(forget), NULL,
                          0);
    }
    free(out);
    free(in);
    free(call);
    return NULL;
}

/* Threads that do not get to run see nothing, and show nothing: they are waited for. */
static void wait_until_all_look(struct seeker seekers[SEEKERS])
{
    for (int i = 0; i < SEEKERS; i++) {
        unsigned before = atomic_load(&seekers[i].in_folder);

        while (atomic_load(&seekers[i].in_folder) == before)
            (void)sched_yield();
    }
}

static void a_name_is_hidden_at_every_instant(void **state)
{
    (void)state;
    atomic_bool is_over = false;
    struct seeker seekers[SEEKERS];
    pthread_t threads[SEEKERS];
    struct rig *rig = start_hiding("root/.docker/config.json", NULL, NULL);
    const char *folder = rig_path("root/.docker"), *file = rig_path("root/.docker/config.json");

    for (int i = 0; i < SEEKERS; i++) {
        seekers[i] = (struct seeker){ .rig = rig, .is_over = &is_over };
        assert_int_equal(pthread_create(&threads[i], NULL, seek, &seekers[i]), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(mkdir(folder, 0755), 0);
        assert_int_equal(mknod(file, S_IFREG | 0644, 0), 0);
        if (i % 50 == 0)
            wait_until_all_look(seekers);
        assert_int_equal(unlink(file), 0);
        assert_int_equal(rmdir(folder), 0);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < SEEKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < SEEKERS; i++)
        assert_int_equal(seekers[i].found, 0);
    rig_stop(rig);
}

#define FS_TEST(name) cmocka_unit_test_setup_teardown(name, rig_make_scratch, rig_remove_scratch)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FS_TEST(hidden_paths_are_absent_whatever_their_name),
        FS_TEST(a_folder_that_the_host_makes_later_hides_the_name),
        FS_TEST(a_folder_that_the_host_replaces_hides_the_name),
        FS_TEST(a_folder_that_the_guest_makes_hides_the_name),
        FS_TEST(what_leads_to_a_hidden_path_is_not_moved_by_the_guest),
        FS_TEST(no_link_of_the_guests_leads_to_a_hidden_path),
        FS_TEST(the_hosts_links_to_a_folder_are_followed),
        FS_TEST(what_a_hidden_link_leads_to_is_hidden),
        FS_TEST(a_folder_that_is_shared_is_there_whatever_is_hidden),
        FS_TEST(a_way_that_the_guest_bars_shows_nothing),
        FS_TEST(another_file_with_the_number_of_a_hidden_one_is_there),
        FS_TEST(a_name_is_hidden_at_every_instant),
    };

    if (!has_openat2())
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
