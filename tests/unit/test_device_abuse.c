// SPDX-License-Identifier: Apache-2.0
/* Every chip under accesses that no driver makes: all offsets, all sizes, any value, as often as
 * a guest likes. Nothing may crash (the sanitizers watch), and a chip that was saved and loaded
 * must answer exactly as the one it was saved from. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "devices/arm_chips.h"
#include "devices/pc_chips.h"
#include "devices/serial_16550.h"

#include "device_fakes.h"
#include "host/loop.h"

enum { MAX_OFFSET = 16, PL061_MAX_OFFSET = 0x428, ROUNDS = 20000 };

/* Everything around a chip: it all goes into one number, so that two chips can be compared. */
struct surroundings {
    struct power_notes power;
    bool irq;
    uint64_t digest;
};

static struct loop *loop; /* does not run */

static void digest_add(struct surroundings *around, uint64_t value)
{
    around->digest = (around->digest ^ value) * UINT64_C(0x100000001b3);
}

/* Has room for every third byte only, so that the transmitter is busy now and then. */
static bool note_sent(void *ctx, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        digest_add(ctx, data[i]);
    return data[len - 1] % 3 == 0;
}

static int make_serial(struct surroundings *around, struct device **ret)
{
    const struct serial_params params = {
        .name = "com1",
        .irq = { note_irq, &around->irq },
        .sink = { .transmit = note_sent, .ctx = around },
    };
    return serial_create(&params, ret);
}

static int make_rtc(struct surroundings *around, struct device **ret)
{
    (void)around;
    return rtc_create(ret);
}

static int make_i8042(struct surroundings *around, struct device **ret)
{
    const struct power_port power = { note_power, &around->power };
    return i8042_create(&power, ret);
}

static int make_reset_control(struct surroundings *around, struct device **ret)
{
    const struct power_port power = { note_power, &around->power };
    return reset_control_create(&power, ret);
}

static int make_debug_exit(struct surroundings *around, struct device **ret)
{
    const struct power_port power = { note_power, &around->power };
    return debug_exit_create(&power, ret);
}

static int make_pvpanic(struct surroundings *around, struct device **ret)
{
    const struct power_port power = { note_power, &around->power };
    return pvpanic_create(&power, ret);
}

static int make_acpi(struct surroundings *around, struct device **ret)
{
    const struct acpi_params params = {
        .irq = { note_irq, &around->irq },
        .power = { note_power, &around->power },
    };
    return acpi_registers_create(&params, ret);
}

static int make_pl031(struct surroundings *around, struct device **ret)
{
    const struct pl031_params params = { .irq = { note_irq, &around->irq }, .loop = loop };
    return pl031_create(&params, ret);
}

static int make_pl061(struct surroundings *around, struct device **ret)
{
    const struct irq_line line = { note_irq, &around->irq };
    return pl061_create(&line, ret);
}

static const struct kind {
    int (*make)(struct surroundings *around, struct device **ret);
    uint64_t max_offset; /* of its registers */
    bool tells_time;     /* answers differ from one moment to the next */
} kinds[] = {
    { make_serial, MAX_OFFSET, false },        { make_rtc, MAX_OFFSET, true },
    { make_i8042, MAX_OFFSET, false },         { make_acpi, MAX_OFFSET, false },
    { make_reset_control, MAX_OFFSET, false }, { make_debug_exit, MAX_OFFSET, false },
    { make_pvpanic, MAX_OFFSET, false },       { make_pl031, 2 * MAX_OFFSET, true },
    { make_pl061, PL061_MAX_OFFSET, false },
};

enum { KIND_COUNT = sizeof(kinds) / sizeof(kinds[0]) };

static struct device *make(const struct kind *kind, struct surroundings *around)
{
    struct device *dev;

    *around = (struct surroundings){ .digest = 1 };
    assert_int_equal(kind->make(around, &dev), 0);
    return dev;
}

/* A full sink is not part of a chip, and neither saved nor reset: empties it. */
static void make_room(const struct kind *kind, struct device *dev)
{
    if (kind->make != make_serial)
        return;
    serial_transmit_ready(dev); /* may fill it again with what waits in the FIFO */
    serial_transmit_ready(dev);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Random accesses, the same for the same seed; half of them as registers are meant to be used. */
static void drive(const struct kind *kind, struct device *dev, struct surroundings *around,
                  uint64_t seed, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t choice = next_random(&seed);
        uint64_t offset = choice % kind->max_offset;
        unsigned size = choice & 0x100 ? 1 : 1 + (choice >> 9) % 8;
        if (kind->make == make_pl061 && choice % 7 == 0)
            pl061_press(dev, choice >> 12 & 7);
        if (choice & 0x10000)
            write_reg(dev, offset, size, next_random(&seed));
        else
            digest_add(around, read_reg(dev, offset, size));
        digest_add(around, around->irq);
        digest_add(around, around->power.count);
        digest_add(around, around->power.value);
    }
}

static void every_offset_size_and_value_is_survived(void **state)
{
    static const uint64_t values[] = { 0, 1, 0x55, 0x80, 0xff, 0xffff, UINT32_MAX, UINT64_MAX };
    (void)state;

    for (unsigned k = 0; k < KIND_COUNT; k++) {
        struct surroundings around;
        struct device *dev = make(&kinds[k], &around);
        for (uint64_t offset = 0; offset < 0x440; offset++) {
            for (unsigned size = 1; size <= 8; size++) {
                for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
                    write_reg(dev, offset, size, values[v]);
                    (void)read_reg(dev, offset, size);
                }
            }
        }
        write_reg(dev, UINT64_MAX, 8, UINT64_MAX);
        (void)read_reg(dev, UINT64_MAX, 8);
        device_destroy(dev);
    }
}

static void reads_outside_of_the_registers_give_zero(void **state)
{
    (void)state;

    for (unsigned k = 0; k < KIND_COUNT; k++) {
        struct surroundings around;
        struct device *dev = make(&kinds[k], &around);
        for (unsigned size = 1; size <= 8; size++) {
            assert_int_equal(read_reg(dev, 8, size), 0);
            assert_int_equal(read_reg(dev, UINT64_C(1) << 32, size), 0);
            assert_int_equal(read_reg(dev, UINT64_MAX, size), 0);
        }
        device_destroy(dev);
    }
}

static void a_loaded_chip_answers_as_the_saved_one(void **state)
{
    (void)state;

    for (unsigned k = 0; k < KIND_COUNT; k++) {
        if (kinds[k].tells_time)
            continue;
        for (uint64_t seed = 1; seed <= 50; seed++) {
            struct surroundings around, copy_around;
            struct device *dev = make(&kinds[k], &around);
            struct device *copy = make(&kinds[k], &copy_around);
            drive(&kinds[k], dev, &around, seed, 200);
            make_room(&kinds[k], dev);
            assert_int_equal(carry_over(dev, copy), 0);
            around.digest = copy_around.digest = 1;
            around.power = copy_around.power;
            drive(&kinds[k], dev, &around, seed * 77, 500);
            drive(&kinds[k], copy, &copy_around, seed * 77, 500);
            assert_int_equal(around.digest, copy_around.digest);
            device_destroy(dev);
            device_destroy(copy);
        }
    }
}

static void a_reset_chip_answers_as_a_new_one(void **state)
{
    (void)state;

    for (unsigned k = 0; k < KIND_COUNT; k++) {
        if (kinds[k].tells_time)
            continue;
        struct surroundings around, fresh_around;
        struct device *dev = make(&kinds[k], &around);
        struct device *fresh = make(&kinds[k], &fresh_around);
        drive(&kinds[k], dev, &around, 42, ROUNDS);
        make_room(&kinds[k], dev);
        dev->ops->reset(dev);
        around.digest = fresh_around.digest;
        around.power = fresh_around.power;
        drive(&kinds[k], dev, &around, 43, ROUNDS);
        drive(&kinds[k], fresh, &fresh_around, 43, ROUNDS);
        assert_int_equal(around.digest, fresh_around.digest);
        device_destroy(dev);
        device_destroy(fresh);
    }
}

/* States from anywhere: the right record around random bytes. */
static void random_states_are_refused_or_survived(void **state)
{
    uint64_t seed = 7;
    (void)state;

    for (unsigned k = 0; k < KIND_COUNT; k++) {
        struct surroundings around;
        struct device *dev = make(&kinds[k], &around);
        struct state_writer out = { .data = NULL };
        assert_int_equal(dev->ops->save(dev, &out), 0);
        for (unsigned round = 0; round < 2000; round++) {
            size_t first = round % 2 ? 48 : 0; /* mostly leave the record's header alone */
            for (unsigned i = 0; i < 1 + round % 4 && out.len > first; i++)
                out.data[first + next_random(&seed) % (out.len - first)] =
                    (uint8_t)next_random(&seed);
            struct state_reader in = { .data = out.data, .len = out.len };
            if (dev->ops->load(dev, &in))
                dev->ops->reset(dev);
            drive(&kinds[k], dev, &around, seed, 50);
            if (round % 8 == 7) { /* begin again with a good one */
                out.len = 0;
                assert_int_equal(dev->ops->save(dev, &out), 0);
            }
        }
        state_writer_fini(&out);
        device_destroy(dev);
    }
}

static void destroying_nothing_is_fine(void **state)
{
    (void)state;
    device_destroy(NULL);
}

static int make_loop(void **state)
{
    (void)state;
    return loop_create(&loop);
}

static int drop_loop(void **state)
{
    (void)state;
    loop_destroy(loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_offset_size_and_value_is_survived),
        cmocka_unit_test(reads_outside_of_the_registers_give_zero),
        cmocka_unit_test(a_loaded_chip_answers_as_the_saved_one),
        cmocka_unit_test(a_reset_chip_answers_as_a_new_one),
        cmocka_unit_test(random_states_are_refused_or_survived),
        cmocka_unit_test(destroying_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, make_loop, drop_loop);
}
