// SPDX-License-Identifier: Apache-2.0
/* File descriptors and heap blocks that a scope owns, and whole reads and writes.
 *
 * Every descriptor of hutch is O_CLOEXEC; -1 means none. */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

/* Closes *@fd if it is one, and makes it -1. errno is kept. */
void fd_close(int *fd);

static inline void fd_free_pointer(void *pointer)
{
    free(*(void **)pointer);
}

/* `AUTO_CLOSE int fd = open(...)`: closed when the scope ends, unless handed on with take_fd(). */
#define AUTO_CLOSE __attribute__((cleanup(fd_close)))
/* `AUTO_FREE char *text = ...`: freed when the scope ends, unless handed on with take_pointer(). */
#define AUTO_FREE __attribute__((cleanup(fd_free_pointer)))

/* Hands a descriptor on: returns it, and leaves -1 behind. */
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Hands a heap block on: evaluates to it, and leaves NULL behind. */
#define take_pointer(pointer)                                                                      \
    ({                                                                                             \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

/* Reads exactly @len bytes at @offset, past EINTR and short reads.
 * Returns 0, -errno, or -ENODATA if the file ends before that. */
int fd_pread_full(int fd, void *buf, size_t len, off_t offset);

/* Writes exactly @len bytes, past EINTR and short writes. Blocks on a non-blocking descriptor
 * until it takes them. Returns 0 or -errno. */
int fd_write_full(int fd, const void *buf, size_t len);

/* Reads a whole file into a fresh block with a NUL behind it; more than @max bytes: -EFBIG.
 * Returns 0 or -errno; *@text is the caller's to free, *@len (may be NULL) excludes the NUL. */
int fd_read_file(const char *path, size_t max, char **text, size_t *len);

/* Opens /dev/null in the place of whichever of the standard descriptors is closed: or the next file
 * opened, a disk maybe, would get its number and what is written there. Returns 0 or -errno. */
int fd_open_standard(void);

/* The mode bits that files which we make do not get. While this asks, no other thread may make any.
 */
mode_t fd_umask(void);

/* Opens what @fd is once more, with @flags of open(), if it is a pipe or a terminal: O_NONBLOCK
 * then holds for us alone, and not for others who have inherited @fd. Returns a descriptor, or -1
 * if it is neither or cannot be opened. */
int fd_open_again(int fd, int flags);

/* Switches O_NONBLOCK on or off. Returns 0 or -errno. */
int fd_set_nonblocking(int fd, int on);
