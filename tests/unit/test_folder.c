// SPDX-License-Identifier: Apache-2.0
#include "host/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"

static int set_up(void **state)
{
    static char path[] = "/tmp/hutch-folder.XXXXXX";

    *state = path;
    return scratch_make(path) && !chdir(path) ? 0 : -1;
}

static int tear_down(void **state)
{
    scratch_remove(*state);
    return 0;
}

static unsigned mode_of(const char *path)
{
    struct stat st;

    return stat(path, &st) ? 0 : st.st_mode;
}

static void makes_all_that_is_missing(void **state)
{
    char path[64];

    assert_int_equal(mkdir("there", 0755), 0);
    (void)snprintf(path, sizeof(path), "%s/there/a//b", (const char *)*state);
    assert_int_equal(folder_make(path, 0700), 0);
    assert_int_equal(folder_make("x/y", 0700), 0);

    assert_int_equal(mode_of("there"), S_IFDIR | 0755);
    assert_int_equal(mode_of("there/a"), S_IFDIR | 0700);
    assert_int_equal(mode_of("there/a/b"), S_IFDIR | 0700);
    assert_int_equal(mode_of("x/y"), S_IFDIR | 0700);
}

static void what_is_there_is_no_failure(void **state)
{
    (void)state;

    assert_int_equal(folder_make("twice/made", 0700), 0);
    assert_int_equal(folder_make("twice/made", 0700), 0);
    assert_int_equal(folder_make("/", 0700), 0);
}

static void a_file_in_the_way_is_told(void **state)
{
    (void)state;
    int fd = open("file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);

    assert_int_equal(folder_make("file/in/it", 0700), -ENOTDIR);
    assert_int_equal(folder_make("", 0700), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_all_that_is_missing),
        cmocka_unit_test(what_is_there_is_no_failure),
        cmocka_unit_test(a_file_in_the_way_is_told),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
