// SPDX-License-Identifier: Apache-2.0
/* Compressed files, unpacked whole into memory of the caller's.
 *
 * What is in them is outside data: nothing is written behind the end of that memory, and besides it
 * some hundred KiB are taken, whatever the data ask for; of LZ4 up to 9 MiB, of xz up to 144.
 * Nothing here logs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum unpack_format { UNPACK_GZIP, UNPACK_XZ, UNPACK_ZSTD, UNPACK_LZ4 };

/* What nothing is unpacked to more than. */
enum { UNPACK_MAX = 1 << 30 };

struct unpack_input {
    int fd;
    uint64_t offset, size; /* of the compressed data in it; bytes */
};

/* Tells the format of a file by its first 4 bytes. Returns whether it is one of them. */
bool unpack_recognise(const uint8_t head[4], enum unpack_format *ret);

/* Unpacks @in to @buf. Of several members, streams or frames in a row all are unpacked; other bytes
 * behind the last one, such as a signature, are left alone. (Of LZ4, blocks tell no end: there may
 * be nothing behind them.)
 *
 * Returns 0 with the number of bytes in *@ret, -EFBIG if they are more than @capacity or
 * UNPACK_MAX, -ENODATA if the data end too early, -EBADMSG if they are damaged, -ENOMEM
 * (also if they ask for more than that), or -errno
 * of a read. What @buf holds then means nothing. */
int unpack(enum unpack_format format, const struct unpack_input *in, void *buf, size_t capacity,
           size_t *ret);
