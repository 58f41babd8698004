// SPDX-License-Identifier: Apache-2.0
/* Initial RAM disks in a folder: found again by their keys, and never too many or too old. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "boot/file_cache.h"
#include "host/fd.h"
#include "scratch.h"

enum { MAX = 16 };

static char folder[64], place[80];
static const struct file_cache cache = { place, ".cpio", MAX },
                               no_place = { "/proc/nowhere/initramfs", ".cpio", MAX },
                               no_folder = { NULL, ".cpio", MAX };

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/hutch-cache.XXXXXX");
    assert_non_null(scratch_make(folder));
    (void)snprintf(place, sizeof(place), "%s/hutch/initramfs", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(folder);
    return 0;
}

static void store(uint64_t key, const char *text)
{
    AUTO_CLOSE int fd = memfd_create("archive", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
    assert_int_equal(file_cache_store(&cache, key, fd), 0);
}

static int find(uint64_t key)
{
    AUTO_CLOSE int fd = -1;

    return file_cache_find(&cache, key, &fd);
}

static void path_of(uint64_t key, char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/%016jx.cpio", place, (uintmax_t)key);
}

/* Makes one as if it had been used so long ago. */
static void make_old(uint64_t key, time_t age_s)
{
    const struct timespec times[2] = { { time(NULL) - age_s, 0 }, { time(NULL) - age_s, 0 } };
    char path[PATH_MAX];

    path_of(key, path);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void what_is_stored_is_found_by_its_key_alone(void **state)
{
    char text[8] = { 0 };
    AUTO_CLOSE int fd = -1;
    (void)state;
    assert_int_equal(find(1), -ENOENT);

    store(1, "one");
    store(2, "two");

    assert_int_equal(file_cache_find(&cache, 1, &fd), 0);
    assert_int_equal(fd_pread_full(fd, text, 3, 0), 0);
    assert_string_equal(text, "one");
    assert_int_equal(find(3), -ENOENT);
}

static void a_key_depends_on_every_byte_and_their_order(void **state)
{
    uint64_t ab = file_cache_key(file_cache_key(0, "a", 1), "b", 1);
    (void)state;

    assert_true(ab == file_cache_key(0, "ab", 2));
    assert_true(ab != file_cache_key(0, "ba", 2));
    assert_true(file_cache_key(0, "a", 1) != file_cache_key(0, "a\0", 2));
}

static void the_one_that_was_not_used_for_longest_makes_room(void **state)
{
    (void)state;
    for (uint64_t key = 1; key <= MAX; key++) {
        store(key, "x");
        make_old(key, 1000 - (time_t)key);
    }
    assert_int_equal(find(1), 0); /* which uses it */

    store(100, "y");

    assert_int_equal(find(1), 0);
    assert_int_equal(find(2), -ENOENT);
    assert_int_equal(find(3), 0);
    assert_int_equal(find(100), 0);
}

static void old_ones_and_leftovers_go_and_other_files_stay(void **state)
{
    char leftover[PATH_MAX], other[PATH_MAX];
    (void)state;
    store(1, "x");
    make_old(1, (FILE_CACHE_DAYS + 1) * 24 * 3600);
    store(2, "x");
    (void)snprintf(leftover, sizeof(leftover), "%s/.new.abcdef", place);
    (void)snprintf(other, sizeof(other), "%s/notes", place);
    const struct timespec times[2] = { { 1000, 0 }, { 1000, 0 } };
    const char *const names[] = { leftover, other };
    for (size_t i = 0; i < 2; i++) {
        AUTO_CLOSE int fd = open(names[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(futimens(fd, times), 0);
    }

    store(3, "x");

    assert_int_equal(find(1), -ENOENT);
    assert_int_equal(find(2), 0);
    assert_int_equal(access(leftover, F_OK), -1);
    assert_int_equal(access(other, F_OK), 0);
}

static void links_and_empty_files_are_not_taken(void **state)
{
    char path[PATH_MAX], target[PATH_MAX];
    (void)state;
    store(1, "x");
    path_of(1, target);
    path_of(2, path);
    assert_int_equal(symlink(target, path), 0);
    path_of(3, path);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);

    assert_true(find(2) < 0);
    assert_int_equal(find(3), -ENOENT);
}

static void a_folder_that_cannot_be_made_is_told(void **state)
{
    AUTO_CLOSE int fd = memfd_create("archive", MFD_CLOEXEC);
    (void)state;

    assert_int_equal(file_cache_store(&no_place, 1, fd), -ENOENT);
}

struct maker {
    int made, err;
};

static int make(void *ctx, int *ret)
{
    struct maker *maker = ctx;

    maker->made++;
    if (maker->err)
        return maker->err;
    *ret = memfd_create("archive", MFD_CLOEXEC);
    assert_true(*ret >= 0);
    return fd_write_full(*ret, "made", 4);
}

static int get(const struct file_cache *from, uint64_t key, struct maker *maker)
{
    AUTO_CLOSE int fd = -1;
    char text[4];
    int err = file_cache_get(from, key, make, maker, &fd);

    if (!err) {
        assert_int_equal(pread(fd, text, sizeof(text), 0), sizeof(text));
        assert_memory_equal(text, "made", sizeof(text));
    }
    return err;
}

static void makes_what_is_not_there_and_keeps_it(void **state)
{
    struct maker maker = { 0 };
    (void)state;

    assert_int_equal(get(&cache, 7, &maker), 0);
    assert_int_equal(get(&cache, 7, &maker), 0);
    assert_int_equal(maker.made, 1);
    assert_int_equal(get(&cache, 8, &maker), 0);
    assert_int_equal(maker.made, 2);
}

static void makes_it_each_time_without_a_folder(void **state)
{
    struct maker maker = { 0 };
    (void)state;

    assert_int_equal(get(&no_folder, 7, &maker), 0);
    assert_int_equal(get(&no_place, 7, &maker), 0);
    assert_int_equal(maker.made, 2);
}

static void keeps_nothing_that_could_not_be_made(void **state)
{
    struct maker maker = { .err = -EBADMSG };
    (void)state;

    assert_int_equal(get(&cache, 7, &maker), -EBADMSG);
    assert_int_equal(find(7), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_stored_is_found_by_its_key_alone, set_up,
                                        tear_down),
        cmocka_unit_test(a_key_depends_on_every_byte_and_their_order),
        cmocka_unit_test_setup_teardown(the_one_that_was_not_used_for_longest_makes_room, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(old_ones_and_leftovers_go_and_other_files_stay, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(links_and_empty_files_are_not_taken, set_up, tear_down),
        cmocka_unit_test(a_folder_that_cannot_be_made_is_told),
        cmocka_unit_test_setup_teardown(makes_what_is_not_there_and_keeps_it, set_up, tear_down),
        cmocka_unit_test(makes_it_each_time_without_a_folder),
        cmocka_unit_test_setup_teardown(keeps_nothing_that_could_not_be_made, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
