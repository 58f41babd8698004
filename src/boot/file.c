// SPDX-License-Identifier: Apache-2.0
/* The files that a boot reads: opened with a sentence for each way in which that fails, and read
 * directly into guest RAM. */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "host/fd.h"
#include "host/log.h"

static int refuse_open(const char *role, const char *path, int err)
{
    if (err == -ENOENT) {
        log_error("%s '%s': there is no such file", role, path);
        return err;
    }
    if (err == -EACCES) {
        log_error("%s '%s': no permission to read it (distributions let only root read kernels); "
                  "make a copy that you may read: sudo install -m 644 '%s' .",
                  role, path, path);
        return err;
    }
    return log_errno(err, "%s '%s': open", role, path);
}

static int check_kind(const struct boot_file *file, const struct stat *st)
{
    if (S_ISDIR(st->st_mode)) {
        log_error("%s '%s': a directory; name the file in it", file->role, file->path);
        return -EISDIR;
    }
    if (!S_ISREG(st->st_mode)) {
        log_error("%s '%s': not a regular file; copy its content into one", file->role, file->path);
        return -EINVAL;
    }
    if (st->st_size == 0) {
        log_error("%s '%s': the file is empty", file->role, file->path);
        return -ENOEXEC;
    }
    return 0;
}

static int read_head(struct boot_file *file)
{
    size_t len = file->size < BOOT_HEAD_SIZE ? (size_t)file->size : BOOT_HEAD_SIZE;

    return boot_file_read(file, 0, file->head, len);
}

int boot_file_examine(const char *role, const char *path, int fd, struct boot_file *ret)
{
    struct boot_file file = { .role = role, .path = path, .fd = fd };
    struct stat st;
    int err;

    if (fstat(fd, &st) < 0)
        err = log_errno(-errno, "%s '%s': stat", role, path);
    else
        err = check_kind(&file, &st);
    if (!err) {
        file.size = (uint64_t)st.st_size;
        err = read_head(&file);
    }
    if (!err)
        *ret = file;
    return err;
}

int boot_file_open(const char *role, const char *path, struct boot_file *ret)
{
    /* A FIFO without a writer must not hold us up. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return refuse_open(role, path, -errno);
    int err = boot_file_examine(role, path, fd, ret);
    if (err)
        fd_close(&fd);
    return err;
}

int boot_refuse(const struct boot_file *file, const char *why)
{
    log_error("%s '%s': %s", file->role, file->path, why);
    return -ENOEXEC;
}

void boot_file_close(struct boot_file *file)
{
    fd_close(&file->fd);
}

int boot_file_read(const struct boot_file *file, uint64_t offset, void *buf, size_t len)
{
    int err = 0;

    if (offset > file->size || len > file->size - offset)
        err = -ENODATA;
    else
        err = fd_pread_full(file->fd, buf, len, (off_t)offset);
    if (err == -ENODATA) {
        log_error("%s '%s': cut off: it has %ju bytes, and %ju belong to it; get it anew",
                  file->role, file->path, (uintmax_t)file->size, (uintmax_t)offset + len);
        return -ENOEXEC;
    }
    return err ? log_errno(err, "%s '%s': read", file->role, file->path) : 0;
}

int boot_file_load(const struct boot_file *file, uint64_t offset, uint64_t len,
                   const struct boot_job *job, gpa_t gpa)
{
    void *host = guest_mem_at(job->mem, gpa, len);

    if (len == 0)
        return 0;
    if (!host) {
        log_error("%s '%s': there is no RAM for %ju bytes at 0x%jx", file->role, file->path,
                  (uintmax_t)len, (uintmax_t)gpa);
        return -ENOMEM;
    }
    return boot_file_read(file, offset, host, (size_t)len);
}
