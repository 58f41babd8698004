// SPDX-License-Identifier: Apache-2.0
/* Other programs, found as a shell would and run without one. */
#include "host/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/fd.h"

static char *find_in(const char *folders, const char *name)
{
    for (const char *at = folders;; at++) {
        size_t len = strcspn(at, ":");
        char path[PATH_MAX];
        struct stat st;
        int used = snprintf(path, sizeof(path), "%.*s/%s", (int)len, at, name);

        if (len && used < (int)sizeof(path) && !access(path, X_OK) && !stat(path, &st) &&
            S_ISREG(st.st_mode))
            return strdup(path);
        at += len;
        if (!*at)
            return NULL;
    }
}

char *program_find(const char *name)
{
    const char *folders = getenv("PATH");
    char *found = NULL;

    if (strchr(name, '/'))
        return access(name, X_OK) ? NULL : strdup(name);
    if (folders && *folders)
        found = find_in(folders, name);
    return found ? found : find_in("/usr/bin:/bin:/usr/sbin:/sbin", name);
}

/* In the child: only async-signal-safe calls. */
static int set_up_child(const struct program *program)
{
    const int fds[] = { program->input, program->output, program->errors };
    const rlim_t max = program->max_file_size;
    struct rlimit limit;
    sigset_t none;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), copies[3];

    (void)sigemptyset(&none);
    if (null < 0 || sigprocmask(SIG_SETMASK, &none, NULL))
        return -errno;
    /* Out of the way of 0, 1 and 2 first: one of these may be in the place of another. */
    for (int i = 0; i < 3; i++) {
        copies[i] = fcntl(fds[i] < 0 ? null : fds[i], F_DUPFD_CLOEXEC, 3);
        if (copies[i] < 0)
            return -errno;
    }
    for (int i = 0; i < 3; i++) {
        if (dup2(copies[i], i) < 0)
            return -errno;
    }
    if (max && !getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur > max) {
        limit.rlim_cur = max;
        (void)setrlimit(RLIMIT_FSIZE, &limit); /* lower is always allowed */
    }
    return program->folder && chdir(program->folder) ? -errno : 0;
}

/* Reports an errno through @report, which exec closes. */
static _Noreturn void become(const char *path, const struct program *program, int report)
{
    int err = set_up_child(program);

    if (!err) {
        (void)execv(path, (char *const *)program->argv);
        err = -errno;
    }
    ssize_t ignored = write(report, &err, sizeof(err));
    (void)ignored;
    _exit(127);
}

/* Waits until the program has ended or one of @signals is pending: then it is told to end. Returns
 * whether it was. */
static bool end_on_signal(pid_t pid, const sigset_t *signals)
{
    AUTO_CLOSE int signal_fd = signalfd(-1, signals, SFD_CLOEXEC);
    AUTO_CLOSE int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
    struct pollfd events[] = { { .fd = signal_fd, .events = POLLIN },
                               { .fd = pid_fd, .events = POLLIN } };

    if (signal_fd < 0 || pid_fd < 0)
        return false;
    while (poll(events, 2, -1) < 0 && errno == EINTR)
        ;
    if (!events[0].revents)
        return false;
    (void)kill(pid, SIGTERM);
    return true;
}

static int wait_for(pid_t pid, const sigset_t *signals)
{
    bool was_ended = signals && end_on_signal(pid, signals);
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    if (was_ended)
        return -EINTR;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int program_run(const struct program *program)
{
    AUTO_FREE char *path = program_find(program->argv[0]);
    int report[2], err = 0;

    if (!path)
        return -ENOENT;
    if (pipe2(report, O_CLOEXEC))
        return -errno;
    AUTO_CLOSE int report_read = report[0];
    AUTO_CLOSE int report_write = report[1];

    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (!pid)
        become(path, program, report_write);
    fd_close(&report_write);
    while (read(report_read, &err, sizeof(err)) < 0 && errno == EINTR)
        ;
    int status = wait_for(pid, program->ending_signals);
    return err ? err : status;
}

int program_output(const char *const *argv, size_t max, char **ret)
{
    AUTO_CLOSE int output = memfd_create("hutch-output", MFD_CLOEXEC);
    AUTO_FREE char *text = malloc(max + 1);
    struct program program = { .argv = argv, .input = -1, .output = output, .errors = -1 };

    if (output < 0)
        return -errno;
    if (!text)
        return -ENOMEM;
    int status = program_run(&program);
    if (status < 0)
        return status;
    ssize_t len = pread(output, text, max, 0);
    if (len < 0)
        return -errno;
    text[len] = '\0';
    *ret = take_pointer(text);
    return status;
}
