// SPDX-License-Identifier: Apache-2.0
/* The terminal is put back whatever ends the process: children with a terminal of their own. */
#include "host/terminal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "host/fd.h"
#include "skip.h"

/* A pseudo-terminal, and its mode before anybody touched it. */
struct pty {
    int controller, terminal;
    struct termios before;
};

static int set_up(void **state)
{
    struct pty *pty = calloc(1, sizeof(*pty));

    pty->controller = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (pty->controller < 0 || grantpt(pty->controller) || unlockpt(pty->controller))
        return -1;
    pty->terminal = open(ptsname(pty->controller), O_RDWR | O_NOCTTY | O_CLOEXEC);
    *state = pty;
    return tcgetattr(pty->terminal, &pty->before);
}

static int tear_down(void **state)
{
    struct pty *pty = *state;

    fd_close(&pty->terminal);
    fd_close(&pty->controller);
    free(pty);
    return 0;
}

static bool is_raw(const struct pty *pty)
{
    struct termios now;

    return !tcgetattr(pty->terminal, &now) && !(now.c_lflag & (ICANON | ECHO | ISIG));
}

/* Runs @end in a child that made the terminal raw and found it so. Returns its wait status. */
static int end_child(struct pty *pty, void (*end)(void))
{
    pid_t child = fork();

    if (child == 0) {
        struct rlimit no_core = { 0, 0 };

        (void)setrlimit(RLIMIT_CORE, &no_core);
        if (terminal_make_raw(pty->terminal))
            _exit(99);
        if (!is_raw(pty))
            _exit(98);
        end();
        _exit(97);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void assert_put_back(struct pty *pty)
{
    struct termios after;

    assert_int_equal(tcgetattr(pty->terminal, &after), 0);
    assert_int_equal(after.c_lflag, pty->before.c_lflag);
    assert_int_equal(after.c_iflag, pty->before.c_iflag);
    assert_int_equal(after.c_oflag, pty->before.c_oflag);
}

static void end_by_exit(void)
{
    exit(3);
}

static void end_by_restoring(void)
{
    terminal_restore();
    _exit(4);
}

static void end_by_fault(void)
{
    (void)raise(SIGSEGV);
}

static void end_by_abort(void)
{
    abort();
}

static void end_by_request(void)
{
    (void)raise(SIGTERM);
}

static int ending_signal;

static void end_by_signal(void)
{
    (void)raise(ending_signal);
}

/* As under nohup. */
static void end_although_hung_up(void)
{
    (void)raise(SIGHUP);
    exit(5);
}

static void is_put_back_by_exit(void **state)
{
    int status = end_child(*state, end_by_exit);

    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    assert_put_back(*state);
}

static void is_put_back_on_request(void **state)
{
    int status = end_child(*state, end_by_restoring);

    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 4);
    assert_put_back(*state);
}

static void is_put_back_by_a_fault_which_still_kills(void **state)
{
    int status = end_child(*state, end_by_fault);

    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_put_back(*state);
}

static void is_put_back_by_abort(void **state)
{
    int status = end_child(*state, end_by_abort);

    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_put_back(*state);
}

static void is_put_back_by_a_request_to_end_which_still_kills(void **state)
{
    int status = end_child(*state, end_by_request);

    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_put_back(*state);
}

static void is_put_back_by_any_signal_that_ends(void **state)
{
    static const int signals[] = { SIGHUP,  SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE,
                                   SIGALRM, SIGXCPU, SIGPROF, SIGPWR,  SIGSYS };

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        ending_signal = signals[i];
        int status = end_child(*state, end_by_signal);

        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signals[i]);
        assert_put_back(*state);
    }
}

static void a_signal_that_was_ignored_stays_ignored(void **state)
{
    (void)signal(SIGHUP, SIG_IGN); /* the child inherits it */
    int status = end_child(*state, end_although_hung_up);
    (void)signal(SIGHUP, SIG_DFL);

    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}

/* A child that made the terminal raw and waits, in a process group of its own: in one that nobody
 * watches, SIGTSTP would stop nothing. */
static pid_t start_waiting_child(struct pty *pty)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();

    if (child == 0) {
        (void)setpgid(0, 0);
        if (terminal_make_raw(pty->terminal))
            _exit(99);
        (void)write(ends[1], "", 1);
        for (;;)
            (void)pause();
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    fd_close(&ends[0]);
    fd_close(&ends[1]);
    return child;
}

static void send_and_wait(pid_t child, int signal_number, int options)
{
    int status;

    assert_int_equal(kill(child, signal_number), 0);
    assert_int_equal(waitpid(child, &status, options), child);
}

static void wait_until_raw(const struct pty *pty)
{
    for (int i = 0; i < 1000 && !is_raw(pty); i++)
        (void)usleep(10000);
    assert_true(is_raw(pty));
}

/* ThreadSanitizer runs a signal's handler when it suits itself, so nothing stops when it is told.
 */
static bool signals_are_held_back(void)
{
#if defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
    return __has_feature(thread_sanitizer);
#else
    return false;
#endif
}

static void is_put_back_while_stopped_and_raw_when_going_on(void **state)
{
    struct pty *pty = *state;

    if (signals_are_held_back())
        skip_because("ThreadSanitizer holds signals back");
    pid_t child = start_waiting_child(pty);

    for (int i = 0; i < 3; i++) {
        send_and_wait(child, SIGTSTP, WUNTRACED);
        assert_put_back(pty);
        assert_int_equal(kill(child, SIGCONT), 0);
        wait_until_raw(pty);
    }
    send_and_wait(child, SIGTERM, 0);
    assert_put_back(pty);
}

/* A shell puts its own mode in force when a job was stopped that could not do so itself. */
static void is_raw_again_after_a_stop_that_came_without_a_warning(void **state)
{
    struct pty *pty = *state;
    pid_t child = start_waiting_child(pty);

    send_and_wait(child, SIGSTOP, WUNTRACED);
    assert_int_equal(tcsetattr(pty->terminal, TCSANOW, &pty->before), 0);
    assert_int_equal(kill(child, SIGCONT), 0);
    wait_until_raw(pty);
    send_and_wait(child, SIGKILL, 0);
}

static void a_terminal_that_does_not_control_us_is_ours(void **state)
{
    struct pty *pty = *state;

    assert_true(terminal_is_ours(pty->terminal));
}

static void a_pipe_is_no_terminal(void **state)
{
    int ends[2];
    uint16_t columns, rows;
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);

    assert_true(terminal_make_raw(ends[0]) < 0);
    assert_false(terminal_is_ours(ends[0]));
    assert_false(terminal_size(ends[0], &columns, &rows));

    fd_close(&ends[0]);
    fd_close(&ends[1]);
}

int main(void)
{
#define TERMINAL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TERMINAL_TEST(is_put_back_by_exit),
        TERMINAL_TEST(is_put_back_on_request),
        TERMINAL_TEST(is_put_back_by_a_fault_which_still_kills),
        TERMINAL_TEST(is_put_back_by_abort),
        TERMINAL_TEST(is_put_back_by_any_signal_that_ends),
        TERMINAL_TEST(is_put_back_by_a_request_to_end_which_still_kills),
        TERMINAL_TEST(a_signal_that_was_ignored_stays_ignored),
        TERMINAL_TEST(is_put_back_while_stopped_and_raw_when_going_on),
        TERMINAL_TEST(is_raw_again_after_a_stop_that_came_without_a_warning),
        TERMINAL_TEST(a_terminal_that_does_not_control_us_is_ours),
        cmocka_unit_test(a_pipe_is_no_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
