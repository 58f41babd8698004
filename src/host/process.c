// SPDX-License-Identifier: Apache-2.0
/* Starting, watching and ending a helper.
 *
 * posix_spawn() rather than fork(): a fork would copy the page tables of the guest's RAM. A pidfd
 * tells the end without signals. Where SIGCHLD is ignored, the kernel keeps no status for us: then
 * an end is known, and how it was is not. */
#include "host/process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/fd.h"
#include "host/loop.h"
#include "host/program.h"

enum { LINE_MAX_LEN = 200, END_TIMEOUT_MS = 1000 };

struct process {
    pid_t pid; /* 0 before the start and after the end */
    int pid_fd;
    int stderr_fd;
    int wait_status; /* once it has ended */
    struct loop_source *pid_source, *stderr_source;
    void (*ended)(void *ctx);
    void *ctx;
    /* The line of standard error that is being read, and the last whole one. */
    char line[LINE_MAX_LEN], last_line[LINE_MAX_LEN];
    size_t line_len;
    char obituary[LINE_MAX_LEN + 32];
};

/* --- starting --- */

/* The descriptors of the helper: null, null, our pipe, the caller's. The latter two are above
 * PROCESS_FD on our side, so no dup2() overwrites the next one's source. */
static int fill_actions(posix_spawn_file_actions_t *actions, int stderr_fd, int fd)
{
    int err = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

    if (!err)
        err = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (!err)
        err = posix_spawn_file_actions_adddup2(actions, stderr_fd, STDERR_FILENO);
    if (!err)
        err = posix_spawn_file_actions_adddup2(actions, fd, PROCESS_FD);
    return -err;
}

/* Its own process group, no signal blocked, SIGPIPE and the terminal's as usual. */
static int fill_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, defaults;
    const short flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;

    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    int err = posix_spawnattr_setpgroup(attributes, 0);

    if (!err)
        err = posix_spawnattr_setsigmask(attributes, &none);
    if (!err)
        err = posix_spawnattr_setsigdefault(attributes, &defaults);
    if (!err)
        err = posix_spawnattr_setflags(attributes, flags);
    return -err;
}

static int spawn(const char *path, const char *const *argv, int stderr_fd, int fd, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int err = -posix_spawn_file_actions_init(&actions);

    if (err)
        return err;
    err = -posix_spawnattr_init(&attributes);
    if (err) {
        (void)posix_spawn_file_actions_destroy(&actions);
        return err;
    }
    err = fill_actions(&actions, stderr_fd, fd);
    if (!err)
        err = fill_attributes(&attributes);
    if (!err)
        err = -posix_spawn(pid, path, &actions, &attributes, (char *const *)argv, environ);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return err;
}

/* A pipe whose ends are above PROCESS_FD; only the reader's is non-blocking. */
static int open_pipe(int *reader, int *writer)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    AUTO_CLOSE int low_reader = ends[0];
    AUTO_CLOSE int low_writer = ends[1];

    *reader = fcntl(low_reader, F_DUPFD_CLOEXEC, PROCESS_FD + 1);
    *writer = *reader < 0 ? -1 : fcntl(low_writer, F_DUPFD_CLOEXEC, PROCESS_FD + 1);
    if (*writer < 0)
        return -errno;
    return fd_set_nonblocking(*reader, true);
}

static int start(struct process *process, const char *const *argv, int fd)
{
    AUTO_CLOSE int writer = -1;
    AUTO_CLOSE int high_fd = fcntl(fd, F_DUPFD_CLOEXEC, PROCESS_FD + 1);

    if (high_fd < 0)
        return -errno;
    AUTO_FREE char *path = program_find(argv[0]);
    if (!path)
        return -ENOENT;
    int err = open_pipe(&process->stderr_fd, &writer);

    if (!err)
        err = spawn(path, argv, writer, high_fd, &process->pid);
    if (err)
        return err;
    process->pid_fd = (int)syscall(SYS_pidfd_open, process->pid, 0); /* close-on-exec by itself */
    return process->pid_fd < 0 ? -errno : 0;
}

int process_start(const char *const *argv, int fd, struct process **ret)
{
    struct process *process = calloc(1, sizeof(*process));

    if (!process)
        return -ENOMEM;
    process->pid_fd = process->stderr_fd = -1;
    int err = start(process, argv, fd);

    if (err) {
        process_destroy(process);
        return err;
    }
    *ret = process;
    return 0;
}

/* --- watching --- */

static void take_character(struct process *process, char c)
{
    if (c != '\n') {
        if (!isprint((unsigned char)c))
            c = '?';
        if (process->line_len < sizeof(process->line) - 1)
            process->line[process->line_len++] = c;
        return;
    }
    process->line[process->line_len] = '\0';
    if (process->line_len > 0)
        (void)snprintf(process->last_line, sizeof(process->last_line), "%s", process->line);
    process->line_len = 0;
}

/* Takes what there is of standard error. Returns whether more can come. */
static bool drain_stderr(struct process *process)
{
    char chunk[512];
    ssize_t len = read(process->stderr_fd, chunk, sizeof(chunk));

    for (ssize_t i = 0; i < len; i++)
        take_character(process, chunk[i]);
    return len > 0 || (len < 0 && (errno == EAGAIN || errno == EINTR));
}

static void on_stderr(void *ctx, unsigned events)
{
    struct process *process = ctx;
    (void)events;

    if (!drain_stderr(process)) {
        loop_remove(process->stderr_source);
        process->stderr_source = NULL;
    }
}

static void on_end(void *ctx, unsigned events)
{
    struct process *process = ctx;
    (void)events;

    if (!process_wait(process, 0))
        return;
    loop_remove(process->pid_source);
    process->pid_source = NULL;
    process->ended(process->ctx);
}

int process_watch(struct process *process, struct loop *loop, pthread_mutex_t *guard,
                  void (*ended)(void *ctx), void *ctx)
{
    process->ended = ended;
    process->ctx = ctx;
    int err = loop_add_fd(loop, process->stderr_fd, LOOP_READABLE, guard, on_stderr, process,
                          &process->stderr_source);

    if (!err)
        err = loop_add_fd(loop, process->pid_fd, LOOP_READABLE, guard, on_end, process,
                          &process->pid_source);
    return err;
}

void process_unwatch(struct process *process)
{
    loop_remove(process->pid_source);
    loop_remove(process->stderr_source);
    process->pid_source = process->stderr_source = NULL;
}

bool process_wait(struct process *process, int timeout_ms)
{
    struct pollfd poll_fd = { .fd = process->pid_fd, .events = POLLIN };

    if (process->pid == 0)
        return true;
    if (poll(&poll_fd, 1, timeout_ms) <= 0)
        return false;
    pid_t ended = waitpid(process->pid, &process->wait_status, WNOHANG);
    if (ended == process->pid || (ended < 0 && errno == ECHILD))
        process->pid = 0;
    return process->pid == 0;
}

/* At most what a pipe holds: descendants of the helper could write on. */
static void drain_last_words(struct process *process)
{
    for (int chunks = 0; chunks < 128; chunks++) {
        struct pollfd poll_fd = { .fd = process->stderr_fd, .events = POLLIN };

        if (poll(&poll_fd, 1, 0) <= 0 || !drain_stderr(process))
            break;
    }
    take_character(process, '\n');
}

/* Who was killed has not said why. */
const char *process_obituary(struct process *process)
{
    int status = process->wait_status;

    drain_last_words(process);
    if (WIFSIGNALED(status))
        (void)snprintf(process->obituary, sizeof(process->obituary), "signal %d", WTERMSIG(status));
    else
        (void)snprintf(process->obituary, sizeof(process->obituary), "status %d%s%s",
                       WEXITSTATUS(status), process->last_line[0] ? ": " : "", process->last_line);
    return process->obituary;
}

/* --- ending --- */

void process_destroy(struct process *process)
{
    if (!process)
        return;
    process_unwatch(process);
    if (process->pid > 0) {
        /* One that runs as another user cannot be killed; it ends for lack of its descriptor. */
        (void)kill(process->pid, SIGKILL);
        if (process->pid_fd < 0)
            (void)waitpid(process->pid, &process->wait_status, 0);
        else
            (void)process_wait(process, END_TIMEOUT_MS);
    }
    fd_close(&process->pid_fd);
    fd_close(&process->stderr_fd);
    free(process);
}
