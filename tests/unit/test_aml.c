// SPDX-License-Identifier: Apache-2.0
/* The AML builder: lengths at the borders of their encodings, and buffers that are too small. That
 * whole tables mean what they should is test_acpi's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "boot/aml.h"

enum { OP_SCOPE = 0x10, NAME_LEN = 4 };

static uint8_t buffer[1 << 21];
static uint8_t filling[1 << 21];

/* Decodes a package length (ACPI 6.4, 20.2.4). Returns how many bytes it has. */
static size_t decode_length(const uint8_t *bytes, size_t *length)
{
    size_t more = bytes[0] >> 6;

    *length = bytes[0] & (more ? 0xf : 0x3f);
    for (size_t i = 0; i < more; i++)
        *length |= (size_t)bytes[1 + i] << (4 + 8 * i);
    return 1 + more;
}

/* Writes a scope that holds @content bytes with its name, and checks what its length says. */
static void assert_length_of(size_t content, size_t expected_bytes)
{
    struct aml aml;
    size_t length;

    memset(filling, 0xa3, sizeof(filling)); /* NoopOp */
    aml_init(&aml, buffer, sizeof(buffer));
    aml_open_scope(&aml, "_SB_");
    aml_bytes(&aml, filling, content - NAME_LEN);
    aml_close(&aml);
    int len = aml_fini(&aml);

    assert_true(len > 0);
    assert_int_equal(buffer[0], OP_SCOPE);
    assert_int_equal(decode_length(buffer + 1, &length), expected_bytes);
    assert_int_equal(length, (size_t)len - 1);
    assert_memory_equal(buffer + 1 + expected_bytes, "_SB_", NAME_LEN);
    assert_int_equal(buffer[len - 1], 0xa3);
}

static void lengths_are_encoded_in_as_few_bytes_as_they_take(void **state)
{
    static const struct {
        size_t content, bytes;
    } cases[] = {
        { 5, 1 },    { 62, 1 },      { 63, 2 },      { 4093, 2 },
        { 4094, 3 }, { 0xffffc, 3 }, { 0xffffd, 4 }, { 0x100000, 4 },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_length_of(cases[i].content, cases[i].bytes);
}

static void integers_take_the_shortest_form(void **state)
{
    static const uint8_t expected[] = {
        0x00, 0x01, 0x0a, 2, 0x0a, 0xff, 0x0b, 0x00, 0x01, 0x0b, 0xff, 0xff, 0x0c,
        0,    0,    1,    0, 0x0e, 0,    0,    0,    0,    1,    0,    0,    0,
    };
    static const uint64_t values[] = {
        0, 1, 2, 0xff, 0x100, 0xffff, 0x10000, UINT64_C(0x100000000),
    };
    struct aml aml;
    (void)state;

    aml_init(&aml, buffer, sizeof(buffer));
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        aml_integer(&aml, values[i]);

    assert_int_equal(aml_fini(&aml), sizeof(expected));
    assert_memory_equal(buffer, expected, sizeof(expected));
}

static void an_eisa_id_is_packed_big_endian(void **state)
{
    static const uint8_t expected[] = { 8, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x08 };
    struct aml aml;
    (void)state;

    aml_init(&aml, buffer, sizeof(buffer));
    aml_name_eisa_id(&aml, "_HID", "PNP0A08");

    assert_int_equal(aml_fini(&aml), sizeof(expected));
    assert_memory_equal(buffer, expected, sizeof(expected));
}

static void a_full_buffer_is_told_at_the_end(void **state)
{
    struct aml aml;
    (void)state;

    for (size_t size = 0; size < 7; size++) {
        buffer[size] = 0x5a;
        aml_init(&aml, buffer, size);
        aml_open_scope(&aml, "_SB_");
        aml_integer(&aml, 1);
        aml_close(&aml);
        assert_int_equal(aml_fini(&aml), -ENOSPC);
        assert_int_equal(buffer[size], 0x5a);
    }
}

static void blocks_nested_too_deep_are_told_at_the_end(void **state)
{
    struct aml aml;
    (void)state;

    aml_init(&aml, buffer, sizeof(buffer));
    for (unsigned i = 0; i <= AML_DEPTH_MAX; i++)
        aml_open_if(&aml);
    for (unsigned i = 0; i <= AML_DEPTH_MAX; i++)
        aml_close(&aml);

    assert_int_equal(aml_fini(&aml), -ENOSPC);
}

static void a_block_left_open_is_told_at_the_end(void **state)
{
    struct aml aml;
    (void)state;

    aml_init(&aml, buffer, sizeof(buffer));
    aml_open_if(&aml);

    assert_int_equal(aml_fini(&aml), -ENOSPC);
}

static void a_large_resource_template_has_a_size_of_two_bytes(void **state)
{
    const size_t template_size = 32 * 8 + 2;
    struct aml aml;
    size_t length;
    (void)state;

    aml_init(&aml, buffer, sizeof(buffer));
    aml_open_resources(&aml);
    for (unsigned i = 0; i < 32; i++)
        aml_io(&aml, 0x3f8, 8);
    aml_close_resources(&aml);
    int len = aml_fini(&aml);

    size_t bytes = decode_length(buffer + 1, &length);
    assert_int_equal(length, len - 1);
    assert_int_equal(buffer[1 + bytes], 0x0b);
    assert_int_equal(buffer[2 + bytes] | buffer[3 + bytes] << 8, template_size);
    assert_int_equal(len, 1 + bytes + 3 + template_size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_are_encoded_in_as_few_bytes_as_they_take),
        cmocka_unit_test(integers_take_the_shortest_form),
        cmocka_unit_test(an_eisa_id_is_packed_big_endian),
        cmocka_unit_test(a_full_buffer_is_told_at_the_end),
        cmocka_unit_test(blocks_nested_too_deep_are_told_at_the_end),
        cmocka_unit_test(a_block_left_open_is_told_at_the_end),
        cmocka_unit_test(a_large_resource_template_has_a_size_of_two_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
