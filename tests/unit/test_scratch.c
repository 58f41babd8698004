// SPDX-License-Identifier: Apache-2.0
/* The tests' own folders: a child that is ended leaves none. */
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

/* Runs a child that makes a folder with something in it, tells its name and does as @end says.
 * Returns its wait status; the folder's name goes to @path. */
static int run_child(void (*end)(void), char *path, size_t size)
{
    int ends[2], status;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();

    if (child == 0) {
        char folder[] = "/tmp/hutch-scratch-XXXXXX", below[64];
        if (!scratch_make(folder))
            _exit(99);
        (void)snprintf(below, sizeof(below), "%s/folder", folder);
        (void)mkdir(below, 0700);
        (void)write(ends[1], folder, sizeof(folder));
        end();
        _exit(98);
    }
    assert_true(read(ends[0], path, size) > 0);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void end_by_signal(void)
{
    (void)raise(SIGTERM);
}

/* A helper of the test's is ended, not the test. */
static void end_childs_child(void)
{
    pid_t helper = fork();

    if (helper == 0)
        (void)raise(SIGTERM);
    (void)waitpid(helper, NULL, 0);
    _exit(0);
}

static void a_signal_removes_it_and_still_kills(void **state)
{
    char path[64];
    (void)state;

    int status = run_child(end_by_signal, path, sizeof(path));

    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_int_equal(access(path, F_OK), -1);
}

static void the_end_of_a_child_removes_nothing(void **state)
{
    char path[64];
    (void)state;

    int status = run_child(end_childs_child, path, sizeof(path));

    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(access(path, F_OK), 0);
    scratch_remove(path);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_removes_it_and_still_kills),
        cmocka_unit_test(the_end_of_a_child_removes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
