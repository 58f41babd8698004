// SPDX-License-Identifier: Apache-2.0
/* Unpacks gzip (RFC 1952) with zlib, xz with liblzma, Zstandard (RFC 8878) with libzstd, and LZ4 in
 * the frames that Linux packs itself in (lz4_Frame_format.md, "Legacy frame") with liblz4, which
 * knows blocks, but not those frames.
 *
 * All write straight to where the result is to be. zstd would otherwise keep what it wrote last
 * (its window) in memory of its own, up to 128 MiB of it; xz always does. */
#include "boot/unpack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#include <lzma.h>
#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_d_stableOutBuffer: we link an archive */
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "host/fd.h"

enum { MAGIC_SIZE = 4, READ_SIZE = 64 << 10 };
enum { GZIP_WINDOW_BITS = 15, GZIP_FORMAT = 16 };
enum { XZ_MEMORY_MAX = 144 << 20 }; /* Linux packs itself with a dictionary of up to 128 MiB */

static const uint8_t gzip_magic[] = { 0x1f, 0x8b, 8 }; /* the last one: deflate */
static const uint8_t xz_magic[] = { 0xfd, '7', 'z', 'X' };
static const uint8_t lz4_magic[] = { 0x02, 0x21, 0x4c, 0x18 };

/* The compressed data, piece by piece. */
struct reader {
    int fd;
    uint64_t offset, left; /* of what was not yet read from the file */
    size_t start, end;     /* of what was, and is not used */
    uint8_t bytes[READ_SIZE];
};

/* Fills the buffer up behind what it still holds. Returns 0 or -errno. */
static int reader_fill(struct reader *reader)
{
    memmove(reader->bytes, reader->bytes + reader->start, reader->end - reader->start);
    reader->end -= reader->start;
    reader->start = 0;
    size_t len = READ_SIZE - reader->end;
    if (len > reader->left)
        len = (size_t)reader->left;
    int err = fd_pread_full(reader->fd, reader->bytes + reader->end, len, (off_t)reader->offset);
    if (err)
        return err;
    reader->end += len;
    reader->offset += len;
    reader->left -= len;
    return 0;
}

/* Makes sure that there is something to use. Returns 0, -ENODATA at the end, or -errno. */
static int reader_need(struct reader *reader)
{
    int err = reader->start == reader->end ? reader_fill(reader) : 0;

    return !err && reader->start == reader->end ? -ENODATA : err;
}

static uint32_t little_endian(const uint8_t word[MAGIC_SIZE])
{
    return (uint32_t)word[3] << 24 | (uint32_t)word[2] << 16 | word[1] << 8 | word[0];
}

static bool is_zstd(const uint8_t head[MAGIC_SIZE])
{
    return little_endian(head) == ZSTD_MAGICNUMBER;
}

static bool is_skippable(const uint8_t head[MAGIC_SIZE])
{
    return (head[0] & 0xf0) == 0x50 && head[1] == 0x2a && head[2] == 0x4d && head[3] == 0x18;
}

bool unpack_recognise(const uint8_t head[MAGIC_SIZE], enum unpack_format *ret)
{
    bool is_gzip = memcmp(head, gzip_magic, sizeof(gzip_magic)) == 0;

    bool is_xz = memcmp(head, xz_magic, sizeof(xz_magic)) == 0;

    bool is_lz4 = memcmp(head, lz4_magic, sizeof(lz4_magic)) == 0;

    if (is_gzip)
        *ret = UNPACK_GZIP;
    else if (is_xz)
        *ret = UNPACK_XZ;
    else if (is_zstd(head))
        *ret = UNPACK_ZSTD;
    else if (is_lz4)
        *ret = UNPACK_LZ4;
    return is_gzip || is_xz || is_zstd(head) || is_lz4;
}

/* Whether a member, stream or frame begins here. Returns 0 or -errno. */
static int find_begin(struct reader *reader, enum unpack_format format, bool *ret)
{
    static const uint8_t none[MAGIC_SIZE];
    int err = reader->end - reader->start < MAGIC_SIZE ? reader_fill(reader) : 0;

    if (err)
        return err;
    const uint8_t *head =
        reader->end - reader->start < MAGIC_SIZE ? none : reader->bytes + reader->start;
    if (format == UNPACK_GZIP)
        *ret = memcmp(head, gzip_magic, sizeof(gzip_magic)) == 0;
    else if (format == UNPACK_XZ)
        *ret = memcmp(head, xz_magic, sizeof(xz_magic)) == 0;
    else
        *ret = is_zstd(head) || is_skippable(head);
    return 0;
}

/* Unpacks what is there. Returns 1 at the end of a member, 0 if it goes on, or -errno. */
static int gzip_step(z_stream *stream, struct reader *reader)
{
    stream->next_in = reader->bytes + reader->start;
    stream->avail_in = (uInt)(reader->end - reader->start);
    int result = inflate(stream, Z_NO_FLUSH);
    reader->start = reader->end - stream->avail_in;
    switch (result) {
    case Z_OK:
        return 0;
    case Z_STREAM_END:
        return 1;
    case Z_BUF_ERROR: /* it needs what there is none of */
        return stream->avail_out ? 0 : -EFBIG;
    case Z_MEM_ERROR:
        return -ENOMEM;
    default:
        return -EBADMSG;
    }
}

static int gzip_members(z_stream *stream, struct reader *reader)
{
    bool again = true;
    int err = 0;

    while (!err && again) {
        err = reader_need(reader);
        if (!err)
            err = gzip_step(stream, reader);
        if (err == 1) {
            err = find_begin(reader, UNPACK_GZIP, &again);
            if (!err && again && inflateReset(stream) != Z_OK)
                err = -ENOMEM;
        }
    }
    return err;
}

static int unpack_gzip(struct reader *reader, void *buf, size_t capacity, size_t *ret)
{
    z_stream stream = { .next_out = buf, .avail_out = (uInt)capacity };

    if (inflateInit2(&stream, GZIP_WINDOW_BITS + GZIP_FORMAT) != Z_OK)
        return -ENOMEM;
    int err = gzip_members(&stream, reader);
    (void)inflateEnd(&stream);
    if (!err)
        *ret = capacity - stream.avail_out;
    return err;
}

/* As gzip_step(), for a stream. */
static int xz_step(lzma_stream *stream, struct reader *reader)
{
    stream->next_in = reader->bytes + reader->start;
    stream->avail_in = reader->end - reader->start;
    lzma_ret result = lzma_code(stream, LZMA_RUN);
    reader->start = reader->end - stream->avail_in;
    switch (result) {
    case LZMA_OK:
        return 0;
    case LZMA_STREAM_END:
        return 1;
    case LZMA_BUF_ERROR: /* no way on, twice */
        return stream->avail_out ? 0 : -EFBIG;
    case LZMA_MEM_ERROR:
    case LZMA_MEMLIMIT_ERROR:
        return -ENOMEM;
    default:
        return -EBADMSG;
    }
}

static int xz_streams(lzma_stream *stream, struct reader *reader)
{
    bool again = true;
    int err = 0;

    while (!err && again) {
        err = reader_need(reader);
        if (!err)
            err = xz_step(stream, reader);
        if (err == 1) {
            err = find_begin(reader, UNPACK_XZ, &again);
            if (!err && again && lzma_stream_decoder(stream, XZ_MEMORY_MAX, 0) != LZMA_OK)
                err = -ENOMEM;
        }
    }
    return err;
}

static int unpack_xz(struct reader *reader, void *buf, size_t capacity, size_t *ret)
{
    lzma_stream stream = LZMA_STREAM_INIT;

    stream.next_out = buf;
    stream.avail_out = capacity;
    int err = lzma_stream_decoder(&stream, XZ_MEMORY_MAX, 0) == LZMA_OK ? 0 : -ENOMEM;
    if (!err)
        err = xz_streams(&stream, reader);
    lzma_end(&stream);
    if (!err)
        *ret = capacity - stream.avail_out;
    return err;
}

/* As gzip_step(), for a frame. */
static int zstd_step(ZSTD_DCtx *context, struct reader *reader, ZSTD_outBuffer *out)
{
    ZSTD_inBuffer in = { reader->bytes + reader->start, reader->end - reader->start, 0 };
    size_t result = ZSTD_decompressStream(context, out, &in);

    reader->start += in.pos;
    if (!ZSTD_isError(result))
        return result == 0;
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_dstSize_tooSmall:
        return -EFBIG;
    case ZSTD_error_memory_allocation:
        return -ENOMEM;
    default:
        return -EBADMSG;
    }
}

/* Only frames of today's format: libzstd may take those of its first versions as well. */
static int zstd_frames(ZSTD_DCtx *context, struct reader *reader, ZSTD_outBuffer *out)
{
    bool again;
    int err = find_begin(reader, UNPACK_ZSTD, &again);

    if (!err && !again)
        return reader->end - reader->start < MAGIC_SIZE ? -ENODATA : -EBADMSG;
    while (!err && again) {
        err = reader_need(reader);
        if (!err)
            err = zstd_step(context, reader, out);
        if (err == 1)
            err = find_begin(reader, UNPACK_ZSTD, &again);
    }
    return err;
}

static int unpack_zstd(struct reader *reader, void *buf, size_t capacity, size_t *ret)
{
    ZSTD_outBuffer out = { buf, capacity, 0 };
    ZSTD_DCtx *context = ZSTD_createDCtx();
    int err = -ENOMEM;

    if (context && !ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_stableOutBuffer, 1)))
        err = zstd_frames(context, reader, &out);
    (void)ZSTD_freeDCtx(context);
    if (!err)
        *ret = out.pos;
    return err;
}

/* libzstd.a of Debian has decoders of its first formats, too, 90 KiB of them. No such frame gets
 * past find_begin(); with what they are called by defined here, the linker leaves them out. */
#define REFUSE(name)                                                                               \
    _Noreturn void name(void);                                                                     \
    void name(void)                                                                                \
    {                                                                                              \
        abort();                                                                                   \
    }
#define REFUSE_FORMAT(version)                                                                     \
    REFUSE(ZBUFF##version##_createDCtx)                                                            \
    REFUSE(ZBUFF##version##_decompressContinue)                                                    \
    REFUSE(ZBUFF##version##_decompressInitDictionary)                                              \
    REFUSE(ZBUFF##version##_freeDCtx)                                                              \
    REFUSE(ZSTD##version##_createDCtx)                                                             \
    REFUSE(ZSTD##version##_decompress_usingDict)                                                   \
    REFUSE(ZSTD##version##_findFrameSizeInfoLegacy)                                                \
    REFUSE(ZSTD##version##_freeDCtx)                                                               \
    REFUSE(ZSTD##version##_getFrameParams)

REFUSE_FORMAT(v05)
REFUSE_FORMAT(v06)
REFUSE_FORMAT(v07)

/* --- LZ4: after the frame's magic number blocks, each behind its length --- */

enum { LZ4_BLOCK_MAX = 8 << 20 }; /* of what a block becomes */

/* Takes the next @len bytes. Returns 0, -ENODATA if there are fewer, or -errno. */
static int take(struct reader *reader, void *to, size_t len)
{
    uint8_t *at = to;

    while (len > 0) {
        int err = reader_need(reader);
        if (err)
            return err;
        size_t some = reader->end - reader->start < len ? reader->end - reader->start : len;
        memcpy(at, reader->bytes + reader->start, some);
        reader->start += some;
        at += some;
        len -= some;
    }
    return 0;
}

/* Unpacks a block, of @len bytes, to @buf. Returns how many bytes it became, or -errno. */
static int unpack_lz4_block(struct reader *reader, uint32_t len, char *buf, size_t room)
{
    const int capacity = room < LZ4_BLOCK_MAX ? (int)room : LZ4_BLOCK_MAX;

    if (len > LZ4_COMPRESSBOUND(LZ4_BLOCK_MAX))
        return -EBADMSG;
    AUTO_FREE char *block = malloc(len ? len : 1);
    if (!block)
        return -ENOMEM;
    int err = take(reader, block, len);
    if (err)
        return err;
    int done = LZ4_decompress_safe(block, buf, (int)len, capacity);
    if (done >= 0)
        return done;
    /* It does not tell a block that is damaged from one that is too large; this one ends, without
     * an error, where there is no more room. */
    done = LZ4_decompress_safe_partial(block, buf, (int)len, capacity, capacity);
    return done == capacity && capacity < LZ4_BLOCK_MAX ? -EFBIG : -EBADMSG;
}

static int unpack_lz4(struct reader *reader, void *buf, size_t capacity, size_t *ret)
{
    uint8_t word[MAGIC_SIZE];
    int err = take(reader, word, sizeof(word));

    *ret = 0;
    if (!err && memcmp(word, lz4_magic, sizeof(lz4_magic)) != 0)
        err = -EBADMSG;
    while (!err) {
        err = reader_need(reader);
        if (err == -ENODATA)
            return 0;
        if (!err)
            err = take(reader, word, sizeof(word));
        if (err || memcmp(word, lz4_magic, sizeof(lz4_magic)) == 0)
            continue; /* of the next frame */
        int len =
            unpack_lz4_block(reader, little_endian(word), (char *)buf + *ret, capacity - *ret);
        if (len < 0)
            return len;
        *ret += (size_t)len;
    }
    return err;
}

int unpack(enum unpack_format format, const struct unpack_input *in, void *buf, size_t capacity,
           size_t *ret)
{
    AUTO_FREE struct reader *reader = malloc(sizeof(*reader));

    if (!reader)
        return -ENOMEM;
    reader->fd = in->fd;
    reader->offset = in->offset;
    reader->left = in->size;
    reader->start = reader->end = 0;
    if (capacity > UNPACK_MAX)
        capacity = UNPACK_MAX;
    switch (format) {
    case UNPACK_GZIP:
        return unpack_gzip(reader, buf, capacity, ret);
    case UNPACK_XZ:
        return unpack_xz(reader, buf, capacity, ret);
    case UNPACK_ZSTD:
        return unpack_zstd(reader, buf, capacity, ret);
    case UNPACK_LZ4:
        return unpack_lz4(reader, buf, capacity, ret);
    }
    return -EINVAL;
}
