// SPDX-License-Identifier: Apache-2.0
/* The PL031 real-time clock, and its alarm by a loop that really runs. */
#include "devices/arm_chips.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "device_fakes.h"
#include "host/loop.h"

enum {
    DATA = 0x00,
    MATCH = 0x04,
    LOAD = 0x08,
    CONTROL = 0x0c,
    MASK = 0x10,
    RAW = 0x14,
    MASKED = 0x18,
    CLEAR = 0x1c,
    ID = 0xfe0,
};

struct fixture {
    struct loop *loop;
    struct device *rtc;
    bool irq;
    bool gave_up;
};

/* The alarm's interrupt ends the loop. */
static void note_alarm(void *ctx, bool high)
{
    struct fixture *f = ctx;

    f->irq = high;
    if (high)
        loop_stop(f->loop);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct pl031_params params = { .irq = { note_alarm, f } };

    *state = f;
    if (!f || loop_create(&f->loop))
        return -1;
    params.loop = f->loop;
    return pl031_create(&params, &f->rtc);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    device_destroy(f->rtc);
    loop_destroy(f->loop);
    free(f);
    return 0;
}

static uint32_t read32(struct device *dev, uint64_t offset)
{
    return (uint32_t)read_reg(dev, offset, 4);
}

static void write32(struct device *dev, uint64_t offset, uint32_t value)
{
    write_reg(dev, offset, 4, value);
}

static void give_up(void *ctx)
{
    struct fixture *f = ctx;

    f->gave_up = true;
    loop_stop(f->loop);
}

/* Runs the loop until the alarm goes off, or for @limit_ms. */
static void run_loop(struct fixture *f, uint64_t limit_ms)
{
    struct loop_source *timer;

    assert_int_equal(loop_add_timer(f->loop, NULL, give_up, f, &timer), 0);
    assert_int_equal(loop_set_timer(timer, limit_ms * 1000000), 0);
    assert_int_equal(loop_run(f->loop), 0);
    loop_remove(timer);
}

static void says_which_primecell_it_is(void **state)
{
    static const uint8_t id[] = { 0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };
    struct fixture *f = *state;

    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(read32(f->rtc, ID + 4 * i), id[i]);
}

static void shows_the_hosts_time_and_runs(void **state)
{
    struct fixture *f = *state;
    time_t before = time(NULL);
    uint32_t shown = read32(f->rtc, DATA);
    time_t after = time(NULL);

    assert_in_range(shown, (uint32_t)before, (uint32_t)after);
    assert_int_equal(read32(f->rtc, CONTROL), 1);
}

static void a_guest_sets_its_own_time(void **state)
{
    struct fixture *f = *state;

    write32(f->rtc, LOAD, 1000);

    assert_in_range(read32(f->rtc, DATA), 1000, 1002);
    assert_int_equal(read32(f->rtc, LOAD), 1000);
}

static void the_alarm_interrupts_when_its_second_comes(void **state)
{
    struct fixture *f = *state;

    write32(f->rtc, MASK, 1);
    write32(f->rtc, LOAD, UINT32_MAX); /* and past the counter's end */
    write32(f->rtc, MATCH, 0);
    assert_false(f->irq);
    run_loop(f, 5000);

    assert_false(f->gave_up);
    assert_true(f->irq);
    assert_int_equal(read32(f->rtc, MASKED), 1);
    write32(f->rtc, CLEAR, 1);
    assert_false(f->irq);
    assert_int_equal(read32(f->rtc, RAW), 0);
}

static void an_alarm_that_was_moved_does_not_go_off(void **state)
{
    struct fixture *f = *state;

    write32(f->rtc, MASK, 1);
    write32(f->rtc, MATCH, read32(f->rtc, DATA) + 1);
    write32(f->rtc, MATCH, read32(f->rtc, DATA) + 1000);
    run_loop(f, 1200);

    assert_true(f->gave_up);
    assert_int_equal(read32(f->rtc, RAW), 0);
}

static void a_match_without_its_mask_is_seen_raw_only(void **state)
{
    struct fixture *f = *state;

    write32(f->rtc, LOAD, 500);
    write32(f->rtc, MATCH, 500);

    assert_int_equal(read32(f->rtc, RAW), 1);
    assert_int_equal(read32(f->rtc, MASKED), 0);
    assert_false(f->irq);
    write32(f->rtc, MASK, 1);
    assert_true(f->irq);
}

static void time_and_alarm_survive_save_and_load_and_not_a_reset(void **state)
{
    struct fixture *f = *state, other = { .loop = f->loop };
    struct pl031_params params = { .irq = { note_alarm, &other }, .loop = f->loop };
    assert_int_equal(pl031_create(&params, &other.rtc), 0);
    write32(f->rtc, MASK, 1);
    write32(f->rtc, LOAD, 1000);
    write32(f->rtc, MATCH, 1001);

    assert_int_equal(carry_over(f->rtc, other.rtc), 0);
    assert_in_range(read32(other.rtc, DATA), 1000, 1002);
    run_loop(f, 5000);
    if (!other.irq)
        run_loop(f, 5000); /* the other one's ended the loop first */
    assert_true(other.irq);
    other.rtc->ops->reset(other.rtc);
    assert_false(other.irq);
    assert_true(read32(other.rtc, DATA) > 1000000000);
    device_destroy(other.rtc);
}

static void states_that_cannot_be_are_refused(void **state)
{
    static const uint32_t mask_of_two[5] = { 0, 0, 0, 2, 0 }, raw_of_two[5] = { 0, 0, 0, 0, 2 };
    const uint32_t *const states[] = { mask_of_two, raw_of_two };
    struct fixture *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        struct state_writer out = { .data = NULL };
        assert_int_equal(state_save(&out, "pl031", 1, states[i], sizeof(mask_of_two)), 0);
        struct state_reader in = { .data = out.data, .len = out.len };
        assert_int_equal(f->rtc->ops->load(f->rtc, &in), -EBADMSG);
        state_writer_fini(&out);
    }
}

static void odd_accesses_mean_nothing(void **state)
{
    struct fixture *f = *state;

    write32(f->rtc, LOAD, 77);
    write_reg(f->rtc, LOAD, 2, 5);
    write_reg(f->rtc, LOAD, 8, 5);
    write_reg(f->rtc, LOAD + 2, 2, 5);
    write32(f->rtc, DATA, 5);
    write32(f->rtc, CONTROL, 0);

    assert_int_equal(read32(f->rtc, LOAD), 77);
    assert_in_range(read32(f->rtc, DATA), 77, 79);
    assert_int_equal(read32(f->rtc, CONTROL), 1);
    assert_int_equal(read_reg(f->rtc, LOAD, 8), 0);
    assert_int_equal(read_reg(f->rtc, LOAD + 1, 1), 0);
    assert_int_equal(read_reg(f->rtc, 0x1000, 4), 0);
}

int main(void)
{
#define PL031_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        PL031_TEST(says_which_primecell_it_is),
        PL031_TEST(shows_the_hosts_time_and_runs),
        PL031_TEST(a_guest_sets_its_own_time),
        PL031_TEST(the_alarm_interrupts_when_its_second_comes),
        PL031_TEST(an_alarm_that_was_moved_does_not_go_off),
        PL031_TEST(a_match_without_its_mask_is_seen_raw_only),
        PL031_TEST(time_and_alarm_survive_save_and_load_and_not_a_reset),
        PL031_TEST(states_that_cannot_be_are_refused),
        PL031_TEST(odd_accesses_mean_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
