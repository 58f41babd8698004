// SPDX-License-Identifier: Apache-2.0
/* Rows of buffers (struct iovec) read and written as if they were one.
 *
 * The drivers of guests cut a request into buffers as they like (virtio 1.2, 2.7.4), so a device
 * may not expect its header in a buffer of its own. */
#include "virtio/virtqueue.h"

#include <assert.h>
#include <string.h>

/* Which way bytes go between the row and the flat buffer. */
enum direction { FROM_IOV, TO_IOV };

static size_t copy(const struct iovec *iov, size_t count, size_t offset, uint8_t *buf, size_t len,
                   enum direction direction)
{
    size_t done = 0;

    for (; count > 0 && done < len; iov++, count--) {
        if (offset >= iov->iov_len) {
            offset -= iov->iov_len;
            continue;
        }
        size_t part = iov->iov_len - offset;
        uint8_t *there = (uint8_t *)iov->iov_base + offset;

        if (part > len - done)
            part = len - done;
        if (direction == FROM_IOV)
            memcpy(buf + done, there, part);
        else
            memcpy(there, buf + done, part);
        done += part;
        offset = 0;
    }
    return done;
}

size_t iov_read(const struct iovec *iov, size_t count, size_t offset, void *buf, size_t len)
{
    return copy(iov, count, offset, buf, len, FROM_IOV);
}

size_t iov_write(const struct iovec *iov, size_t count, size_t offset, const void *buf, size_t len)
{
    return copy(iov, count, offset, (uint8_t *)(uintptr_t)buf, len, TO_IOV);
}

size_t iov_skip(struct iovec **iov, size_t count, size_t len)
{
    while (count > 0 && len >= (*iov)->iov_len) {
        len -= (*iov)->iov_len;
        (*iov)++;
        count--;
    }
    assert(len == 0 || count > 0);
    if (len > 0) {
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + len;
        (*iov)->iov_len -= len;
    }
    return count;
}
