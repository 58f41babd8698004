// SPDX-License-Identifier: Apache-2.0
/* The I/O APIC with a list of messages behind it. */
#include "cpu/x86_64/ioapic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

enum { SELECT = 0, DATA = 0x10, EOI = 0x40 };
enum { LEVEL = 1 << 15, MASKED = 1 << 16, LOGICAL = 1 << 11, REMOTE_IRR = 1 << 14 };
enum { PIN = 9, VECTOR = 0x55 };

struct fixture {
    struct ioapic ioapic;
    unsigned sent, watched, watched_pin;
    uint64_t address;
    uint32_t data;
};

static void note_sent(void *ctx, uint64_t address, uint32_t data)
{
    struct fixture *f = ctx;

    f->sent++;
    f->address = address;
    f->data = data;
}

static void note_watched(void *ctx, unsigned pin, uint64_t address, uint32_t data)
{
    struct fixture *f = ctx;

    assert_int_equal(f->sent, 0); /* before the first message */
    f->watched++;
    f->watched_pin = pin;
    f->address = address;
    f->data = data;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct ioapic_port port = { note_sent, note_watched, f };

    if (!f)
        return -1;
    ioapic_init(&f->ioapic, &port);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    ioapic_fini(&f->ioapic);
    free(f);
    return 0;
}

static void write_register(struct fixture *f, unsigned index, uint32_t value)
{
    ioapic_write(&f->ioapic, SELECT, index);
    ioapic_write(&f->ioapic, DATA, value);
}

static uint32_t read_register(struct fixture *f, unsigned index)
{
    ioapic_write(&f->ioapic, SELECT, index);
    return ioapic_read(&f->ioapic, DATA);
}

static void program(struct fixture *f, uint32_t high, uint32_t low)
{
    write_register(f, 0x10 + 2 * PIN, MASKED);
    write_register(f, 0x11 + 2 * PIN, high);
    write_register(f, 0x10 + 2 * PIN, low);
}

static void every_pin_starts_masked(void **state)
{
    struct fixture *f = *state;

    for (unsigned pin = 0; pin < IOAPIC_PIN_COUNT; pin++) {
        assert_int_equal(read_register(f, 0x10 + 2 * pin), MASKED);
        ioapic_set_wire(&f->ioapic, pin, true);
    }
    assert_int_equal(f->sent, 0);
}

static void the_version_tells_24_pins_and_an_eoi_register(void **state)
{
    assert_int_equal(read_register(*state, 1), 0x00170020);
}

static void an_edge_sends_one_message(void **state)
{
    struct fixture *f = *state;

    program(f, 3u << 24, VECTOR);
    ioapic_set_wire(&f->ioapic, PIN, true);
    ioapic_set_wire(&f->ioapic, PIN, true);

    assert_int_equal(f->sent, 1);
    assert_int_equal(f->address, 0xfee03000);
    assert_int_equal(f->data, 0x4000 | VECTOR);

    ioapic_set_wire(&f->ioapic, PIN, false);
    ioapic_set_wire(&f->ioapic, PIN, true);
    assert_int_equal(f->sent, 2);
}

static void an_edge_on_a_masked_pin_is_lost(void **state)
{
    struct fixture *f = *state;

    program(f, 0, VECTOR | MASKED);
    ioapic_set_wire(&f->ioapic, PIN, true);
    program(f, 0, VECTOR);

    assert_int_equal(f->sent, 0);
}

static void a_level_is_sent_again_until_it_falls(void **state)
{
    struct fixture *f = *state;

    program(f, 0, VECTOR | LEVEL);
    assert_int_equal(f->watched, 1);
    assert_int_equal(f->watched_pin, PIN);
    ioapic_set_wire(&f->ioapic, PIN, true);
    assert_int_equal(f->sent, 1);
    assert_int_equal(f->data, 0xc000 | VECTOR);

    ioapic_set_wire(&f->ioapic, PIN, false);
    ioapic_set_wire(&f->ioapic, PIN, true); /* in service: waits */
    assert_int_equal(f->sent, 1);
    ioapic_end_of_interrupt(&f->ioapic, VECTOR);
    assert_int_equal(f->sent, 2);
    ioapic_set_wire(&f->ioapic, PIN, false);
    ioapic_end_of_interrupt(&f->ioapic, VECTOR);
    assert_int_equal(f->sent, 2);
}

static void the_service_of_a_level_can_be_read(void **state)
{
    struct fixture *f = *state;

    program(f, 0, VECTOR | LEVEL);
    ioapic_set_wire(&f->ioapic, PIN, true);
    assert_int_equal(read_register(f, 0x10 + 2 * PIN), VECTOR | LEVEL | REMOTE_IRR);

    ioapic_set_wire(&f->ioapic, PIN, false);
    ioapic_end_of_interrupt(&f->ioapic, VECTOR);
    assert_int_equal(read_register(f, 0x10 + 2 * PIN), VECTOR | LEVEL);
}

static void the_end_of_another_interrupt_ends_nothing(void **state)
{
    struct fixture *f = *state;

    program(f, 0, VECTOR | LEVEL);
    ioapic_set_wire(&f->ioapic, PIN, true);
    ioapic_end_of_interrupt(&f->ioapic, VECTOR + 1);

    assert_int_equal(f->sent, 1);
}

static void a_level_that_rose_while_masked_is_sent_when_unmasked(void **state)
{
    struct fixture *f = *state;

    program(f, 0, VECTOR | LEVEL | MASKED);
    ioapic_set_wire(&f->ioapic, PIN, true);
    assert_int_equal(f->sent, 0);
    write_register(f, 0x10 + 2 * PIN, VECTOR | LEVEL);

    assert_int_equal(f->sent, 1);
}

static void a_level_that_fell_while_masked_is_forgotten(void **state)
{
    struct fixture *f = *state;

    program(f, 0, VECTOR | LEVEL | MASKED);
    ioapic_set_wire(&f->ioapic, PIN, true);
    ioapic_set_wire(&f->ioapic, PIN, false);
    write_register(f, 0x10 + 2 * PIN, VECTOR | LEVEL);

    assert_int_equal(f->sent, 0);
}

static void the_eoi_register_ends_a_service(void **state)
{
    struct fixture *f = *state;

    program(f, 0, VECTOR | LEVEL);
    ioapic_set_wire(&f->ioapic, PIN, true);
    ioapic_write(&f->ioapic, EOI, VECTOR);

    assert_int_equal(f->sent, 2);
}

static void turning_a_pin_to_edge_ends_its_service(void **state)
{
    struct fixture *f = *state;

    program(f, 0, VECTOR | LEVEL);
    ioapic_set_wire(&f->ioapic, PIN, true);
    write_register(f, 0x10 + 2 * PIN, VECTOR | MASKED);

    assert_int_equal(read_register(f, 0x10 + 2 * PIN), VECTOR | MASKED);
}

static void the_guest_cannot_write_the_service_bit(void **state)
{
    struct fixture *f = *state;

    program(f, 0, VECTOR | LEVEL | REMOTE_IRR);

    assert_int_equal(read_register(f, 0x10 + 2 * PIN), VECTOR | LEVEL);
}

static void a_logical_destination_and_its_mode_are_passed_on(void **state)
{
    struct fixture *f = *state;

    program(f, 0x81u << 24, VECTOR | LOGICAL | 1 << 8);
    ioapic_set_wire(&f->ioapic, PIN, true);

    assert_int_equal(f->address, 0xfee81004);
    assert_int_equal(f->data, 0x4100 | VECTOR);
}

static void seven_more_bits_of_destination_go_where_kvm_guests_put_them(void **state)
{
    struct fixture *f = *state;

    program(f, 0x2cu << 24 | 1u << 17, VECTOR); /* 0x12c: CPU 300 */
    ioapic_set_wire(&f->ioapic, PIN, true);

    assert_int_equal(f->address, 0xfee2c020);
}

static void a_pin_for_the_pics_is_silent(void **state)
{
    struct fixture *f = *state;

    program(f, 0, 7 << 8);
    ioapic_set_wire(&f->ioapic, PIN, true);

    assert_int_equal(f->sent, 0);
}

static void registers_that_are_not_there_read_as_0(void **state)
{
    struct fixture *f = *state;

    for (unsigned index = 0; index < 256; index++)
        write_register(f, index, UINT32_MAX);
    assert_int_equal(read_register(f, 3), 0);
    assert_int_equal(read_register(f, 0x40), 0);
    assert_int_equal(read_register(f, 0xff), 0);
    assert_int_equal(read_register(f, 0), 0x0f000000);
    assert_int_equal(ioapic_read(&f->ioapic, 0x20), 0);
    assert_int_equal(ioapic_read(&f->ioapic, EOI), 0);
}

static void a_wire_past_the_last_goes_nowhere(void **state)
{
    struct fixture *f = *state;

    ioapic_set_wire(&f->ioapic, IOAPIC_PIN_COUNT, true);
    ioapic_set_wire(&f->ioapic, UINT32_MAX, true);

    assert_int_equal(f->ioapic.state.wires, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_pin_starts_masked),
        TEST(the_version_tells_24_pins_and_an_eoi_register),
        TEST(an_edge_sends_one_message),
        TEST(an_edge_on_a_masked_pin_is_lost),
        TEST(a_level_is_sent_again_until_it_falls),
        TEST(the_service_of_a_level_can_be_read),
        TEST(the_end_of_another_interrupt_ends_nothing),
        TEST(a_level_that_rose_while_masked_is_sent_when_unmasked),
        TEST(a_level_that_fell_while_masked_is_forgotten),
        TEST(the_eoi_register_ends_a_service),
        TEST(turning_a_pin_to_edge_ends_its_service),
        TEST(the_guest_cannot_write_the_service_bit),
        TEST(a_logical_destination_and_its_mode_are_passed_on),
        TEST(seven_more_bits_of_destination_go_where_kvm_guests_put_them),
        TEST(a_pin_for_the_pics_is_silent),
        TEST(registers_that_are_not_there_read_as_0),
        TEST(a_wire_past_the_last_goes_nowhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
