// SPDX-License-Identifier: Apache-2.0
/* The clock of a PC: the host's time in every format, set by the guest, never read torn. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "devices/pc_chips.h"

#include "device_fakes.h"

/* The clock that the device reads; time() may be a timer tick behind it. */
static time_t host_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

enum { SEC = 0, SEC_ALARM = 1, MIN = 2, HOUR = 4, WDAY = 6, DAY = 7, MON = 8, YEAR = 9 };
enum { REG_A = 10, REG_B = 11, REG_C = 12, REG_D = 13, CENTURY = 0x32 };
/* How long a busy host may hold a test up between two looks at a clock. */
enum { HELD_UP_S = 30 };
enum { SET = 0x80, BINARY = 0x04, H24 = 0x02, PM = 0x80 };

static int setup(void **state)
{
    struct device *rtc;

    assert_int_equal(rtc_create(&rtc), 0);
    *state = rtc;
    return 0;
}

static int teardown(void **state)
{
    device_destroy(*state);
    return 0;
}

static uint8_t cmos_read(struct device *rtc, uint8_t reg)
{
    out8(rtc, 0, reg);
    return in8(rtc, 1);
}

static void cmos_write(struct device *rtc, uint8_t reg, uint8_t value)
{
    out8(rtc, 0, reg);
    out8(rtc, 1, value);
}

static int from_bcd(uint8_t value)
{
    assert_true((value & 0xf) <= 9 && value >> 4 <= 9);
    return (value >> 4) * 10 + (value & 0xf);
}

/* Reads the time as a driver does, in the power-on format: BCD, 24 hours. */
static time_t read_time(struct device *rtc)
{
    struct tm tm = { .tm_sec = from_bcd(cmos_read(rtc, SEC)) };

    tm.tm_min = from_bcd(cmos_read(rtc, MIN));
    tm.tm_hour = from_bcd(cmos_read(rtc, HOUR));
    tm.tm_mday = from_bcd(cmos_read(rtc, DAY));
    tm.tm_mon = from_bcd(cmos_read(rtc, MON)) - 1;
    tm.tm_year = from_bcd(cmos_read(rtc, YEAR)) + from_bcd(cmos_read(rtc, CENTURY)) * 100 - 1900;
    return timegm(&tm);
}

/* Sets it, in the format that register B says. */
static void set_time(struct device *rtc, const uint8_t values[7])
{
    static const uint8_t regs[7] = { SEC, MIN, HOUR, DAY, MON, YEAR, CENTURY };
    uint8_t b = cmos_read(rtc, REG_B);

    cmos_write(rtc, REG_B, b | SET);
    for (size_t i = 0; i < sizeof(regs); i++)
        cmos_write(rtc, regs[i], values[i]);
    cmos_write(rtc, REG_B, b);
}

static void shows_the_hosts_time(void **state)
{
    time_t before = host_now();
    time_t shown = read_time(*state);

    assert_true(shown >= before - 1 && shown <= host_now());
}

static void registers_c_and_d_show_no_interrupt_and_a_good_battery(void **state)
{
    cmos_write(*state, REG_C, 0xff);
    cmos_write(*state, REG_D, 0);

    assert_int_equal(cmos_read(*state, REG_C), 0);
    assert_int_equal(cmos_read(*state, REG_D), 0x80);
}

static void an_update_is_never_in_progress(void **state)
{
    cmos_write(*state, REG_A, 0xff);

    assert_int_equal(cmos_read(*state, REG_A), 0x7f);
}

static void the_guest_can_set_it(void **state)
{
    const uint8_t values[] = { 0x50, 0x34, 0x12, 0x29, 0x02, 0x24, 0x20 };
    struct tm tm = { .tm_sec = 50, .tm_min = 34, .tm_hour = 12, .tm_mday = 29, .tm_mon = 1 };
    tm.tm_year = 124;

    set_time(*state, values);

    time_t late = read_time(*state) - timegm(&tm);
    assert_true(late >= 0 && late <= HELD_UP_S);
    assert_int_equal(cmos_read(*state, WDAY), 5); /* a Thursday */
}

static void a_clock_that_was_set_goes_on(void **state)
{
    const uint8_t values[] = { 0x59, 0x59, 0x23, 0x31, 0x12, 0x99, 0x19 };
    set_time(*state, values);

    for (int i = 0; i < 40 && cmos_read(*state, SEC) == 0x59; i++)
        usleep(50000);

    struct tm tm = { .tm_mday = 1, .tm_year = 100 };
    time_t late = read_time(*state) - timegm(&tm);
    assert_true(late >= 0 && late <= HELD_UP_S);
}

static void every_hour_reads_back_in_every_format(void **state)
{
    static const uint8_t formats[] = { 0, H24, BINARY, BINARY | H24 };

    for (size_t f = 0; f < sizeof(formats); f++) {
        cmos_write(*state, REG_B, formats[f]);
        for (int hour = 0; hour < 24; hour++) {
            int shown = formats[f] & H24 ? hour : hour % 12 ? hour % 12 : 12;
            uint8_t value = (uint8_t)(formats[f] & BINARY ? shown : shown / 10 * 16 + shown % 10);
            if (!(formats[f] & H24) && hour >= 12)
                value |= PM;
            const uint8_t values[] = { 0, 0, value, 1, 1, 20, formats[f] & BINARY ? 20 : 0x20 };
            set_time(*state, values);
            assert_int_equal(cmos_read(*state, HOUR), value);
            cmos_write(*state, REG_B, BINARY | H24);
            assert_int_equal(cmos_read(*state, HOUR), hour);
            assert_int_equal(cmos_read(*state, MIN), 0);
            cmos_write(*state, REG_B, formats[f]);
        }
    }
}

static void single_registers_can_be_set_while_it_runs(void **state)
{
    const uint8_t values[] = { 0, 0, 0, 1, 1, 0x24, 0x20 };
    set_time(*state, values);

    cmos_write(*state, MIN, 0x30);
    cmos_write(*state, CENTURY, 0x19);

    struct tm tm = { .tm_min = 30, .tm_mday = 1, .tm_year = 24 };
    time_t late = read_time(*state) - timegm(&tm);
    assert_true(late >= 0 && late <= HELD_UP_S);
}

static void a_stopped_clock_shows_what_was_written(void **state)
{
    cmos_write(*state, REG_B, SET | H24);

    cmos_write(*state, SEC, 0xff);
    cmos_write(*state, HOUR, 0xee);

    assert_int_equal(cmos_read(*state, SEC), 0xff);
    assert_int_equal(cmos_read(*state, HOUR), 0xee);
}

static void a_time_that_is_none_changes_nothing(void **state)
{
    static const uint8_t wrong[][7] = {
        { 0x60, 0, 0, 1, 1, 0, 0x20 },
        { 0, 0x60, 0, 1, 1, 0, 0x20 },
        { 0, 0, 0x24, 1, 1, 0, 0x20 },
        { 0, 0, 0, 0, 1, 0, 0x20 },
        { 0, 0, 0, 0x32, 1, 0, 0x20 },
        { 0, 0, 0, 1, 0, 0, 0x20 },
        { 0, 0, 0, 1, 0x13, 0, 0x20 },
        { 0, 0, 0, 1, 1, 0xa0, 0x20 },
        { 0, 0, 0, 1, 1, 0x0f, 0x20 },
        { 0, 0, 0, 1, 1, 0, 0xff },
        { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        set_time(*state, wrong[i]);
        time_t late = read_time(*state) - host_now();
        assert_true(labs(late) <= HELD_UP_S);
    }
}

/* Reads half of the time before the turn of the millennium, half after it. Returns false if this
 * thread was held up, so that it proves nothing. */
static bool read_over_the_millennium(struct device *rtc)
{
    const uint8_t values[] = { 0x59, 0x59, 0x23, 0x31, 0x12, 0x99, 0x19 };
    set_time(rtc, values);
    time_t start = host_now();
    (void)cmos_read(rtc, REG_A);
    uint8_t seconds = cmos_read(rtc, SEC);

    while (host_now() == start)
        usleep(1000);
    uint8_t minutes = cmos_read(rtc, MIN);
    uint8_t century = cmos_read(rtc, CENTURY);
    if (host_now() != start + 1 || seconds != 0x59)
        return false;
    assert_int_equal(minutes, 0x59);
    assert_int_equal(century, 0x19);
    assert_int_equal(cmos_read(rtc, SEC), 0); /* again: a new moment */
    assert_int_equal(cmos_read(rtc, MIN), 0);
    assert_int_equal(cmos_read(rtc, CENTURY), 0x20);
    return true;
}

static void registers_read_in_a_row_show_one_moment(void **state)
{
    while (!read_over_the_millennium(*state))
        continue;
}

static void cmos_ram_keeps_what_is_written(void **state)
{
    for (uint8_t reg = 0x0e; reg < 0x80; reg++) {
        if (reg != CENTURY)
            cmos_write(*state, reg, reg ^ 0x55);
    }
    cmos_write(*state, SEC_ALARM, 0xc0);

    for (uint8_t reg = 0x0e; reg < 0x80; reg++) {
        if (reg != CENTURY)
            assert_int_equal(cmos_read(*state, reg), reg ^ 0x55);
    }
    assert_int_equal(cmos_read(*state, SEC_ALARM), 0xc0);
}

static void the_nmi_bit_is_no_part_of_the_index(void **state)
{
    cmos_write(*state, 0x40, 0x12);

    assert_int_equal(cmos_read(*state, 0xc0), 0x12);
}

static void reset_gives_the_hosts_time_and_empty_ram(void **state)
{
    const uint8_t values[] = { 0, 0, 0, 1, 1, 0, 0x20 };
    struct device *rtc = *state;
    set_time(rtc, values);
    cmos_write(rtc, 0x40, 1);
    cmos_write(rtc, REG_B, 0);

    rtc->ops->reset(rtc);

    assert_int_equal(cmos_read(rtc, REG_B), H24);
    assert_int_equal(cmos_read(rtc, 0x40), 0);
    assert_true(labs(read_time(rtc) - host_now()) <= HELD_UP_S);
}

static void a_loaded_clock_shows_the_saved_ones_time(void **state)
{
    const uint8_t values[] = { 0, 0, 0, 1, 1, 0, 0x20 };
    struct device *copy;
    assert_int_equal(rtc_create(&copy), 0);
    set_time(*state, values);
    cmos_write(*state, 0x41, 7);
    out8(*state, 0, 0x41);

    assert_int_equal(carry_over(*state, copy), 0);

    assert_int_equal(in8(copy, 1), 7); /* the index came along */
    assert_true(labs(read_time(copy) - read_time(*state)) <= HELD_UP_S);
    device_destroy(copy);
}

static void a_corrupt_state_is_refused_or_harmless(void **state)
{
    struct device *rtc = *state;
    struct state_writer out = { .data = NULL };
    unsigned refused = 0;
    assert_int_equal(rtc->ops->save(rtc, &out), 0);

    for (size_t bit = 0; bit < out.len * 8; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct state_reader in = { .data = out.data, .len = out.len };
        if (rtc->ops->load(rtc, &in)) {
            refused++;
            rtc->ops->reset(rtc);
        }
        for (unsigned reg = 0; reg < 256; reg++)
            (void)cmos_read(rtc, (uint8_t)reg);
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(refused >= 48 * 8);
    state_writer_fini(&out);
}

#define rtc_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        rtc_test(shows_the_hosts_time),
        rtc_test(registers_c_and_d_show_no_interrupt_and_a_good_battery),
        rtc_test(an_update_is_never_in_progress),
        rtc_test(the_guest_can_set_it),
        rtc_test(a_clock_that_was_set_goes_on),
        rtc_test(every_hour_reads_back_in_every_format),
        rtc_test(single_registers_can_be_set_while_it_runs),
        rtc_test(a_stopped_clock_shows_what_was_written),
        rtc_test(a_time_that_is_none_changes_nothing),
        rtc_test(registers_read_in_a_row_show_one_moment),
        rtc_test(cmos_ram_keeps_what_is_written),
        rtc_test(the_nmi_bit_is_no_part_of_the_index),
        rtc_test(reset_gives_the_hosts_time_and_empty_ram),
        rtc_test(a_loaded_clock_shows_the_saved_ones_time),
        rtc_test(a_corrupt_state_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
