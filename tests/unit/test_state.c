// SPDX-License-Identifier: Apache-2.0
/* Records of saved state: what was saved comes back, and anything else is refused. */
#include "host/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct state_reader reader_of(const struct state_writer *writer)
{
    return (struct state_reader){ .data = writer->data, .len = writer->len };
}

static void records_come_back_in_their_order(void **state)
{
    struct state_writer out = { .data = NULL };
    uint32_t first = 0x12345678, second = 42;
    uint32_t value = 0;
    (void)state;

    assert_int_equal(state_save(&out, "first", 1, &first, sizeof(first)), 0);
    assert_int_equal(state_save(&out, "empty", 2, NULL, 0), 0);
    assert_int_equal(state_save(&out, "second", 7, &second, sizeof(second)), 0);

    struct state_reader in = reader_of(&out);
    assert_int_equal(state_load(&in, "first", 1, &value, sizeof(value)), 0);
    assert_int_equal(value, first);
    assert_int_equal(state_load(&in, "empty", 2, NULL, 0), 0);
    assert_int_equal(state_load(&in, "second", 7, &value, sizeof(value)), 0);
    assert_int_equal(value, second);
    assert_int_equal(in.position, in.len);
    state_writer_fini(&out);
    assert_null(out.data);
}

static void a_record_larger_than_the_buffer_makes_it_grow(void **state)
{
    static uint8_t big[100000], loaded[sizeof(big)];
    struct state_writer out = { .data = NULL };
    (void)state;
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (uint8_t)(i * 7);

    for (int i = 0; i < 5; i++)
        assert_int_equal(state_save(&out, "big", 1, big, sizeof(big)), 0);

    struct state_reader in = reader_of(&out);
    for (int i = 0; i < 5; i++) {
        memset(loaded, 0, sizeof(loaded));
        assert_int_equal(state_load(&in, "big", 1, loaded, sizeof(loaded)), 0);
        assert_memory_equal(loaded, big, sizeof(big));
    }
    state_writer_fini(&out);
}

static void refuses_a_record_of_another_name_version_or_length(void **state)
{
    struct state_writer out = { .data = NULL };
    uint32_t saved = 1, value = 99;
    (void)state;
    assert_int_equal(state_save(&out, "serial", 3, &saved, sizeof(saved)), 0);

    struct state_reader in = reader_of(&out);
    assert_int_equal(state_load(&in, "seria", 3, &value, 4), -EBADMSG);
    assert_int_equal(state_load(&in, "serial0", 3, &value, 4), -EBADMSG);
    assert_int_equal(state_load(&in, "serial", 4, &value, 4), -EBADMSG);
    assert_int_equal(state_load(&in, "serial", 3, &value, 2), -EBADMSG);
    assert_int_equal(value, 99);
    assert_int_equal(in.position, 0);
    assert_int_equal(state_load(&in, "serial", 3, &value, 4), 0);
    state_writer_fini(&out);
}

static void refuses_a_record_that_is_cut_off_anywhere(void **state)
{
    struct state_writer out = { .data = NULL };
    uint64_t saved = 1, value = 99;
    (void)state;
    assert_int_equal(state_save(&out, "rtc", 1, &saved, sizeof(saved)), 0);

    for (size_t len = 0; len < out.len; len++) {
        struct state_reader in = { .data = out.data, .len = len };
        assert_int_equal(state_load(&in, "rtc", 1, &value, sizeof(value)), -EBADMSG);
    }
    assert_int_equal(value, 99);
    state_writer_fini(&out);
}

static void refuses_a_name_that_does_not_fit(void **state)
{
    struct state_writer out = { .data = NULL };
    char name[33];
    (void)state;
    memset(name, 'x', sizeof(name));
    name[32] = '\0';

    assert_int_equal(state_save(&out, name, 1, NULL, 0), -EINVAL);
    name[31] = '\0';
    assert_int_equal(state_save(&out, name, 1, NULL, 0), 0);
    state_writer_fini(&out);
}

static void refuses_what_no_memory_can_hold(void **state)
{
    struct state_writer out = { .data = NULL };
    (void)state;

    assert_int_equal(state_save(&out, "huge", 1, &out, SIZE_MAX), -ENOMEM);
    assert_int_equal(state_save(&out, "huge", 1, &out, SIZE_MAX / 2), -ENOMEM);
    assert_int_equal(out.len, 0);
    state_writer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_in_their_order),
        cmocka_unit_test(a_record_larger_than_the_buffer_makes_it_grow),
        cmocka_unit_test(refuses_a_record_of_another_name_version_or_length),
        cmocka_unit_test(refuses_a_record_that_is_cut_off_anywhere),
        cmocka_unit_test(refuses_a_name_that_does_not_fit),
        cmocka_unit_test(refuses_what_no_memory_can_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
