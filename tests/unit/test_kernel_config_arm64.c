// SPDX-License-Identifier: Apache-2.0
/* What is found out about arm64's kernels, which tell it only when they are unpacked. */
#include "cli/kernel_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "scratch.h"

enum { IMAGE_HEADER_SIZE = 64, ZBOOT_HEADER_SIZE = 512, PACKED_MAX = 4096 };

static const char config_text[] = "CONFIG_ARM64=y\nCONFIG_VIRTIO_BLK=m\n";

struct fixture {
    char folder[32];
    char path[64]; /* of the image */
    uint8_t packed[PACKED_MAX];
    size_t packed_len;
};

static size_t pack(const uint8_t *data, size_t len, uint8_t *buf)
{
    z_stream stream = {
        .next_in = (uint8_t *)data, .avail_in = (uInt)len, .next_out = buf, .avail_out = PACKED_MAX
    };

    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(deflateEnd(&stream), Z_OK);
    return stream.total_out;
}

static void write_file(const char *path, const void *first, size_t first_len, const void *rest,
                       size_t rest_len)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(first, 1, first_len, file), first_len);
    assert_int_equal(fwrite(rest, 1, rest_len, file), rest_len);
    assert_int_equal(fclose(file), 0);
}

/* Packs an Image with a banner, and behind it @inside as IKCONFIG=y leaves it there; NULL: nothing.
 */
static void pack_image(struct fixture *f, const char *inside)
{
    static const char banner[] = "Linux version 6.6.6-test (me@here) #1 SMP";
    uint8_t image[PACKED_MAX] = { [56] = 'A', 'R', 'M', 0x64 };
    size_t len = IMAGE_HEADER_SIZE + sizeof(banner);

    memcpy(image + IMAGE_HEADER_SIZE, banner, sizeof(banner));
    if (inside) {
        uint8_t text[PACKED_MAX];
        size_t text_len = pack((const uint8_t *)inside, strlen(inside), text);
        memcpy(image + len, "IKCFG_ST", 8);
        memcpy(image + len + 8, text, text_len);
        memcpy(image + len + 8 + text_len, "IKCFG_ED", 8);
        len += text_len + 16;
    }
    f->packed_len = pack(image, len, f->packed);
}

static void write_gzip(struct fixture *f)
{
    write_file(f->path, f->packed, f->packed_len, "", 0);
}

static void write_zboot(struct fixture *f)
{
    uint8_t header[ZBOOT_HEADER_SIZE] = "MZ\0\0zimg\0\2\0";

    header[12] = (uint8_t)f->packed_len;
    header[13] = (uint8_t)(f->packed_len >> 8);
    memcpy(header + 24, "gzip", 4);
    write_file(f->path, header, sizeof(header), f->packed, f->packed_len);
}

static void (*const write_any[])(struct fixture *) = { write_gzip, write_zboot };

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    if (!f)
        return -1;
    strcpy(f->folder, "/tmp/hutch-kernel.XXXXXX");
    if (!scratch_make(f->folder))
        return -1;
    (void)snprintf(f->path, sizeof(f->path), "%s/kernel", f->folder);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    scratch_remove(f->folder);
    free(f);
    return 0;
}

static void the_release_is_told_by_the_kernel_inside(void **state)
{
    struct fixture *f = *state;
    char release[KERNEL_RELEASE_LEN];
    pack_image(f, NULL);

    for (size_t i = 0; i < 2; i++) {
        write_any[i](f);

        assert_int_equal(kernel_release_read(f->path, release), 0);
        assert_string_equal(release, "6.6.6-test");
        assert_int_equal(kernel_release_peek(f->path, release), -ENOENT);
    }
}

static void the_configuration_beside_it_is_found_by_that_release(void **state)
{
    struct fixture *f = *state;
    struct kernel_config config;
    char beside[128];
    pack_image(f, NULL);
    (void)snprintf(beside, sizeof(beside), "%s/config-6.6.6-test", f->folder);
    write_file(beside, config_text, strlen(config_text), "", 0);

    for (size_t i = 0; i < 2; i++) {
        write_any[i](f);

        assert_int_equal(kernel_config_read(f->path, &config), 0);
        assert_string_equal(config.release, "6.6.6-test");
        assert_string_equal(config.source, beside);
        assert_int_equal(kernel_config_value(&config, "VIRTIO_BLK"), CONFIG_MODULE);
        kernel_config_fini(&config);
    }
}

static void the_configuration_inside_it_is_read(void **state)
{
    struct fixture *f = *state;
    struct kernel_config config;
    pack_image(f, config_text);

    for (size_t i = 0; i < 2; i++) {
        write_any[i](f);

        assert_int_equal(kernel_config_read(f->path, &config), 0);
        assert_string_equal(config.release, "6.6.6-test");
        assert_string_equal(config.source, "the image itself");
        assert_int_equal(kernel_config_value(&config, "ARM64"), CONFIG_BUILT_IN);
        kernel_config_fini(&config);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_release_is_told_by_the_kernel_inside),
        TEST(the_configuration_beside_it_is_found_by_that_release),
        TEST(the_configuration_inside_it_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
