// SPDX-License-Identifier: Apache-2.0
/* Raw mode, and the ways back out of it. */
#include "host/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

static struct termios saved;
static volatile sig_atomic_t raw_fd = -1; /* the terminal to put back, or -1 */

void terminal_restore(void)
{
    int saved_errno = errno;

    if (raw_fd >= 0)
        (void)tcsetattr(raw_fd, TCSANOW, &saved);
    raw_fd = -1;
    errno = saved_errno;
}

static void restore_and_die(int signal_number)
{
    /* SA_RESETHAND made the default action be in force again. */
    terminal_restore();
    (void)raise(signal_number);
}

/* Those that somebody else sends come while a machine is built; one that runs blocks them and reads
 * them. What is ignored (nohup) stays so. */
static void catch_deadly_signals(void)
{
    static const int deadly[] = { SIGSEGV, SIGBUS, SIGILL,  SIGFPE, SIGABRT,
                                  SIGHUP,  SIGINT, SIGQUIT, SIGTERM };
    struct sigaction action = { .sa_handler = restore_and_die, .sa_flags = SA_RESETHAND };
    struct sigaction before;

    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        if (!sigaction(deadly[i], NULL, &before) && before.sa_handler != SIG_IGN)
            (void)sigaction(deadly[i], &action, NULL);
    }
}

int terminal_make_raw(int fd)
{
    struct termios raw;

    if (raw_fd >= 0)
        return 0;
    if (tcgetattr(fd, &saved) < 0)
        return -errno;
    raw = saved;
    cfmakeraw(&raw);
    raw_fd = fd;
    catch_deadly_signals();
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
