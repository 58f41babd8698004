// SPDX-License-Identifier: Apache-2.0
/* The PL061 general-purpose lines, and the buttons on them. */
#include "devices/arm_chips.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>

#include "device_fakes.h"

enum {
    DIRECTION = 0x400,
    SENSE = 0x404,
    BOTH_EDGES = 0x408,
    EVENT = 0x40c,
    MASK = 0x410,
    RAW = 0x414,
    MASKED = 0x418,
    CLEAR = 0x41c,
    FUNCTION = 0x420,
    ID = 0xfe0,
};

enum { BUTTON = 3, BUTTON_BIT = 1 << BUTTON };

static bool irq;

static int set_up(void **state)
{
    const struct irq_line line = { note_irq, &irq };

    irq = false;
    return pl061_create(&line, (struct device **)state);
}

static int tear_down(void **state)
{
    device_destroy(*state);
    return 0;
}

/* The data register of the lines in @mask. */
static uint64_t data(unsigned mask)
{
    return mask << 2;
}

/* As Linux's gpio-keys sets a line up. */
static void watch_both_edges(struct device *gpio)
{
    out8(gpio, SENSE, 0);
    out8(gpio, BOTH_EDGES, BUTTON_BIT);
    out8(gpio, CLEAR, BUTTON_BIT);
    out8(gpio, MASK, BUTTON_BIT);
}

static void says_which_primecell_it_is(void **state)
{
    static const uint8_t id[] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(read_reg(*state, ID + 4 * i, 4), id[i]);
        assert_int_equal(in8(*state, ID + 4 * i), id[i]);
    }
}

static void a_press_holds_until_it_was_read(void **state)
{
    assert_int_equal(in8(*state, data(0xff)), 0);
    pl061_press(*state, BUTTON);

    assert_int_equal(in8(*state, data(0xff & ~BUTTON_BIT)), 0); /* other lines */
    assert_int_equal(in8(*state, data(BUTTON_BIT)), BUTTON_BIT);
    assert_int_equal(in8(*state, data(BUTTON_BIT)), 0);
}

static void both_edges_of_a_press_interrupt(void **state)
{
    watch_both_edges(*state);

    pl061_press(*state, BUTTON);
    assert_true(irq);
    assert_int_equal(in8(*state, MASKED), BUTTON_BIT);
    out8(*state, CLEAR, BUTTON_BIT);
    assert_false(irq);

    (void)in8(*state, data(BUTTON_BIT));
    assert_true(irq);
    out8(*state, CLEAR, BUTTON_BIT);
    assert_false(irq);
    assert_int_equal(in8(*state, data(BUTTON_BIT)), 0);
    assert_false(irq);
}

static void one_edge_interrupts_if_one_is_awaited(void **state)
{
    out8(*state, MASK, BUTTON_BIT);
    pl061_press(*state, BUTTON); /* falling edges */
    assert_false(irq);
    (void)in8(*state, data(BUTTON_BIT));
    assert_true(irq);
    out8(*state, CLEAR, 0xff);

    out8(*state, EVENT, BUTTON_BIT); /* rising ones */
    pl061_press(*state, BUTTON);
    assert_true(irq);
    out8(*state, CLEAR, 0xff);
    (void)in8(*state, data(BUTTON_BIT));
    assert_false(irq);
}

static void a_level_interrupts_while_it_lasts(void **state)
{
    out8(*state, SENSE, BUTTON_BIT);
    out8(*state, EVENT, BUTTON_BIT);
    out8(*state, MASK, BUTTON_BIT);
    assert_false(irq);

    pl061_press(*state, BUTTON);
    out8(*state, CLEAR, 0xff);
    assert_true(irq);
    (void)in8(*state, data(BUTTON_BIT));
    assert_false(irq);
    out8(*state, EVENT, 0); /* low */
    assert_true(irq);
}

static void a_masked_edge_is_seen_raw_only(void **state)
{
    out8(*state, BOTH_EDGES, BUTTON_BIT);
    pl061_press(*state, BUTTON);

    assert_int_equal(in8(*state, RAW), BUTTON_BIT);
    assert_int_equal(in8(*state, MASKED), 0);
    assert_false(irq);
    out8(*state, MASK, BUTTON_BIT);
    assert_true(irq);
}

static void outputs_read_back_and_inputs_do_not(void **state)
{
    out8(*state, DIRECTION, 0x0f);
    out8(*state, data(0x3c), 0xff);

    assert_int_equal(in8(*state, data(0xff)), 0x0c);
    assert_int_equal(in8(*state, DIRECTION), 0x0f);
    out8(*state, FUNCTION, 0xa5);
    assert_int_equal(in8(*state, FUNCTION), 0xa5);
}

static void a_press_survives_save_and_load_and_not_a_reset(void **state)
{
    struct device *copy;
    bool copy_irq = false;
    const struct irq_line line = { note_irq, &copy_irq };
    assert_int_equal(pl061_create(&line, &copy), 0);
    watch_both_edges(*state);
    pl061_press(*state, BUTTON);

    assert_int_equal(carry_over(*state, copy), 0);
    assert_true(copy_irq);
    assert_int_equal(in8(copy, data(BUTTON_BIT)), BUTTON_BIT);
    copy->ops->reset(copy);
    assert_false(copy_irq);
    assert_int_equal(in8(copy, MASK), 0);
    device_destroy(copy);
}

static void odd_accesses_mean_nothing(void **state)
{
    out8(*state, MASK, 0xff);
    assert_int_equal(read_reg(*state, MASK, 8), 0);
    assert_int_equal(read_reg(*state, MASK + 1, 1), 0);
    write_reg(*state, MASK, 8, 0);
    write_reg(*state, MASK + 2, 2, 0);
    assert_int_equal(in8(*state, MASK), 0xff);
    assert_int_equal(read_reg(*state, 0x1000, 4), 0);
}

int main(void)
{
#define PL061_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        PL061_TEST(says_which_primecell_it_is),
        PL061_TEST(a_press_holds_until_it_was_read),
        PL061_TEST(both_edges_of_a_press_interrupt),
        PL061_TEST(one_edge_interrupts_if_one_is_awaited),
        PL061_TEST(a_level_interrupts_while_it_lasts),
        PL061_TEST(a_masked_edge_is_seen_raw_only),
        PL061_TEST(outputs_read_back_and_inputs_do_not),
        PL061_TEST(a_press_survives_save_and_load_and_not_a_reset),
        PL061_TEST(odd_accesses_mean_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
