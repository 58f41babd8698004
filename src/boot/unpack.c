// SPDX-License-Identifier: Apache-2.0
/* Unpacks gzip (RFC 1952) with zlib, xz with liblzma, Zstandard (RFC 8878) with libzstd, and LZ4 in
 * the frames that Linux packs itself in (lz4_Frame_format.md, "Legacy frame") by itself.
 *
 * All write straight to where the result is to be. zstd would otherwise keep what it wrote last
 * (its window) in memory of its own, up to 128 MiB of it; xz always does. */
#include "unpack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* --- LZ4: blocks, each behind its length, of sequences: literal bytes, then bytes again that were
 * written up to 64 KiB before (lz4_Block_format.md) --- */

enum { LZ4_LENGTH_MORE = 15, LZ4_MATCH_MIN = 4, LZ4_OFFSET_SIZE = 2 };

/* Where the result goes. */
struct lz4_output {
    uint8_t *at, *end, *block; /* the last: where this block began */
};

/* Takes the next bytes of the input, of which @left belong to the block. */
static int lz4_take(struct reader *reader, uint32_t *left, void *to, size_t len)
{
    uint8_t *at = to;

    if (len > *left)
        return -EBADMSG;
    *left -= (uint32_t)len;
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

/* A length that a token has only the beginning of. */
static int lz4_length(struct reader *reader, uint32_t *left, size_t *len)
{
    uint8_t more = UINT8_MAX;
    int err = 0;

    for (bool goes_on = *len == LZ4_LENGTH_MORE; !err && goes_on; goes_on = more == UINT8_MAX) {
        err = lz4_take(reader, left, &more, 1);
        *len += more;
    }
    return err;
}

static int lz4_literals(struct reader *reader, uint32_t *left, size_t len, struct lz4_output *out)
{
    int err = lz4_length(reader, left, &len);

    if (!err && len > (size_t)(out->end - out->at))
        err = -EFBIG;
    if (!err)
        err = lz4_take(reader, left, out->at, len);
    if (!err)
        out->at += len;
    return err;
}

static int lz4_match(struct reader *reader, uint32_t *left, size_t len, struct lz4_output *out)
{
    uint8_t bytes[LZ4_OFFSET_SIZE];
    int err = lz4_take(reader, left, bytes, sizeof(bytes));
    size_t offset = (size_t)bytes[1] << 8 | bytes[0];

    if (!err)
        err = lz4_length(reader, left, &len);
    len += LZ4_MATCH_MIN;
    if (!err && (offset == 0 || offset > (size_t)(out->at - out->block)))
        err = -EBADMSG;
    if (!err && len > (size_t)(out->end - out->at))
        err = -EFBIG;
    while (!err && len > 0) { /* it may go over into what it writes */
        size_t some = offset < len ? offset : len;
        memcpy(out->at, out->at - offset, some);
        out->at += some;
        len -= some;
    }
    return err;
}

static int lz4_block(struct reader *reader, uint32_t left, struct lz4_output *out)
{
    uint8_t token;
    int err = 0;

    out->block = out->at;
    while (!err && left > 0) {
        err = lz4_take(reader, &left, &token, sizeof(token));
        if (!err)
            err = lz4_literals(reader, &left, token >> 4, out);
        if (!err && left > 0) /* the last sequence has literals alone */
            err = lz4_match(reader, &left, token & 0xf, out);
    }
    return err;
}

static int unpack_lz4(struct reader *reader, void *buf, size_t capacity, size_t *ret)
{
    struct lz4_output out = { .at = buf, .end = (uint8_t *)buf + capacity };
    uint8_t word[MAGIC_SIZE];

    for (bool is_first = true;; is_first = false) {
        uint32_t room = sizeof(word);
        int err = is_first ? 0 : reader_need(reader);
        if (err == -ENODATA)
            break;
        if (!err)
            err = lz4_take(reader, &room, word, sizeof(word));
        bool is_magic = !err && memcmp(word, lz4_magic, sizeof(lz4_magic)) == 0;
        if (!err && is_first && !is_magic)
            err = -EBADMSG;
        if (!err && !is_magic)
            err = lz4_block(reader, little_endian(word), &out);
        if (err)
            return err;
    }
    *ret = (size_t)(out.at - (uint8_t *)buf);
    return 0;
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
