// SPDX-License-Identifier: Apache-2.0
/* File descriptors that a scope owns, and whole reads and writes. */
#include "host/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

void fd_close(int *fd)
{
    int saved_errno = errno;

    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
    errno = saved_errno;
}

int fd_pread_full(int fd, void *buf, size_t len, off_t offset)
{
    char *at = buf;

    while (len > 0) {
        ssize_t got = pread(fd, at, len, offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -ENODATA;
        at += got;
        len -= (size_t)got;
        offset += got;
    }
    return 0;
}

int fd_write_full(int fd, const void *buf, size_t len)
{
    const char *at = buf;

    while (len > 0) {
        ssize_t put = write(fd, at, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN) {
            struct pollfd room = { .fd = fd, .events = POLLOUT };
            (void)poll(&room, 1, -1);
            continue;
        }
        if (put < 0)
            return -errno;
        at += put;
        len -= (size_t)put;
    }
    return 0;
}

/* Reads up to @max bytes: files under /proc and /sys tell no size in advance. */
static int read_all(int fd, size_t max, char **text, size_t *len)
{
    size_t capacity = 4096, used = 0;
    AUTO_FREE char *data = malloc(capacity + 1);

    while (data) {
        ssize_t got = read(fd, data + used, capacity - used);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        used += (size_t)got;
        if (used > max)
            return -EFBIG;
        if (got == 0) {
            data[used] = '\0';
            *text = take_pointer(data);
            if (len)
                *len = used;
            return 0;
        }
        if (used == capacity) {
            capacity *= 2;
            char *bigger = realloc(data, capacity + 1);
            if (!bigger)
                return -ENOMEM;
            data = bigger;
        }
    }
    return -ENOMEM;
}

int fd_read_file(const char *path, size_t max, char **text, size_t *len)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    return read_all(fd, max, text, len);
}

int fd_open_standard(void)
{
    /* The lowest number that is free is taken. Reading, so that a write still fails. Where none is
     * missing, nothing is opened: a bare initramfs may have no /dev/null. */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
            return -errno;
    }
    return 0;
}

mode_t fd_umask(void)
{
    mode_t mask = umask(0); /* it tells only when it is changed */

    (void)umask(mask);
    return mask;
}

int fd_open_again(int fd, int flags)
{
    char path[32];
    struct stat st;
    int number;

    if (fstat(fd, &st) || (!S_ISFIFO(st.st_mode) && !isatty(fd)))
        return -1;
    if (!ioctl(fd, TIOCGPTN, &number)) /* a terminal's other side: to open that makes a new one */
        return -1;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, flags | O_CLOEXEC | O_NOCTTY);
}

int fd_set_nonblocking(int fd, int on)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -errno;
    flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}
