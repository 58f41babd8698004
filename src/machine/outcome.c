// SPDX-License-Identifier: Apache-2.0
/* How a machine ended, as an exit status and as JSON. */
#include "machine/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "host/fd.h"
#include "host/json.h"

enum { SIGNAL_STATUS = 128 };

/* The signal that a stopped machine counts as: the escape key is the terminal's interrupt. */
static uint32_t stop_signal(const struct outcome *outcome)
{
    return outcome->value ? outcome->value : SIGINT;
}

int outcome_status(const struct outcome *outcome)
{
    switch (outcome->kind) {
    case OUTCOME_POWEROFF:
        return 0;
    case OUTCOME_REBOOT:
        return STATUS_REBOOT;
    case OUTCOME_DEBUG_EXIT:
        return (int)((outcome->value << 1 | 1) & 0xff);
    case OUTCOME_GUEST_DOWN:
        return STATUS_GUEST_DOWN;
    case OUTCOME_PANIC:
    case OUTCOME_OOPS:
        return STATUS_PANIC;
    case OUTCOME_TIMEOUT:
        return STATUS_TIMEOUT;
    case OUTCOME_EXIT:
    case OUTCOME_NOT_STARTED:
        return (int)(outcome->value & 0xff);
    case OUTCOME_SIGNAL:
        return (int)((SIGNAL_STATUS + outcome->value) & 0xff);
    case OUTCOME_BOOT_FAILURE:
        return STATUS_BOOT_FAILURE;
    case OUTCOME_STOPPED:
        return (int)((SIGNAL_STATUS + stop_signal(outcome)) & 0xff);
    case OUTCOME_NONE:
    case OUTCOME_TOOL_ERROR:
        break;
    }
    return STATUS_TOOL_ERROR;
}

const char *outcome_name(const struct outcome *outcome)
{
    switch (outcome->kind) {
    case OUTCOME_POWEROFF:
        return "poweroff";
    case OUTCOME_REBOOT:
        return "reboot";
    case OUTCOME_DEBUG_EXIT:
    case OUTCOME_EXIT:
        return "exit";
    case OUTCOME_BOOT_FAILURE:
        return "boot-failure";
    case OUTCOME_GUEST_DOWN:
        return "guest-down";
    case OUTCOME_PANIC:
        return "panic";
    case OUTCOME_OOPS:
        return "oops";
    case OUTCOME_TIMEOUT:
        return "timeout";
    case OUTCOME_STOPPED:
    case OUTCOME_SIGNAL:
        return "signal";
    case OUTCOME_NOT_STARTED:
    case OUTCOME_NONE:
    case OUTCOME_TOOL_ERROR:
        break;
    }
    return "tool-error";
}

/* What did not happen is not there. */
static void write_time(struct json *json, const char *key, uint64_t time_ms)
{
    if (time_ms)
        json_number(json, key, time_ms);
}

static void write_text(struct json *json, const char *key, const char *text)
{
    if (*text)
        json_text(json, key, text);
}

void outcome_write_members(struct json *json, const struct outcome *outcome, const char *vm_name)
{
    json_text(json, "outcome", outcome_name(outcome));
    json_number(json, "status", (uint64_t)outcome_status(outcome));
    if (outcome->kind == OUTCOME_STOPPED)
        json_number(json, "signal", stop_signal(outcome));
    if (outcome->kind == OUTCOME_SIGNAL)
        json_number(json, "signal", outcome->value);
    if (outcome->kind == OUTCOME_DEBUG_EXIT)
        json_number(json, "value", outcome->value);
    write_text(json, "reason", outcome->reason);
    write_text(json, "oops", outcome->oops);
    write_text(json, "oom", outcome->oom);
    json_text(json, "name", vm_name);
    write_time(json, "launched_unix_ms", outcome->launched_ms);
    json_number(json, "duration_ms", outcome->duration_ms);
    write_time(json, "up_ms", outcome->up_ms);
    write_time(json, "started_ms", outcome->started_ms);
    write_time(json, "ended_ms", outcome->ended_ms);
    write_text(json, "kernel", outcome->kernel);
}

static int write_json(FILE *out, const struct outcome *outcome, const char *vm_name)
{
    struct json json;

    json_init(&json, out, false);
    json_begin_object(&json, NULL);
    outcome_write_members(&json, outcome, vm_name);
    json_end_object(&json);
    if (fflush(out))
        return -errno;
    return ferror(out) ? -EIO : 0;
}

/* A new file beside @path, open for writing, with the mode that a plain open() would give it. */
static int open_beside(const char *path, char *name, size_t size, FILE **ret)
{
    if (snprintf(name, size, "%s.XXXXXX", path) >= (int)size)
        return -ENAMETOOLONG;

    AUTO_CLOSE int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    FILE *out = fchmod(fd, 0666 & ~fd_umask()) ? NULL : fdopen(fd, "w");
    if (!out) {
        int err = -errno;
        (void)unlink(name);
        return err;
    }
    (void)take_fd(&fd);
    *ret = out;
    return 0;
}

/* A device or a pipe cannot be renamed over: it is written to as it is. We do not wait for somebody
 * to read a pipe: the machine has ended, and no signal would end the wait. */
static int write_in_place(const char *path, const struct outcome *outcome, const char *vm_name)
{
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out)
        return -errno;
    (void)take_fd(&fd);
    int err = write_json(out, outcome, vm_name);
    return fclose(out) && !err ? -errno : err;
}

int outcome_write(const struct outcome *outcome, const char *vm_name, const char *path)
{
    char name[PATH_MAX];
    struct stat st;
    FILE *out = NULL;

    if (!stat(path, &st) && !S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : write_in_place(path, outcome, vm_name);
    int err = open_beside(path, name, sizeof(name), &out);
    if (err)
        return err;
    err = write_json(out, outcome, vm_name);
    if (fclose(out) && !err)
        err = -errno;
    if (!err && rename(name, path))
        err = -errno;
    if (err)
        (void)unlink(name);
    return err;
}
