// SPDX-License-Identifier: Apache-2.0
/* The job's records: checked, and what prepares the machine for the command done at once.
 *
 * Texts are used where they lie in the records, for which reason each must end in its NUL. */
#include <asm/errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/stat.h>

#include "agent.h"

enum { MOUNT_TEXTS = 4, USUAL_UMASK = 022 };

bool job_add(struct job *job, const void *data, uint32_t len)
{
    if (len > sizeof(job->records) - job->len)
        return false;
    memcpy(job->records + job->len, data, len);
    job->len += len;
    return true;
}

static bool fail_record(struct failure *failure)
{
    return failure_describe(failure, 125, "the job's ", "records", -EINVAL);
}

/* --- what is done --- */

/* Makes the folders above @path that are not there. */
static long make_folders_above(const char *path)
{
    char part[4096];

    for (size_t i = 0; i < sizeof(part) - 1; i++) {
        part[i] = path[i];
        if (path[i] == '\0')
            return 0;
        if (i > 0 && path[i] == '/') {
            part[i] = '\0';
            (void)SYS(mkdirat, SYS_AT_FDCWD, part, 0755);
            part[i] = '/';
        }
    }
    return -ENAMETOOLONG;
}

static long make_folder(const char *path)
{
    long err = make_folders_above(path);

    if (err >= 0)
        err = SYS(mkdirat, SYS_AT_FDCWD, path, 0755);
    return err == -EEXIST ? 0 : err;
}

static bool do_mkdir(const char *path, struct failure *failure)
{
    long err = make_folder(path);

    return err < 0 ? failure_describe(failure, 125, "make the folder ", path, err) : true;
}

/* A type that nobody registered: by which option of the kernel's configuration it would be. */
static bool fail_type(struct failure *failure, const char *type)
{
    static const char *const options[][2] = {
        { "virtiofs", "VIRTIO_FS" }, { "overlay", "OVERLAY_FS" }, { "tmpfs", "TMPFS" },
        { "ext4", "EXT4_FS" },       { "xfs", "XFS_FS" },         { "btrfs", "BTRFS_FS" },
        { "f2fs", "F2FS_FS" },       { "erofs", "EROFS_FS" },     { "squashfs", "SQUASHFS" },
    };

    failure->status = 123;
    TEXT_JOIN(failure->text, "this kernel knows no file system of type '", type, "'");
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (text_equals(options[i][0], type))
            TEXT_JOIN(failure->text, "CONFIG_", options[i][1],
                      " is not set in this kernel, or its module was not found");
    }
    return false;
}

/* Linux keeps no more unwritten data of a FUSE mount than 1 % of what it keeps of another, and who
 * writes more sleeps meanwhile: its server may be a process that wants memory to write it. Ours is
 * the host, so it may be as much as of a disk. Should this fail, writing takes longer. */
static void let_writes_wait(const char *path)
{
    char file[96], major[21], minor[21];
    struct statx stx;

    if (SYS(statx, SYS_AT_FDCWD, path, 0, STATX_BASIC_STATS, &stx) < 0)
        return;
    TEXT_JOIN(file, "/sys/class/bdi/", text_number(major, stx.stx_dev_major), ":",
              text_number(minor, stx.stx_dev_minor), "/max_ratio");
    (void)write_text(file, "100");
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
    if (err == -ENODEV)
        return fail_type(failure, texts[0]);
    if (err < 0)
        return failure_describe(failure, 125, "mount on ", texts[2], err);
    if (text_equals(texts[0], "virtiofs") && !(flags & MS_RDONLY))
        let_writes_wait(texts[2]);
    return true;
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
            return failure_describe(failure, 125, "move to ", target, err);
    }
    err = SYS(chdir, path);
    if (err >= 0)
        err = SYS(mount, ".", "/", NULL, MS_MOVE, NULL);
    if (err >= 0)
        err = SYS(chroot, ".");
    if (err >= 0)
        err = SYS(chdir, "/");
    return err < 0 ? failure_describe(failure, 125, "change the root to ", path, err) : true;
}

static bool do_host_name(const char *name, struct failure *failure)
{
    long err = SYS(sethostname, name, strlen(name));

    return err < 0 ? failure_describe(failure, 125, "name the machine ", name, err) : true;
}

/* What is at @path is not written to: it may be a link to anywhere. */
static bool do_file(const char *path, uint32_t len, struct failure *failure)
{
    const char *text = path + strlen(path) + 1;

    if (text >= path + len)
        return fail_record(failure);
    (void)make_folders_above(path);
    (void)SYS(unlinkat, SYS_AT_FDCWD, path, 0);
    int fd = (int)SYS(openat, SYS_AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | SYS_CLOEXEC, 0644);
    long put = fd < 0 ? fd : SYS(write, fd, text, strlen(text));
    sys_close(&fd);
    return put < 0 ? failure_describe(failure, 125, "make the file ", path, put) : true;
}

/* Somebody may live where nothing can be made; that is for the command to find out. */
static bool do_home(const struct job *job, const char *path)
{
    long err = make_folders_above(path);

    if (err >= 0 && SYS(mkdirat, SYS_AT_FDCWD, path, 0755) >= 0 && job->has_user)
        (void)SYS(fchownat, SYS_AT_FDCWD, path, job->uid, job->gid, 0);
    return true;
}

/* --- records --- */

static bool add_string(char **strings, uint32_t *count, char *text, struct failure *failure)
{
    char digits[21];

    if (*count == JOB_STRINGS_MAX) {
        failure->status = 125;
        TEXT_JOIN(failure->text, "a command has at most ", text_number(digits, JOB_STRINGS_MAX),
                  " arguments, and as many variables");
        return false;
    }
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

static bool take_umask(struct job *job, const uint8_t *data, uint32_t len, struct failure *failure)
{
    if (len != sizeof(job->umask))
        return fail_record(failure);
    memcpy(&job->umask, data, sizeof(job->umask));
    return true;
}

static bool take_network(const uint8_t *data, uint32_t len, struct failure *failure)
{
    struct agent_network network;

    if (len != sizeof(network))
        return fail_record(failure);
    memcpy(&network, data, sizeof(network));
    return network_set_up(&network, failure);
}

static bool take_record(struct job *job, uint32_t type, uint8_t *data, uint32_t len,
                        struct failure *failure)
{
    char *text = (char *)data;

    if (type == AGENT_RECORD_USER)
        return take_user(job, data, len, failure);
    if (type == AGENT_RECORD_TTY)
        return take_tty(job, data, len, failure);
    if (type == AGENT_RECORD_UMASK)
        return take_umask(job, data, len, failure);
    if (type == AGENT_RECORD_NETWORK)
        return take_network(data, len, failure);
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
    case AGENT_RECORD_HOST_NAME:
        return do_host_name(text, failure);
    case AGENT_RECORD_USER_NAME:
        return user_find(job, text, failure);
    case AGENT_RECORD_HOME:
        return do_home(job, text);
    case AGENT_RECORD_FILE:
        return do_file(text, len, failure);
    default:
        return fail_record(failure);
    }
}

/* Who gives a HOME means it, whoever the user is. */
static bool add_home(struct job *job, struct failure *failure)
{
    for (uint32_t i = 0; i < job->env_count; i++) {
        if (text_starts_with(job->env[i], "HOME="))
            return true;
    }
    return !job->home || add_string(job->env, &job->env_count, job->home, failure);
}

bool job_prepare(struct job *job, struct failure *failure)
{
    uint32_t at = 0;

    job->umask = USUAL_UMASK;
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
    return job->arg_count > 0 ? add_home(job, failure) : fail_record(failure);
}
