// SPDX-License-Identifier: Apache-2.0
/* The job's records: checked, and what prepares the machine for the command done at once.
 *
 * Texts are used where they lie in the records, for which reason each must end in its NUL. */
#include <asm/errno.h>
#include <linux/mount.h>

#include "agent.h"

enum { MOUNT_TEXTS = 4 };

bool job_add(struct job *job, const void *data, uint32_t len)
{
    if (len > sizeof(job->records) - job->len)
        return false;
    memcpy(job->records + job->len, data, len);
    job->len += len;
    return true;
}

/* The errors that people meet; of others the number. */
static const char *error_text(long err, char *digits)
{
    switch (-err) {
    case ENOENT:
        return "no such file or directory";
    case EACCES:
        return "permission denied";
    case EPERM:
        return "operation not permitted";
    case ENODEV:
        return "this kernel does not know that type of file system";
    case ENOTDIR:
        return "not a directory";
    case ENOMEM:
        return "out of memory";
    case ENOEXEC:
        return "not a program of this machine";
    case E2BIG:
        return "the arguments are too long";
    case EINVAL:
        return "invalid argument";
    case ELOOP:
        return "too many symbolic links";
    default:
        return text_number(digits, (uint64_t)-err);
    }
}

bool job_fail(struct failure *failure, uint32_t status, const char *what, const char *name,
              long err)
{
    char digits[21];

    failure->status = status;
    TEXT_JOIN(failure->text, what, "'", name, "': ", error_text(err, digits));
    return false;
}

static bool fail_record(struct failure *failure)
{
    return job_fail(failure, 125, "the job's ", "records", -EINVAL);
}

/* --- what is done --- */

static long make_folder(const char *path)
{
    char part[4096];
    long err = 0;

    for (size_t i = 0; i < sizeof(part) - 1; i++) {
        part[i] = path[i];
        if (i > 0 && (path[i] == '/' || path[i] == '\0')) {
            part[i] = '\0';
            err = SYS(mkdirat, SYS_AT_FDCWD, part, 0755);
            part[i] = path[i];
        }
        if (path[i] == '\0')
            return err == -EEXIST ? 0 : err;
    }
    return -ENAMETOOLONG;
}

static bool do_mkdir(const char *path, struct failure *failure)
{
    long err = make_folder(path);

    return err < 0 ? job_fail(failure, 125, "make the folder ", path, err) : true;
}

/* @data: flags and four texts, in @len bytes that end in a NUL. */
static bool do_mount(const uint8_t *data, uint32_t len, struct failure *failure)
{
    const char *texts[MOUNT_TEXTS];
    const uint8_t *at = data + sizeof(uint32_t), *end = data + len;
    uint32_t flags;

    if (len <= sizeof(flags))
        return fail_record(failure);
    memcpy(&flags, data, sizeof(flags));
    for (int i = 0; i < MOUNT_TEXTS; i++) {
        if (at >= end)
            return fail_record(failure);
        texts[i] = (const char *)at;
        at += strlen(texts[i]) + 1;
    }
    (void)make_folder(texts[2]); /* a read-only place may have it already */
    long err = SYS(mount, texts[1], texts[2], texts[0], flags, texts[3]);
    return err < 0 ? job_fail(failure, 125, "mount on ", texts[2], err) : true;
}

/* The initial RAM file system cannot be unmounted: the new root is moved over it. What we mounted
 * goes along, as far as there is a place for it. */
static bool do_root(const char *path, struct failure *failure)
{
    static const char *const moved[] = { "/dev", "/proc", "/sys" };
    char target[4096];
    long err = 0;

    for (size_t i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
        TEXT_JOIN(target, path, moved[i]);
        (void)SYS(mkdirat, SYS_AT_FDCWD, target, 0755);
        err = SYS(mount, moved[i], target, NULL, MS_MOVE, NULL);
        if (err < 0)
            return job_fail(failure, 125, "move to ", target, err);
    }
    err = SYS(chdir, path);
    if (err >= 0)
        err = SYS(mount, ".", "/", NULL, MS_MOVE, NULL);
    if (err >= 0)
        err = SYS(chroot, ".");
    if (err >= 0)
        err = SYS(chdir, "/");
    return err < 0 ? job_fail(failure, 125, "change the root to ", path, err) : true;
}

/* --- records --- */

static bool add_string(char **strings, uint32_t *count, char *text, struct failure *failure)
{
    if (*count == JOB_STRINGS_MAX)
        return job_fail(failure, 125, "the command's ", "arguments or variables", -E2BIG);
    strings[(*count)++] = text;
    return true;
}

static bool take_user(struct job *job, const uint8_t *data, uint32_t len, struct failure *failure)
{
    const uint32_t fixed = 2 * sizeof(uint32_t);

    if (len < fixed || len > fixed + sizeof(job->groups) || len % sizeof(uint32_t))
        return fail_record(failure);
    memcpy(&job->uid, data, sizeof(uint32_t));
    memcpy(&job->gid, data + sizeof(uint32_t), sizeof(uint32_t));
    job->group_count = (len - fixed) / (uint32_t)sizeof(uint32_t);
    memcpy(job->groups, data + fixed, len - fixed);
    job->has_user = true;
    return true;
}

static bool take_tty(struct job *job, const uint8_t *data, uint32_t len, struct failure *failure)
{
    if (len != sizeof(job->window))
        return fail_record(failure);
    memcpy(&job->window, data, sizeof(job->window));
    job->has_tty = true;
    return true;
}

static bool take_record(struct job *job, uint32_t type, uint8_t *data, uint32_t len,
                        struct failure *failure)
{
    char *text = (char *)data;

    if (type == AGENT_RECORD_USER)
        return take_user(job, data, len, failure);
    if (type == AGENT_RECORD_TTY)
        return take_tty(job, data, len, failure);
    if (len == 0 || data[len - 1] != '\0')
        return fail_record(failure);
    switch (type) {
    case AGENT_RECORD_ARG:
        return add_string(job->args, &job->arg_count, text, failure);
    case AGENT_RECORD_ENV:
        return add_string(job->env, &job->env_count, text, failure);
    case AGENT_RECORD_FOLDER:
        job->folder = text;
        return true;
    case AGENT_RECORD_MKDIR:
        return do_mkdir(text, failure);
    case AGENT_RECORD_MOUNT:
        return do_mount(data, len, failure);
    case AGENT_RECORD_ROOT:
        return do_root(text, failure);
    default:
        return fail_record(failure);
    }
}

bool job_prepare(struct job *job, struct failure *failure)
{
    uint32_t at = 0;

    while (at < job->len) {
        struct agent_record record;

        if (job->len - at < sizeof(record))
            return fail_record(failure);
        memcpy(&record, job->records + at, sizeof(record));
        at += (uint32_t)sizeof(record);
        if (record.len > job->len - at)
            return fail_record(failure);
        if (!take_record(job, record.type, job->records + at, record.len, failure))
            return false;
        at += record.len;
    }
    return job->arg_count > 0 ? true : fail_record(failure);
}
