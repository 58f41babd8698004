// SPDX-License-Identifier: Apache-2.0
/* Raw mode, and the ways back out of it. */
#include "host/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "host/signals.h"

static struct termios saved, raw;
static volatile sig_atomic_t raw_fd = -1; /* the terminal to put back, or -1 */

bool terminal_is_ours(int fd)
{
    pid_t group = tcgetpgrp(fd);

    /* Of a terminal that is not our controlling one nobody says who has it, and nobody is stopped
     * for touching it. */
    return isatty(fd) && (group == getpgrp() || (group < 0 && errno == ENOTTY));
}

/* In the background the terminal's mode is not ours to change: we would be stopped. */
static void set_mode(const struct termios *mode)
{
    int saved_errno = errno;

    if (raw_fd >= 0 && terminal_is_ours(raw_fd))
        (void)tcsetattr(raw_fd, TCSANOW, mode);
    errno = saved_errno;
}

void terminal_restore(void)
{
    set_mode(&saved);
    raw_fd = -1;
}

static void restore_and_die(int signal_number)
{
    /* SA_RESETHAND made the default action be in force again. */
    terminal_restore();
    (void)raise(signal_number);
}

static void restore_and_stop(int signal_number);

static void catch_stop(void)
{
    /* The default action, for raise(), at once. */
    struct sigaction action = { .sa_handler = restore_and_stop,
                                .sa_flags = SA_RESETHAND | SA_NODEFER | SA_RESTART };

    (void)sigaction(SIGTSTP, &action, NULL);
}

/* SIGCONT also comes after SIGSTOP, which nobody can catch. */
static void continue_raw(int signal_number)
{
    (void)signal_number;
    set_mode(&raw);
}

static void restore_and_stop(int signal_number)
{
    set_mode(&saved);
    (void)raise(signal_number);
    /* Going on, or not stopped at all: nobody would be there to let us go on. */
    catch_stop();
    set_mode(&raw);
}

/* All that end a process, but for SIGKILL and the real-time ones. What somebody else sends comes
 * here while a machine is built; one that runs blocks some of these and reads them. What is ignored
 * (nohup) stays so. */
static void catch_signals(void)
{
    static const int deadly[] = { SIGHUP,  SIGINT,  SIGQUIT,   SIGILL,  SIGTRAP, SIGABRT, SIGBUS,
                                  SIGFPE,  SIGUSR1, SIGSEGV,   SIGUSR2, SIGPIPE, SIGALRM, SIGTERM,
                                  SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGPOLL, SIGPWR,  SIGSYS };
    struct sigaction death = { .sa_handler = restore_and_die, .sa_flags = SA_RESETHAND };
    struct sigaction life = { .sa_handler = continue_raw, .sa_flags = SA_RESTART };

    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        if (!signals_is_ignored(deadly[i]))
            (void)sigaction(deadly[i], &death, NULL);
    }
    if (!signals_is_ignored(SIGTSTP))
        catch_stop();
    (void)sigaction(SIGCONT, &life, NULL);
}

int terminal_make_raw(int fd)
{
    if (raw_fd >= 0)
        return 0;
    if (tcgetattr(fd, &saved) < 0)
        return -errno;
    raw = saved;
    cfmakeraw(&raw);
    raw_fd = fd;
    catch_signals();
    (void)atexit(terminal_restore);
    return tcsetattr(fd, TCSANOW, &raw) < 0 ? -errno : 0;
}

bool terminal_size(int fd, uint16_t *columns, uint16_t *rows)
{
    struct winsize size;

    if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0)
        return false;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return true;
}
