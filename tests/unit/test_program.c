// SPDX-License-Identifier: Apache-2.0
/* Other programs, found and run to their end. */
#include "host/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/fd.h"

static int run(const char *const *argv)
{
    const struct program program = { .argv = argv, .input = -1, .output = -1, .errors = -1 };

    return program_run(&program);
}

static void a_program_is_found_where_the_shell_finds_it(void **state)
{
    char *path = program_find("sh");
    (void)state;

    assert_non_null(path);
    assert_int_equal(path[0], '/');
    assert_int_equal(access(path, X_OK), 0);
    free(path);
    assert_null(program_find("no-such-program-as-this"));
    assert_null(program_find("/etc/passwd"));
}

static void its_status_comes_back(void **state)
{
    static const char *const argv[] = { "sh", "-c", "exit 7", NULL };
    (void)state;

    assert_int_equal(run(argv), 7);
}

static void a_signal_counts_from_128(void **state)
{
    static const char *const argv[] = { "sh", "-c", "kill -TERM $$", NULL };
    (void)state;

    assert_int_equal(run(argv), 128 + SIGTERM);
}

static void a_program_that_is_not_there_is_no_status(void **state)
{
    static const char *const argv[] = { "no-such-program-as-this", NULL };
    (void)state;

    assert_int_equal(run(argv), -ENOENT);
}

static void output_is_cut_at_the_most_and_ended(void **state)
{
    static const char *const argv[] = { "sh", "-c", "printf 0123456789; echo no >&2", NULL };
    char *text = NULL;
    (void)state;

    assert_int_equal(program_output(argv, 4, &text), 0);
    assert_string_equal(text, "0123");
    free(text);
}

static void arguments_are_not_the_shells(void **state)
{
    static const char *const argv[] = { "printf", "%s", "$HOME;*", NULL };
    char *text = NULL;
    (void)state;

    assert_int_equal(program_output(argv, 99, &text), 0);
    assert_string_equal(text, "$HOME;*");
    free(text);
}

static void it_reads_what_it_is_given_and_runs_where_it_should(void **state)
{
    static const char *const argv[] = { "sh", "-c", "cat; pwd", NULL };
    char text[20] = "";
    AUTO_CLOSE int input = memfd_create("input", MFD_CLOEXEC);
    AUTO_CLOSE int output = memfd_create("output", MFD_CLOEXEC);
    const struct program program = {
        .argv = argv, .folder = "/", .input = input, .output = output, .errors = -1
    };
    (void)state;

    assert_int_equal(fd_write_full(input, "hello ", 6), 0);
    assert_int_equal(lseek(input, 0, SEEK_SET), 0);
    assert_int_equal(program_run(&program), 0);
    assert_int_equal(pread(output, text, sizeof(text) - 1, 0), 8);
    assert_string_equal(text, "hello /\n");
}

static void a_file_that_grows_too_long_ends_it(void **state)
{
    static const char *const argv[] = { "head", "-c", "100000", "/dev/zero", NULL };
    AUTO_CLOSE int output = memfd_create("output", MFD_CLOEXEC);
    const struct program program = {
        .argv = argv, .input = -1, .output = output, .errors = -1, .max_file_size = 5000
    };
    struct stat st;
    (void)state;

    assert_int_not_equal(program_run(&program), 0);
    assert_int_equal(fstat(output, &st), 0);
    assert_in_range(st.st_size, 0, 5000);
}

static void our_descriptors_stay_ours(void **state)
{
    static const char *const argv[] = { "test", "-e", "/proc/self/fd/100", NULL };
    AUTO_CLOSE int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
    (void)state;

    assert_int_equal(fd, 100);
    assert_int_equal(run(argv), 1);
}

static void a_signal_that_we_hold_back_ends_it_and_is_ours_then(void **state)
{
    static const char *const argv[] = { "sleep", "1000", NULL };
    sigset_t signals, before;
    struct program program = {
        .argv = argv, .input = -1, .output = -1, .errors = -1, .ending_signals = &signals
    };
    (void)state;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    assert_int_equal(sigprocmask(SIG_BLOCK, &signals, &before), 0);
    assert_int_equal(raise(SIGUSR1), 0);

    assert_int_equal(program_run(&program), -EINTR);

    assert_int_equal(sigtimedwait(&signals, NULL, &(struct timespec){ 0 }), SIGUSR1);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_is_found_where_the_shell_finds_it),
        cmocka_unit_test(its_status_comes_back),
        cmocka_unit_test(a_signal_counts_from_128),
        cmocka_unit_test(a_program_that_is_not_there_is_no_status),
        cmocka_unit_test(output_is_cut_at_the_most_and_ended),
        cmocka_unit_test(arguments_are_not_the_shells),
        cmocka_unit_test(it_reads_what_it_is_given_and_runs_where_it_should),
        cmocka_unit_test(a_file_that_grows_too_long_ends_it),
        cmocka_unit_test(our_descriptors_stay_ours),
        cmocka_unit_test(a_signal_that_we_hold_back_ends_it_and_is_ours_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
