// SPDX-License-Identifier: Apache-2.0
/* Standard descriptors that are closed, in children. */
#include "host/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Runs @check in a child; it returns 0 if all is well. */
static int in_child(int (*check)(void))
{
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(check());
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int open_with_all_closed(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        (void)close(fd);
    if (fd_open_standard())
        return 1;

    int next = open("/dev/null", O_RDWR | O_CLOEXEC);
    return next > STDERR_FILENO && fcntl(STDIN_FILENO, F_GETFD) == 0 ? 0 : 2;
}

static int write_with_stdout_closed(void)
{
    (void)close(STDOUT_FILENO);
    if (fd_open_standard())
        return 1;
    return write(STDOUT_FILENO, "x", 1) < 0 && errno == EBADF ? 0 : 2;
}

static int count_with_none_closed(void)
{
    int before = dup(STDIN_FILENO);

    (void)close(before);
    if (fd_open_standard())
        return 1;
    return dup(STDIN_FILENO) == before ? 0 : 2;
}

static int open_nothing_with_none_closed(void)
{
    const struct rlimit no_more = { .rlim_cur = STDERR_FILENO + 1, .rlim_max = STDERR_FILENO + 1 };

    if (setrlimit(RLIMIT_NOFILE, &no_more) || open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        return 1;
    return fd_open_standard() ? 2 : 0;
}

static void no_file_gets_the_number_of_a_closed_standard_descriptor(void **state)
{
    (void)state;
    assert_int_equal(in_child(open_with_all_closed), 0);
}

static void writing_to_a_closed_one_still_fails(void **state)
{
    (void)state;
    assert_int_equal(in_child(write_with_stdout_closed), 0);
}

static void open_ones_are_left_alone(void **state)
{
    (void)state;
    assert_int_equal(in_child(count_with_none_closed), 0);
}

static void where_none_is_closed_no_dev_null_is_needed(void **state)
{
    (void)state;
    assert_int_equal(in_child(open_nothing_with_none_closed), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_file_gets_the_number_of_a_closed_standard_descriptor),
        cmocka_unit_test(writing_to_a_closed_one_still_fails),
        cmocka_unit_test(open_ones_are_left_alone),
        cmocka_unit_test(where_none_is_closed_no_dev_null_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
