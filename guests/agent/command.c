// SPDX-License-Identifier: Apache-2.0
/* Starts the command: with pipes, or a terminal of its own, as the user and in the folder that the
 * job says, at the head of a session and process group.
 *
 * The child reports through a pipe that execve() closes: nothing in it means that the command runs.
 * The pipes belong to the user, as a program that opens /dev/stderr needs them to. */
#include <asm/errno.h>
#include <asm/ioctls.h>
#include <linux/fcntl.h>

#include "agent.h"

enum { PIPE_SIZE = 262144, SIGCHLD_NUMBER = 17, SIG_SETMASK_NUMBER = 2, SIGNAL_SET_SIZE = 8 };

struct window_size { /* as TIOCSWINSZ takes it */
    uint16_t rows, columns, x, y;
};

/* What the child has besides our ends. */
struct child_ends {
    int input, output, errors;
    int report[2];
};

/* The step that failed in the child. */
enum stage { STAGE_USER, STAGE_FOLDER, STAGE_TERMINAL, STAGE_EXEC };

struct report {
    int32_t stage, err;
};

static long make_pipe(int *reads, int *writes, const struct job *job)
{
    int ends[2];
    long err = SYS(pipe2, ends, SYS_CLOEXEC);

    if (err < 0)
        return err;
    if (job->has_user)
        (void)SYS(fchown, ends[0], job->uid, job->gid);
    (void)SYS(fcntl, ends[0], F_SETPIPE_SZ, PIPE_SIZE); /* or what a pipe has */
    *reads = ends[0];
    *writes = ends[1];
    return 0;
}

static long make_pipes(struct command *command, struct child_ends *child, const struct job *job)
{
    long err = make_pipe(&child->input, &command->input, job);

    if (err >= 0)
        err = make_pipe(&command->output, &child->output, job);
    if (err >= 0)
        err = make_pipe(&command->errors, &child->errors, job);
    return err;
}

static long make_terminal(struct command *command, struct child_ends *child, const struct job *job)
{
    const struct window_size size = { job->window.rows, job->window.columns, 0, 0 };
    char path[32], digits[21];
    int number = 0, unlock = 0;
    long fd = sys_open("/dev/ptmx", O_RDWR | O_NOCTTY);

    if (fd < 0)
        return fd;
    command->output = (int)fd;
    command->input = (int)SYS(fcntl, fd, F_DUPFD_CLOEXEC, 3);
    (void)SYS(ioctl, fd, TIOCSWINSZ, &size);
    long err = SYS(ioctl, fd, TIOCSPTLCK, &unlock);
    if (err >= 0)
        err = SYS(ioctl, fd, TIOCGPTN, &number);
    if (err < 0)
        return err;
    TEXT_JOIN(path, "/dev/pts/", text_number(digits, (uint64_t)number));
    err = sys_open(path, O_RDWR | O_NOCTTY);
    if (err < 0)
        return err;
    child->input = (int)err;
    if (job->has_user)
        (void)SYS(fchown, child->input, job->uid, 5);
    return 0;
}

/* --- in the child --- */

static long try_exec(const char *path, struct job *job)
{
    long err = SYS(execve, path, job->args, job->env);

    if (err != -ENOEXEC || job->arg_count >= JOB_STRINGS_MAX)
        return err;
    /* A script without #!, as execvp() has it. */
    for (uint32_t i = job->arg_count; i > 0; i--)
        job->args[i + 1] = job->args[i];
    job->args[0] = (char *)(uintptr_t) "/bin/sh";
    job->args[1] = (char *)(uintptr_t)path;
    err = SYS(execve, "/bin/sh", job->args, job->env);
    return err == -ENOENT ? -ENOEXEC : err;
}

/* What the kernel does not tell apart, and people do. */
static long explain(const char *path, long err)
{
    int folder = err == -EACCES ? (int)sys_open(path, O_PATH | O_DIRECTORY) : -1;

    if (err == -ENOENT && SYS(faccessat, SYS_AT_FDCWD, path, 0) == 0)
        return -ELIBACC;
    if (folder < 0)
        return err;
    sys_close(&folder);
    return -EISDIR;
}

static const char *find_path(const struct job *job)
{
    for (uint32_t i = 0; i < job->env_count; i++) {
        if (text_starts_with(job->env[i], "PATH="))
            return job->env[i] + strlen("PATH=");
    }
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

static bool has_slash(const char *name)
{
    return text_contains(name, strlen(name), "/");
}

static long exec(struct job *job)
{
    const char *name = job->args[0], *at = find_path(job);
    char path[4096];
    long err = -ENOENT;

    if (has_slash(name) || !*name)
        return *name ? explain(name, try_exec(name, job)) : -ENOENT;
    for (;;) {
        size_t len = 0;

        while (*at && *at != ':' && len < sizeof(path) - 1)
            path[len++] = *at++;
        path[len] = '\0';
        text_join(path + len, sizeof(path) - len,
                  (const char *const[]){ len ? "/" : "", name, NULL });
        long now = explain(path, try_exec(path, job));
        if (now != -ENOENT && now != -ENOTDIR && err == -ENOENT)
            err = now;
        if (!*at)
            return err;
        at++;
    }
}

static long become_user(const struct job *job)
{
    long err = 0;

    if (!job->has_user)
        return 0;
    /* For a child of somebody who is not root, in tests. */
    if (SYS(getuid, 0) == (long)job->uid && job->uid != 0)
        return 0;
    err = SYS(setgroups, job->group_count, job->groups);
    if (err >= 0)
        err = SYS(setresgid, job->gid, job->gid, job->gid);
    if (err >= 0)
        err = SYS(setresuid, job->uid, job->uid, job->uid);
    return err;
}

static struct report run_child(const struct child_ends *ends, struct job *job)
{
    const uint64_t no_signals = 0;
    long err;

    (void)SYS(rt_sigprocmask, SIG_SETMASK_NUMBER, &no_signals, NULL, SIGNAL_SET_SIZE);
    (void)SYS(setsid, 0);
    (void)SYS(umask, job->umask);
    if (job->has_tty) {
        err = SYS(ioctl, ends->input, TIOCSCTTY, 0);
        if (err < 0)
            return (struct report){ STAGE_TERMINAL, (int32_t)err };
    }
    (void)SYS(dup3, ends->input, 0, 0);
    (void)SYS(dup3, job->has_tty ? ends->input : ends->output, 1, 0);
    (void)SYS(dup3, job->has_tty ? ends->input : ends->errors, 2, 0);
    err = become_user(job);
    if (err < 0)
        return (struct report){ STAGE_USER, (int32_t)err };
    err = job->folder ? SYS(chdir, job->folder) : 0;
    if (err < 0)
        return (struct report){ STAGE_FOLDER, (int32_t)err };
    return (struct report){ STAGE_EXEC, (int32_t)exec(job) };
}

/* --- here --- */

static bool judge_report(const struct report *report, const struct job *job,
                         struct failure *failure)
{
    static const char *const names[] = { "user", "terminal" };
    bool is_missing = report->err == -ENOENT || report->err == -ENOTDIR;

    switch (report->stage) {
    case STAGE_EXEC:
        return failure_describe(failure, is_missing ? 127 : 126, "", job->args[0], report->err);
    case STAGE_FOLDER:
        return failure_describe(failure, 125, "working folder ", job->folder, report->err);
    default:
        return failure_describe(failure, 125, "the command's ",
                                names[report->stage == STAGE_TERMINAL], report->err);
    }
}

static void close_child_ends(struct child_ends *ends)
{
    sys_close(&ends->input);
    sys_close(&ends->output);
    sys_close(&ends->errors);
    sys_close(&ends->report[1]);
}

static bool start(struct command *command, struct child_ends *ends, struct job *job,
                  struct failure *failure)
{
    struct report report;
    long err = job->has_tty ? make_terminal(command, ends, job) : make_pipes(command, ends, job);

    if (err >= 0)
        err = SYS(pipe2, ends->report, SYS_CLOEXEC);
    if (err >= 0)
        err = SYS(clone, SIGCHLD_NUMBER, 0, 0, 0, 0);
    if (err == 0) {
        report = run_child(ends, job);
        (void)SYS(write, ends->report[1], &report, sizeof(report));
        sys_exit(127);
    }
    if (err < 0)
        return failure_describe(failure, 125, "start ", job->args[0], err);
    command->pid = (int)err;
    sys_close(&ends->report[1]);
    err = SYS(read, ends->report[0], &report, sizeof(report));
    return err == (long)sizeof(report) ? judge_report(&report, job, failure) : true;
}

bool command_start(struct command *command, struct job *job, struct failure *failure)
{
    struct child_ends ends = { -1, -1, -1, { -1, -1 } };

    *command = (struct command){ .input = -1, .output = -1, .errors = -1 };
    bool runs = start(command, &ends, job, failure);
    close_child_ends(&ends);
    sys_close(&ends.report[0]);
    const int ours[] = { command->input, command->output, command->errors };
    for (int i = 0; i < 3; i++) {
        if (ours[i] >= 0)
            (void)SYS(fcntl, ours[i], F_SETFL, (i ? O_RDONLY : O_WRONLY) | O_NONBLOCK);
    }
    return runs;
}
