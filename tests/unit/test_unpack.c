// SPDX-License-Identifier: Apache-2.0
/* gzip, xz, zstd and LZ4, each whole, damaged, cut off, with company, and larger than there is room
 * for.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "boot/unpack.h"
#include "host/fd.h"

enum { TEXT_SIZE = 300000, ROOM = 2 * TEXT_SIZE, BEFORE = 1000, GUARD = 64 };

/* A text that does not compress to nothing, packed in any format. */
struct fixture {
    uint8_t text[TEXT_SIZE];
    uint8_t packed[ROOM];
    size_t packed_len;
    uint8_t result[ROOM + GUARD];
    size_t result_len;
};

static struct fixture *fixture_create(void)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    uint32_t random = 1;

    assert_non_null(fixture);
    for (size_t i = 0; i < TEXT_SIZE; i++) {
        random = random * 1103515245 + 12345;
        fixture->text[i] = (uint8_t)(random >> 28);
    }
    return fixture;
}

/* Appends @len bytes of the text, from @from on, as a member or frame with a checksum. */
static void pack(struct fixture *fixture, enum unpack_format format, size_t from, size_t len)
{
    uint8_t *to = fixture->packed + fixture->packed_len;
    size_t room = ROOM - fixture->packed_len;

    if (format == UNPACK_GZIP) {
        z_stream stream = { .next_in = fixture->text + from,
                            .avail_in = (uInt)len,
                            .next_out = to,
                            .avail_out = (uInt)room };
        assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY),
                         Z_OK);
        assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
        fixture->packed_len += stream.total_out;
        assert_int_equal(deflateEnd(&stream), Z_OK);
    } else if (format == UNPACK_XZ) {
        assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, fixture->text + from,
                                                 len, fixture->packed, &fixture->packed_len, ROOM),
                         LZMA_OK);
    } else {
        ZSTD_CCtx *context = ZSTD_createCCtx();
        assert_non_null(context);
        assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)));
        size_t size = ZSTD_compress2(context, to, room, fixture->text + from, len);
        assert_false(ZSTD_isError(size));
        fixture->packed_len += size;
        (void)ZSTD_freeCCtx(context);
    }
}

static void append(struct fixture *fixture, const void *bytes, size_t len)
{
    memcpy(fixture->packed + fixture->packed_len, bytes, len);
    fixture->packed_len += len;
}

/* Unpacks from the middle of a file, into room for @capacity bytes with a guard behind it. */
static int run(struct fixture *fixture, enum unpack_format format, size_t capacity)
{
    static const uint8_t before[BEFORE];
    int fd = memfd_create("packed", MFD_CLOEXEC);
    struct unpack_input input = { fd, BEFORE, fixture->packed_len };

    assert_true(fd >= 0);
    assert_int_equal(fd_write_full(fd, before, sizeof(before)), 0);
    assert_int_equal(fd_write_full(fd, fixture->packed, fixture->packed_len), 0);
    assert_int_equal(fd_write_full(fd, "behind", 6), 0);
    memset(fixture->result + capacity, 0xee, GUARD);
    int err = unpack(format, &input, fixture->result, capacity, &fixture->result_len);
    for (size_t i = 0; i < GUARD; i++)
        assert_true(fixture->result[capacity + i] == 0xee);
    fd_close(&fd);
    return err;
}

static void assert_whole(const struct fixture *fixture)
{
    assert_int_equal(fixture->result_len, TEXT_SIZE);
    assert_memory_equal(fixture->result, fixture->text, TEXT_SIZE);
}

static const enum unpack_format formats[] = { UNPACK_GZIP, UNPACK_XZ, UNPACK_ZSTD };
#define FOR_EACH_FORMAT                                                                            \
    for (const enum unpack_format *format = formats; format < formats + 3; format++)

static void what_was_packed_comes_back(void **state)
{
    (void)state;

    FOR_EACH_FORMAT
    {
        struct fixture *fixture = fixture_create();
        enum unpack_format found;
        pack(fixture, *format, 0, TEXT_SIZE);

        assert_true(unpack_recognise(fixture->packed, &found));
        assert_int_equal(found, *format);
        assert_int_equal(run(fixture, *format, ROOM), 0);

        assert_whole(fixture);
        free(fixture);
    }
}

static void nothing_packed_is_nothing_unpacked(void **state)
{
    (void)state;

    FOR_EACH_FORMAT
    {
        struct fixture *fixture = fixture_create();
        pack(fixture, *format, 0, 0);

        assert_int_equal(run(fixture, *format, ROOM), 0);

        assert_int_equal(fixture->result_len, 0);
        free(fixture);
    }
}

static void members_in_a_row_are_joined(void **state)
{
    (void)state;

    FOR_EACH_FORMAT
    {
        struct fixture *fixture = fixture_create();
        pack(fixture, *format, 0, 100000);
        pack(fixture, *format, 100000, 1);
        pack(fixture, *format, 100001, TEXT_SIZE - 100001);

        assert_int_equal(run(fixture, *format, ROOM), 0);

        assert_whole(fixture);
        free(fixture);
    }
}

static void zstd_skips_what_is_to_be_skipped(void **state)
{
    static const uint8_t skippable[] = { 0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c' };
    struct fixture *fixture = fixture_create();
    (void)state;
    pack(fixture, UNPACK_ZSTD, 0, 1000);
    append(fixture, skippable, sizeof(skippable));
    pack(fixture, UNPACK_ZSTD, 1000, TEXT_SIZE - 1000);

    assert_int_equal(run(fixture, UNPACK_ZSTD, ROOM), 0);

    assert_whole(fixture);
    free(fixture);
}

static void other_bytes_behind_the_end_are_left_alone(void **state)
{
    static const char *const tails[] = { "\1", "\1\2\3", "\1\2\3\4", "a signature, say" };
    (void)state;

    FOR_EACH_FORMAT
    {
        for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
            struct fixture *fixture = fixture_create();
            pack(fixture, *format, 0, TEXT_SIZE);
            append(fixture, tails[i], strlen(tails[i]));

            assert_int_equal(run(fixture, *format, ROOM), 0);

            assert_whole(fixture);
            free(fixture);
        }
    }
}

static void room_for_exactly_all_is_enough(void **state)
{
    (void)state;

    FOR_EACH_FORMAT
    {
        struct fixture *fixture = fixture_create();
        pack(fixture, *format, 0, TEXT_SIZE);

        assert_int_equal(run(fixture, *format, TEXT_SIZE), 0);

        assert_whole(fixture);
        free(fixture);
    }
}

static void one_byte_too_little_room_is_told(void **state)
{
    (void)state;

    FOR_EACH_FORMAT
    {
        struct fixture *fixture = fixture_create();
        pack(fixture, *format, 0, 1000);
        pack(fixture, *format, 1000, TEXT_SIZE - 1000);

        assert_int_equal(run(fixture, *format, TEXT_SIZE - 1), -EFBIG);
        assert_int_equal(run(fixture, *format, 1000), -EFBIG);
        assert_int_equal(run(fixture, *format, 1), -EFBIG);

        free(fixture);
    }
}

/* A frame whose header does not say how much is in it. */
static void zstd_without_a_size_is_bounded_all_the_same(void **state)
{
    struct fixture *fixture = fixture_create();
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_inBuffer in = { fixture->text, TEXT_SIZE, 0 };
    ZSTD_outBuffer out = { fixture->packed, ROOM, 0 };
    (void)state;
    assert_non_null(context);
    assert_false(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue)));
    assert_int_equal(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
    (void)ZSTD_freeCCtx(context);
    fixture->packed_len = out.pos;
    assert_int_equal(ZSTD_getFrameContentSize(fixture->packed, out.pos), ZSTD_CONTENTSIZE_UNKNOWN);

    assert_int_equal(run(fixture, UNPACK_ZSTD, TEXT_SIZE - 1), -EFBIG);
    assert_int_equal(run(fixture, UNPACK_ZSTD, TEXT_SIZE), 0);

    assert_whole(fixture);
    free(fixture);
}

static void what_is_cut_off_anywhere_is_told(void **state)
{
    (void)state;

    FOR_EACH_FORMAT
    {
        struct fixture *fixture = fixture_create();
        pack(fixture, *format, 0, 2000);
        for (fixture->packed_len--; fixture->packed_len > 0; fixture->packed_len--)
            assert_int_equal(run(fixture, *format, ROOM), -ENODATA);
        assert_int_equal(run(fixture, *format, ROOM), -ENODATA);
        free(fixture);
    }
}

static void a_file_that_is_shorter_than_said_is_told(void **state)
{
    int fd = memfd_create("packed", MFD_CLOEXEC);
    const struct unpack_input input = { fd, 0, 1000 };
    uint8_t result[100];
    size_t len;
    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(fd_write_full(fd, "\x1f\x8b\x08", 3), 0);

    assert_int_equal(unpack(UNPACK_GZIP, &input, result, sizeof(result), &len), -ENODATA);

    fd_close(&fd);
}

static void a_wrong_checksum_is_damage(void **state)
{
    /* gzip has the length behind it, xz an index of 12 bytes here and a footer of 12, zstd nothing.
     */
    static const size_t behind[] = { [UNPACK_GZIP] = 8, [UNPACK_XZ] = 28, [UNPACK_ZSTD] = 4 };
    (void)state;

    FOR_EACH_FORMAT
    {
        struct fixture *fixture = fixture_create();
        pack(fixture, *format, 0, TEXT_SIZE);
        fixture->packed[fixture->packed_len - behind[*format]] ^= 1;

        assert_int_equal(run(fixture, *format, ROOM), -EBADMSG);

        free(fixture);
    }
}

static void a_wrong_length_of_gzip_is_damage(void **state)
{
    struct fixture *fixture = fixture_create();
    (void)state;
    pack(fixture, UNPACK_GZIP, 0, TEXT_SIZE);
    fixture->packed[fixture->packed_len - 4] ^= 1;

    assert_int_equal(run(fixture, UNPACK_GZIP, ROOM), -EBADMSG);

    free(fixture);
}

static void a_broken_beginning_is_damage(void **state)
{
    (void)state;

    FOR_EACH_FORMAT
    {
        struct fixture *fixture = fixture_create();
        enum unpack_format found;
        pack(fixture, *format, 0, TEXT_SIZE);
        fixture->packed[1] ^= 1;

        assert_false(unpack_recognise(fixture->packed, &found));
        assert_int_equal(run(fixture, *format, ROOM), -EBADMSG);

        free(fixture);
    }
}

/* Has the header of a block of xz, behind that of the stream, want a dictionary of @size bytes. (To
 * pack with one takes five times its size, which not every machine has.)
 */
static void want_dictionary(uint8_t *packed, uint32_t size)
{
    uint8_t *header = packed + LZMA_STREAM_HEADER_SIZE;
    lzma_filter filters[LZMA_FILTERS_MAX + 1];
    lzma_block block = { .check = LZMA_CHECK_CRC32, .filters = filters };

    block.header_size = lzma_block_header_size_decode(header[0]);
    assert_int_equal(lzma_block_header_decode(&block, NULL, header), LZMA_OK);
    ((lzma_options_lzma *)filters[0].options)->dict_size = size;
    assert_int_equal(lzma_block_header_encode(&block, header), LZMA_OK);
    free(filters[0].options);
}

/* A small one would be enough for the text, but a stream says what it wants before. */
static void xz_that_asks_for_much_memory_gets_none(void **state)
{
    struct fixture *fixture = fixture_create();
    (void)state;
    pack(fixture, UNPACK_XZ, 0, 1000);
    want_dictionary(fixture->packed, 64 << 20);
    assert_int_equal(run(fixture, UNPACK_XZ, ROOM), 0);

    want_dictionary(fixture->packed, 512 << 20);
    assert_int_equal(run(fixture, UNPACK_XZ, ROOM), -ENOMEM);

    free(fixture);
}

/* Their magic numbers are 0xfd2fb522 to 27. */
static void what_early_versions_of_zstd_wrote_is_not_taken(void **state)
{
    struct fixture *fixture = fixture_create();
    (void)state;

    for (uint8_t version = 0x22; version <= 0x27; version++) {
        const uint8_t head[] = { version, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0 };
        fixture->packed_len = 0;
        append(fixture, head, sizeof(head));
        assert_int_equal(run(fixture, UNPACK_ZSTD, ROOM), -EBADMSG);
    }
    free(fixture);
}

/* --- LZ4, which has no checksums, and tells its end by nothing --- */

static const uint8_t lz4_magic[] = { 0x02, 0x21, 0x4c, 0x18 };

static void append_lz4(struct fixture *fixture, const void *block, size_t len)
{
    const uint8_t head[] = { (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16), 0 };

    append(fixture, head, sizeof(head));
    append(fixture, block, len);
}

/* Appends @len bytes of the text, from @from on, as a block. */
static void pack_lz4(struct fixture *fixture, size_t from, size_t len)
{
    char *block = malloc((size_t)LZ4_compressBound((int)len));
    assert_non_null(block);
    int size = LZ4_compress_default((const char *)fixture->text + from, block, (int)len,
                                    LZ4_compressBound((int)len));

    assert_true(size > 0);
    append_lz4(fixture, block, (size_t)size);
    free(block);
}

/* What one block in a frame comes to. */
static int run_lz4(struct fixture *fixture, const void *block, size_t len)
{
    fixture->packed_len = 0;
    append(fixture, lz4_magic, sizeof(lz4_magic));
    append_lz4(fixture, block, len);
    return run(fixture, UNPACK_LZ4, ROOM);
}

static void lz4_blocks_and_frames_in_a_row_are_joined(void **state)
{
    struct fixture *fixture = fixture_create();
    enum unpack_format found;
    (void)state;
    append(fixture, lz4_magic, sizeof(lz4_magic));
    pack_lz4(fixture, 0, 100000);
    pack_lz4(fixture, 100000, 100001);
    append(fixture, lz4_magic, sizeof(lz4_magic));
    pack_lz4(fixture, 200001, TEXT_SIZE - 200001);

    assert_true(unpack_recognise(fixture->packed, &found));
    assert_int_equal(found, UNPACK_LZ4);
    assert_int_equal(run(fixture, UNPACK_LZ4, TEXT_SIZE), 0);
    assert_whole(fixture);
    assert_int_equal(run(fixture, UNPACK_LZ4, TEXT_SIZE - 1), -EFBIG);
    assert_int_equal(run(fixture, UNPACK_LZ4, 100000), -EFBIG);
    assert_int_equal(run(fixture, UNPACK_LZ4, 0), -EFBIG);
    free(fixture);
}

static void broken_lz4_is_told(void **state)
{
    struct fixture *fixture = fixture_create();
    const uint8_t good[] = { 0x50, 'a', 'b', 'c', 'd', 'e' };
    const uint8_t from_before[] = { 0x10, 'a', 2, 0, 0x50, 'a', 'b', 'c', 'd', 'e' };
    const uint8_t too_short[] = { 0x60, 'a', 'b', 'c', 'd', 'e' };
    const uint8_t half_an_offset[] = { 0x10, 'a', 1 };
    const uint8_t too_long[] = { 0, 0, 0, 1 };
    (void)state;

    assert_int_equal(run_lz4(fixture, good, sizeof(good)), 0);
    assert_int_equal(fixture->result_len, 5);
    assert_int_equal(run_lz4(fixture, from_before, sizeof(from_before)), -EBADMSG);
    assert_int_equal(run_lz4(fixture, too_short, sizeof(too_short)), -EBADMSG);
    assert_int_equal(run_lz4(fixture, half_an_offset, sizeof(half_an_offset)), -EBADMSG);
    assert_int_equal(run_lz4(fixture, "", 0), -EBADMSG);
    fixture->packed_len = sizeof(lz4_magic);
    append(fixture, too_long, sizeof(too_long));
    assert_int_equal(run(fixture, UNPACK_LZ4, ROOM), -EBADMSG);
    fixture->packed[0] ^= 1;
    assert_int_equal(run(fixture, UNPACK_LZ4, ROOM), -EBADMSG);
    free(fixture);
}

static void lz4_that_is_cut_off_is_told(void **state)
{
    struct fixture *fixture = fixture_create();
    (void)state;
    append(fixture, lz4_magic, sizeof(lz4_magic));
    pack_lz4(fixture, 0, 100);
    const size_t len = fixture->packed_len;

    for (fixture->packed_len = 0; fixture->packed_len < len; fixture->packed_len++) {
        int expected = fixture->packed_len == sizeof(lz4_magic) ? 0 : -ENODATA;
        assert_int_equal(run(fixture, UNPACK_LZ4, ROOM), expected);
    }
    assert_int_equal(run(fixture, UNPACK_LZ4, ROOM), 0);
    free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_packed_comes_back),
        cmocka_unit_test(nothing_packed_is_nothing_unpacked),
        cmocka_unit_test(members_in_a_row_are_joined),
        cmocka_unit_test(zstd_skips_what_is_to_be_skipped),
        cmocka_unit_test(other_bytes_behind_the_end_are_left_alone),
        cmocka_unit_test(room_for_exactly_all_is_enough),
        cmocka_unit_test(one_byte_too_little_room_is_told),
        cmocka_unit_test(zstd_without_a_size_is_bounded_all_the_same),
        cmocka_unit_test(what_is_cut_off_anywhere_is_told),
        cmocka_unit_test(a_file_that_is_shorter_than_said_is_told),
        cmocka_unit_test(a_wrong_checksum_is_damage),
        cmocka_unit_test(a_wrong_length_of_gzip_is_damage),
        cmocka_unit_test(a_broken_beginning_is_damage),
        cmocka_unit_test(xz_that_asks_for_much_memory_gets_none),
        cmocka_unit_test(what_early_versions_of_zstd_wrote_is_not_taken),
        cmocka_unit_test(lz4_blocks_and_frames_in_a_row_are_joined),
        cmocka_unit_test(broken_lz4_is_told),
        cmocka_unit_test(lz4_that_is_cut_off_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
