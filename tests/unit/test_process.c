// SPDX-License-Identifier: Apache-2.0
/* Helper programs: shells that do as they are told. */
#include "host/process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/loop.h"

struct fixture {
    int near, far;
    struct process *process;
    struct loop *loop;
    unsigned ends;
};

static void start_shell(struct fixture *fixture, const char *script)
{
    const char *argv[] = { "sh", "-c", script, NULL };
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    fixture->near = ends[0];
    assert_int_equal(process_start(argv, ends[1], &fixture->process), 0);
    close(ends[1]);
}

static int make(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){ .near = -1 };
    *state = &fixture;
    return 0;
}

static int drop(void **state)
{
    struct fixture *fixture = *state;

    fd_close(&fixture->near);
    process_destroy(fixture->process);
    loop_destroy(fixture->loop);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child, no zombie */
    assert_int_equal(errno, ECHILD);
    return 0;
}

static void note_end(void *ctx)
{
    struct fixture *fixture = ctx;

    fixture->ends++;
    loop_stop(fixture->loop);
}

static void says_that_there_is_no_such_program(void **state)
{
    const char *argv[] = { "no-such-program-anywhere", NULL };
    struct process *process = NULL;
    (void)state;

    assert_int_equal(process_start(argv, STDIN_FILENO, &process), -ENOENT);
    assert_null(process);
}

static void the_helper_has_our_descriptor_and_no_terminal(void **state)
{
    struct fixture *fixture = *state;
    char bytes[16] = "";

    start_shell(fixture, "read line <&3; [ ! -s /dev/stdin ] && echo \"$line\" >&3; echo lost");
    assert_int_equal(write(fixture->near, "hello\n", 6), 6);
    assert_int_equal(read(fixture->near, bytes, sizeof(bytes)), 6);
    assert_string_equal(bytes, "hello\n");
}

static void the_helper_has_a_process_group_of_its_own(void **state)
{
    struct fixture *fixture = *state;
    char bytes[32] = "";
    long pid, group;

    start_shell(fixture, "echo $$ $(ps -o pgid= -p $$) >&3");
    assert_true(read(fixture->near, bytes, sizeof(bytes) - 1) > 0);
    assert_int_equal(sscanf(bytes, "%ld %ld", &pid, &group), 2);
    assert_int_equal(pid, group);
}

static void tells_how_it_ended_with_its_last_words(void **state)
{
    struct fixture *fixture = *state;

    start_shell(fixture, "echo first >&2; echo; printf 'no\\trouters\\n\\n' >&2; exit 3");
    assert_true(process_wait(fixture->process, 5000));
    assert_string_equal(process_obituary(fixture->process), "status 3: no?routers");
}

static void tells_which_signal_ended_it(void **state)
{
    struct fixture *fixture = *state;

    start_shell(fixture, "echo hello >&2; kill -9 $$");
    assert_true(process_wait(fixture->process, 5000));
    assert_string_equal(process_obituary(fixture->process), "signal 9");
}

static void keeps_no_more_of_a_line_than_fits(void **state)
{
    struct fixture *fixture = *state;

    start_shell(fixture, "printf '%05000d' 7 >&2");
    assert_true(process_wait(fixture->process, 5000));
    assert_in_range(strlen(process_obituary(fixture->process)), 100, 220);
}

static void the_loop_tells_its_end_once(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(loop_create(&fixture->loop), 0);
    start_shell(fixture, "read line <&3; echo done >&2");
    assert_int_equal(process_watch(fixture->process, fixture->loop, NULL, note_end, fixture), 0);
    assert_false(process_wait(fixture->process, 0));
    assert_int_equal(write(fixture->near, "\n", 1), 1);
    assert_int_equal(loop_run(fixture->loop), 0);

    assert_int_equal(fixture->ends, 1);
    assert_string_equal(process_obituary(fixture->process), "status 0: done");
    process_destroy(fixture->process);
    fixture->process = NULL;
}

static void the_end_is_known_where_nobody_keeps_its_status(void **state)
{
    struct fixture *fixture = *state;

    (void)signal(SIGCHLD, SIG_IGN);
    start_shell(fixture, "sleep 0.2; exit 3"); /* not gone before there is a descriptor of it */
    bool ended = process_wait(fixture->process, 5000);
    (void)signal(SIGCHLD, SIG_DFL);
    assert_true(ended);
}

static void a_talkative_helper_does_not_get_stuck(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(loop_create(&fixture->loop), 0);
    start_shell(fixture, "i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); "
                         "echo \"warning $i and some more words to fill the pipe\" >&2; done");
    assert_int_equal(process_watch(fixture->process, fixture->loop, NULL, note_end, fixture), 0);
    assert_int_equal(loop_run(fixture->loop), 0);

    assert_non_null(strstr(process_obituary(fixture->process), "status 0: warning 5000"));
    process_destroy(fixture->process);
    fixture->process = NULL;
}

static void destroying_ends_a_stubborn_helper(void **state)
{
    struct fixture *fixture = *state;

    start_shell(fixture, "trap '' TERM INT HUP; while :; do sleep 1; done");
    assert_false(process_wait(fixture->process, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(says_that_there_is_no_such_program, make, drop),
        cmocka_unit_test_setup_teardown(the_helper_has_our_descriptor_and_no_terminal, make, drop),
        cmocka_unit_test_setup_teardown(the_helper_has_a_process_group_of_its_own, make, drop),
        cmocka_unit_test_setup_teardown(tells_how_it_ended_with_its_last_words, make, drop),
        cmocka_unit_test_setup_teardown(tells_which_signal_ended_it, make, drop),
        cmocka_unit_test_setup_teardown(keeps_no_more_of_a_line_than_fits, make, drop),
        cmocka_unit_test_setup_teardown(the_loop_tells_its_end_once, make, drop),
        cmocka_unit_test_setup_teardown(the_end_is_known_where_nobody_keeps_its_status, make, drop),
        cmocka_unit_test_setup_teardown(a_talkative_helper_does_not_get_stuck, make, drop),
        cmocka_unit_test_setup_teardown(destroying_ends_a_stubborn_helper, make, drop),
    };

    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
