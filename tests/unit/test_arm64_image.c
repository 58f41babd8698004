// SPDX-License-Identifier: Apache-2.0
/* arm64's Image in each of its wrappings: where it goes, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libfdt.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "boot_fixture.h"

#define RAM_BASE UINT64_C(0x80000000)
enum { FILE_SIZE = 5000, IMAGE_SIZE = 3 << 20, WRAPPED_MAX = 16 << 10, ZBOOT_PAYLOAD = 0x200 };

/* A kernel of which all that is no header is 'k'. */
struct test_image {
    union {
        uint8_t bytes[FILE_SIZE];
        struct {
            uint32_t code[2];
            uint64_t text_offset, image_size, flags, reserved[3];
            char magic[4];
        };
    };
};

static struct test_image image_make(void)
{
    struct test_image image;

    memset(image.bytes, 'k', sizeof(image.bytes));
    image.text_offset = 0;
    image.image_size = IMAGE_SIZE;
    image.flags = 2;
    memcpy(image.magic, "ARM\x64", 4);
    return image;
}

/* A wrapped kernel. */
struct wrapped {
    uint8_t bytes[WRAPPED_MAX];
    size_t len;
};

static void wrap_gzip(struct wrapped *out, const void *data, size_t len)
{
    z_stream stream = { .next_in = (uint8_t *)data,
                        .avail_in = (uInt)len,
                        .next_out = out->bytes + out->len,
                        .avail_out = (uInt)(WRAPPED_MAX - out->len) };

    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out->len += stream.total_out;
    assert_int_equal(deflateEnd(&stream), Z_OK);
}

static void wrap_zstd(struct wrapped *out, const void *data, size_t len)
{
    size_t size = ZSTD_compress(out->bytes + out->len, WRAPPED_MAX - out->len, data, len, 3);

    assert_false(ZSTD_isError(size));
    out->len += size;
}

static void wrap_xz(struct wrapped *out, const void *data, size_t len)
{
    assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, data, len, out->bytes,
                                             &out->len, WRAPPED_MAX),
                     LZMA_OK);
}

/* One block in a legacy frame. */
static void wrap_lz4(struct wrapped *out, const void *data, size_t len)
{
    const uint32_t magic = 0x184c2102;
    uint8_t *frame = out->bytes + out->len;
    const size_t head = 2 * sizeof(magic);
    int size = LZ4_compress_default(data, (char *)frame + head, (int)len,
                                    (int)(WRAPPED_MAX - out->len - head));

    assert_true(size > 0);
    memcpy(frame, &magic, sizeof(magic));
    memcpy(frame + sizeof(magic), &size, sizeof(size));
    out->len += head + (size_t)size;
}

/* Behind a payload of another kind than gzip Linux puts the unpacked size. Its header leaves that
 * out of the payload's; but for LZ4, which tells no end of its own, it may be a part of it. */
static void wrap_zboot(struct wrapped *out, const char *compression, const void *data, size_t len)
{
    const uint32_t offset = ZBOOT_PAYLOAD, unpacked = (uint32_t)len;

    *out = (struct wrapped){ .len = ZBOOT_PAYLOAD };
    memcpy(out->bytes, "MZ\0\0zimg", 8);
    strcpy((char *)out->bytes + 24, compression);
    if (!strcmp(compression, "gzip")) {
        wrap_gzip(out, data, len);
    } else if (!strcmp(compression, "lz4")) {
        wrap_lz4(out, data, len);
    } else {
        if (!strcmp(compression, "xzkern"))
            wrap_xz(out, data, len);
        else
            wrap_zstd(out, data, len);
        memcpy(out->bytes + out->len, &unpacked, 4);
        out->len += 4;
    }
    const uint32_t size = (uint32_t)out->len - ZBOOT_PAYLOAD;
    memcpy(out->bytes + 8, &offset, 4);
    memcpy(out->bytes + 12, &size, 4);
    memcpy(out->bytes + out->len, "the rest of it", 14);
    out->len += 14;
}

static void init(struct fixture *fixture, uint64_t ram_size)
{
    fixture_init_at(fixture, RAM_BASE, ram_size);
    fixture->loader = &arm64_image_loader;
}

static void write_image(struct fixture *fixture, const struct test_image *image)
{
    write_file(fixture->kernel, image->bytes, sizeof(image->bytes));
}

static void write_wrapped(struct fixture *fixture, const struct wrapped *wrapped)
{
    write_file(fixture->kernel, wrapped->bytes, wrapped->len);
}

static void assert_image_at(const struct fixture *fixture, uint64_t gpa,
                            const struct test_image *image)
{
    const void *there = guest_mem_at(fixture->mem, gpa, sizeof(image->bytes));

    assert_non_null(there);
    assert_memory_equal(there, image->bytes, sizeof(image->bytes));
}

static void assert_booted_at(const struct fixture *fixture, uint64_t gpa,
                             const struct test_image *image)
{
    assert_int_equal(fixture->entry.mode, CPU_ENTRY_ARM64);
    assert_int_equal(fixture->entry.address, gpa);
    assert_image_at(fixture, gpa, image);
}

static uint64_t chosen(const struct fixture *fixture, const char *name)
{
    const void *tree = guest_mem_at(fixture->mem, fixture->entry.argument, 2 * MIB);
    assert_non_null(tree);
    int len, node = fdt_path_offset(tree, "/chosen");
    const fdt64_t *value = fdt_getprop(tree, node, name, &len);

    assert_non_null(value);
    assert_int_equal(len, 8);
    return fdt64_ld(value);
}

static void a_kernel_lies_at_the_start_of_ram(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    (void)state;
    init(&fixture, 64 * MIB);
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    assert_booted_at(&fixture, RAM_BASE, &image);
    fixture_fini(&fixture);
}

static void an_old_kernel_lies_at_the_offset_it_wants(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    (void)state;
    init(&fixture, 64 * MIB);
    image.text_offset = 0x80000;
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    assert_booted_at(&fixture, RAM_BASE + 0x80000, &image);
    fixture_fini(&fixture);
}

static void ram_that_starts_anywhere_has_the_kernel_at_whole_2_mib(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    (void)state;
    fixture_init_at(&fixture, RAM_BASE + 64 * KIB, 64 * MIB);
    fixture.loader = &arm64_image_loader;
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    assert_booted_at(&fixture, RAM_BASE + 2 * MIB, &image);
    fixture_fini(&fixture);
}

static void every_wrapping_is_taken_off(void **state)
{
    struct test_image image = image_make();
    struct wrapped cases[8] = { 0 };
    (void)state;
    wrap_gzip(&cases[0], image.bytes, sizeof(image.bytes));
    wrap_zstd(&cases[1], image.bytes, sizeof(image.bytes));
    wrap_zboot(&cases[2], "gzip", image.bytes, sizeof(image.bytes));
    wrap_zboot(&cases[3], "zstd", image.bytes, sizeof(image.bytes));
    wrap_xz(&cases[4], image.bytes, sizeof(image.bytes));
    wrap_zboot(&cases[5], "xzkern", image.bytes, sizeof(image.bytes));
    wrap_lz4(&cases[6], image.bytes, sizeof(image.bytes));
    wrap_zboot(&cases[7], "lz4", image.bytes, sizeof(image.bytes));

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        init(&fixture, 64 * MIB);
        write_wrapped(&fixture, &cases[i]);
        assert_int_equal(fixture_boot(&fixture, "", false), 0);
        assert_booted_at(&fixture, RAM_BASE, &image);
        fixture_fini(&fixture);
    }
}

static void an_unpacked_kernel_lies_at_its_offset_too(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    struct wrapped wrapped = { .len = 0 };
    (void)state;
    init(&fixture, 64 * MIB);
    image.text_offset = 0x1000;
    wrap_gzip(&wrapped, image.bytes, sizeof(image.bytes));
    write_wrapped(&fixture, &wrapped);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    assert_booted_at(&fixture, RAM_BASE + 0x1000, &image);
    fixture_fini(&fixture);
}

static void the_device_tree_lies_behind_what_the_kernel_asks_for(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    (void)state;
    init(&fixture, 64 * MIB);
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "quiet", false), 0);

    assert_int_equal(fixture.entry.argument, RAM_BASE + 4 * MIB);
    const void *tree = guest_mem_at(fixture.mem, fixture.entry.argument, 2 * MIB);
    assert_int_equal(fdt_check_full(tree, 2 * MIB), 0);
    assert_string_equal(fdt_getprop(tree, fdt_path_offset(tree, "/chosen"), "bootargs", NULL),
                        "quiet");
    fixture_fini(&fixture);
}

static void the_initrd_lies_at_the_end_of_ram_and_the_kernel_is_told(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    (void)state;
    init(&fixture, 64 * MIB);
    write_image(&fixture, &image);
    write_file(fixture.initrd, "initrd", 6);

    assert_int_equal(fixture_boot(&fixture, "", true), 0);

    uint64_t start = chosen(&fixture, "linux,initrd-start");
    assert_int_equal(start, RAM_BASE + 64 * MIB - 4096);
    assert_int_equal(chosen(&fixture, "linux,initrd-end"), start + 6);
    assert_memory_equal(guest_mem_at(fixture.mem, start, 6), "initrd", 6);
    fixture_fini(&fixture);
}

static void in_a_large_machine_the_initrd_stays_near_the_kernel(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    (void)state;
    init(&fixture, 40 * GIB);
    write_image(&fixture, &image);
    write_file(fixture.initrd, "initrd", 6);

    assert_int_equal(fixture_boot(&fixture, "", true), 0);

    assert_int_equal(chosen(&fixture, "linux,initrd-start"), RAM_BASE + 32 * GIB - 4096);
    fixture_fini(&fixture);
}

/* Kernel 3 MiB and up to 4, tree 2 MiB. */
static void ram_that_is_just_enough_is(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    (void)state;
    init(&fixture, 6 * MIB);
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "", false), 0);

    fixture_fini(&fixture);
}

static void ram_that_is_too_small_is_told_with_what_is_needed(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    struct wrapped wrapped = { .len = 0 };
    (void)state;
    init(&fixture, 5 * MIB);
    write_image(&fixture, &image);

    assert_int_equal(fixture_boot(&fixture, "", false), -ENOMEM);
    assert_said(&fixture, "needs 6 MiB of RAM to start, the guest has 5 MiB");
    wrap_zstd(&wrapped, image.bytes, sizeof(image.bytes));
    write_wrapped(&fixture, &wrapped);
    assert_int_equal(fixture_boot(&fixture, "", false), -ENOMEM);
    assert_said(&fixture, "needs 6 MiB of RAM to start, the guest has 5 MiB");

    fixture_fini(&fixture);
}

static void an_initrd_that_does_not_fit_is_told_with_what_is_needed(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    (void)state;
    init(&fixture, 8 * MIB);
    write_image(&fixture, &image);
    write_sparse_file(fixture.initrd, 2 * MIB + 1);

    assert_int_equal(fixture_boot(&fixture, "", true), -ENOMEM);

    assert_said(&fixture, "need 9 MiB of RAM to start, the guest has 8 MiB");
    fixture_fini(&fixture);
}

static void headers_that_make_no_sense_are_refused(void **state)
{
    static const struct {
        uint64_t text_offset, image_size, flags;
        const char *words;
        int err;
    } cases[] = {
        { 0, 0, 0, "too old", -ENOEXEC },
        { 0, IMAGE_SIZE, 1, "big-endian", -ENOEXEC },
        { UINT64_MAX, IMAGE_SIZE, 0, "asks for more memory than there can be", -ENOEXEC },
        { 0, UINT64_MAX, 0, "asks for more memory than there can be", -ENOEXEC },
        { UINT64_C(1) << 40, IMAGE_SIZE, 0, "needs 1048582 MiB", -ENOMEM },
        { 0, UINT64_C(1) << 40, 0, "needs 1048578 MiB", -ENOMEM },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        struct test_image image = image_make();
        struct wrapped wrapped = { .len = 0 };
        init(&fixture, 64 * MIB);
        image.text_offset = cases[i].text_offset;
        image.image_size = cases[i].image_size;
        image.flags = cases[i].flags;
        write_image(&fixture, &image);
        assert_int_equal(fixture_boot(&fixture, "", false), cases[i].err);
        assert_said(&fixture, cases[i].words);
        wrap_gzip(&wrapped, image.bytes, sizeof(image.bytes));
        write_wrapped(&fixture, &wrapped);
        assert_int_equal(fixture_boot(&fixture, "", false), cases[i].err);
        assert_said(&fixture, cases[i].words);
        fixture_fini(&fixture);
    }
}

static void pages_that_the_cpu_does_not_have_are_refused(void **state)
{
    enum { PAGES_4K = 1 << 1, PAGES_16K = 2 << 1, PAGES_64K = 3 << 1 };
    static const struct {
        uint64_t flags, offered;
        const char *words; /* NULL: it boots */
    } cases[] = {
        { PAGES_4K, 4096, NULL },
        { PAGES_64K, 4096 | 65536, NULL },
        { 0, 4096, NULL },
        { PAGES_64K, 0, NULL },
        { PAGES_4K, 16384 | 65536,
          "pages of 4 KiB, which this host's CPU does not have; take one "
          "with pages of 16 KiB" },
        { PAGES_16K, 4096 | 65536, "pages of 16 KiB, which this host's CPU does not have" },
        { PAGES_64K, 4096 | 16384,
          "pages of 64 KiB, which this host's CPU does not have; take one "
          "with pages of 4 KiB" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        struct test_image image = image_make();
        init(&fixture, 64 * MIB);
        image.flags = cases[i].flags;
        fixture.page_sizes = cases[i].offered;
        write_image(&fixture, &image);
        assert_int_equal(fixture_boot(&fixture, "", false), cases[i].words ? -ENOEXEC : 0);
        if (cases[i].words)
            assert_said(&fixture, cases[i].words);
        fixture_fini(&fixture);
    }
}

static void a_wrapping_with_something_else_inside_is_refused(void **state)
{
    static const char text[] = "MZ, but not from here";
    struct wrapped cases[3] = { 0 };
    (void)state;
    wrap_gzip(&cases[0], text, sizeof(text));
    wrap_zboot(&cases[1], "zstd", text, sizeof(text));
    wrap_gzip(&cases[2], text, 0);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        init(&fixture, 64 * MIB);
        write_wrapped(&fixture, &cases[i]);
        assert_int_equal(fixture_boot(&fixture, "", false), -ENOEXEC);
        assert_said(&fixture, "what is inside is no arm64 Image");
        fixture_fini(&fixture);
    }
}

static void a_zboot_image_of_another_compression_is_named(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    struct wrapped wrapped;
    (void)state;
    init(&fixture, 64 * MIB);
    wrap_zboot(&wrapped, "lzo", image.bytes, sizeof(image.bytes));
    memcpy(wrapped.bytes + ZBOOT_PAYLOAD, "\x89LZO", 4);
    write_wrapped(&fixture, &wrapped);

    assert_int_equal(fixture_boot(&fixture, "", false), -ENOEXEC);

    assert_said(&fixture, "compressed with 'lzo'");
    fixture_fini(&fixture);
}

static void what_is_cut_off_is_told(void **state)
{
    struct test_image image = image_make();
    struct wrapped cases[3] = { 0 };
    (void)state;
    wrap_gzip(&cases[0], image.bytes, sizeof(image.bytes));
    wrap_zboot(&cases[1], "gzip", image.bytes, sizeof(image.bytes));
    wrap_zboot(&cases[2], "zstd", image.bytes, sizeof(image.bytes));

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        init(&fixture, 64 * MIB);
        cases[i].len -= 30;
        write_wrapped(&fixture, &cases[i]);
        assert_int_equal(fixture_boot(&fixture, "", false), -ENOEXEC);
        assert_said(&fixture, "cut off: it has");
        fixture_fini(&fixture);
    }
}

static void a_damaged_kernel_is_refused(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    struct wrapped wrapped = { .len = 0 };
    (void)state;
    init(&fixture, 64 * MIB);
    wrap_gzip(&wrapped, image.bytes, sizeof(image.bytes));
    wrapped.bytes[wrapped.len - 8] ^= 1; /* the checksum */
    write_wrapped(&fixture, &wrapped);

    assert_int_equal(fixture_boot(&fixture, "", false), -ENOEXEC);

    assert_said(&fixture, "damaged: it cannot be unpacked");
    fixture_fini(&fixture);
}

static void what_unpacks_to_more_than_the_guest_has_is_refused(void **state)
{
    enum { BOMB_SIZE = 9 << 20 };
    struct fixture fixture;
    struct wrapped wrapped = { .len = 0 };
    uint8_t *zeroes = calloc(1, BOMB_SIZE);
    (void)state;
    assert_non_null(zeroes);
    init(&fixture, 8 * MIB);
    wrap_gzip(&wrapped, zeroes, BOMB_SIZE);
    write_wrapped(&fixture, &wrapped);

    assert_int_equal(fixture_boot(&fixture, "", false), -ENOMEM);

    assert_said(&fixture, "unpacks to more than the guest's memory, 8 MiB");
    free(zeroes);
    fixture_fini(&fixture);
}

static void a_command_line_that_would_be_cut_off_is_refused(void **state)
{
    struct fixture fixture;
    struct test_image image = image_make();
    char cmdline[2049] = { 0 };
    (void)state;
    init(&fixture, 64 * MIB);
    write_image(&fixture, &image);
    memset(cmdline, 'x', 2048);

    assert_int_equal(fixture_boot(&fixture, cmdline, false), -E2BIG);
    assert_said(&fixture, "2048 bytes");
    cmdline[2047] = '\0';
    assert_int_equal(fixture_boot(&fixture, cmdline, false), 0);

    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_lies_at_the_start_of_ram),
        cmocka_unit_test(an_old_kernel_lies_at_the_offset_it_wants),
        cmocka_unit_test(ram_that_starts_anywhere_has_the_kernel_at_whole_2_mib),
        cmocka_unit_test(every_wrapping_is_taken_off),
        cmocka_unit_test(an_unpacked_kernel_lies_at_its_offset_too),
        cmocka_unit_test(the_device_tree_lies_behind_what_the_kernel_asks_for),
        cmocka_unit_test(the_initrd_lies_at_the_end_of_ram_and_the_kernel_is_told),
        cmocka_unit_test(in_a_large_machine_the_initrd_stays_near_the_kernel),
        cmocka_unit_test(ram_that_is_just_enough_is),
        cmocka_unit_test(ram_that_is_too_small_is_told_with_what_is_needed),
        cmocka_unit_test(an_initrd_that_does_not_fit_is_told_with_what_is_needed),
        cmocka_unit_test(headers_that_make_no_sense_are_refused),
        cmocka_unit_test(pages_that_the_cpu_does_not_have_are_refused),
        cmocka_unit_test(a_wrapping_with_something_else_inside_is_refused),
        cmocka_unit_test(a_zboot_image_of_another_compression_is_named),
        cmocka_unit_test(what_is_cut_off_is_told),
        cmocka_unit_test(a_damaged_kernel_is_refused),
        cmocka_unit_test(what_unpacks_to_more_than_the_guest_has_is_refused),
        cmocka_unit_test(a_command_line_that_would_be_cut_off_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
