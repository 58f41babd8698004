// SPDX-License-Identifier: Apache-2.0
/* The small chips of a PC: each does its one thing, and only for the access that means it. */
#include "devices/pc_chips.h"

#include <errno.h>
#include <misc/pvpanic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "device_fakes.h"

static struct power_port port_of(struct power_notes *notes)
{
    return (struct power_port){ note_power, notes };
}

static void i8042_resets_on_its_pulse_command_only(void **state)
{
    struct power_notes notes = { 0 };
    struct power_port power = port_of(&notes);
    struct device *i8042;
    (void)state;
    assert_int_equal(i8042_create(&power, &i8042), 0);

    for (unsigned value = 0; value < 256; value++) {
        out8(i8042, 0, (uint8_t)value);
        if (value != 0xfe)
            out8(i8042, 4, (uint8_t)value);
    }
    write_reg(i8042, 4, 4, 0xfe);
    assert_int_equal(notes.count, 0);
    out8(i8042, 4, 0xfe);

    assert_int_equal(notes.count, 1);
    assert_int_equal(notes.event, POWER_RESET);
    assert_int_equal(in8(i8042, 0), 0);
    assert_int_equal(in8(i8042, 4), 0); /* ready for the next command */
    device_destroy(i8042);
}

static void reset_control_resets_when_bit_2_rises(void **state)
{
    struct power_notes notes = { 0 };
    struct power_port power = port_of(&notes);
    struct device *chip;
    (void)state;
    assert_int_equal(reset_control_create(&power, &chip), 0);

    out8(chip, 0, 0xfb);
    assert_int_equal(in8(chip, 0), 0x0a);
    assert_int_equal(notes.count, 0);
    out8(chip, 0, 0x06);
    assert_int_equal(notes.count, 1);
    assert_int_equal(notes.event, POWER_RESET);
    out8(chip, 0, 0x0e); /* still high */
    assert_int_equal(notes.count, 1);
    write_reg(chip, 0, 4, 0x00);
    write_reg(chip, 0, 2, 0x06);
    assert_int_equal(notes.count, 1);
    device_destroy(chip);
}

static void reset_control_is_saved_loaded_and_reset(void **state)
{
    struct power_notes notes = { 0 };
    struct power_port power = port_of(&notes);
    struct device *chip, *copy;
    (void)state;
    assert_int_equal(reset_control_create(&power, &chip), 0);
    assert_int_equal(reset_control_create(&power, &copy), 0);
    out8(chip, 0, 0x0a);

    assert_int_equal(carry_over(chip, copy), 0);
    assert_int_equal(in8(copy, 0), 0x0a);
    copy->ops->reset(copy);
    assert_int_equal(in8(copy, 0), 0);
    assert_int_equal(notes.count, 0);
    device_destroy(chip);
    device_destroy(copy);
}

static void debug_exit_hands_on_the_value(void **state)
{
    struct power_notes notes = { 0 };
    struct power_port power = port_of(&notes);
    struct device *chip;
    (void)state;
    assert_int_equal(debug_exit_create(&power, &chip), 0);

    out8(chip, 0, 0x21);
    assert_int_equal(notes.event, POWER_DEBUG_EXIT);
    assert_int_equal(notes.value, 0x21);
    write_reg(chip, 0, 4, 0xdeadbeef);
    assert_int_equal(notes.value, 0xdeadbeef);
    assert_int_equal(notes.count, 2);
    assert_int_equal(in8(chip, 0), 0);
    device_destroy(chip);
}

static void pvpanic_tells_which_events_it_knows(void **state)
{
    struct power_notes notes = { 0 };
    struct power_port power = port_of(&notes);
    struct device *chip;
    (void)state;
    assert_int_equal(pvpanic_create(&power, &chip), 0);

    assert_int_equal(in8(chip, 0), PVPANIC_PANICKED | PVPANIC_CRASH_LOADED);
    device_destroy(chip);
}

static void pvpanic_announces_one_event_per_write(void **state)
{
    struct power_notes notes = { 0 };
    struct power_port power = port_of(&notes);
    struct device *chip;
    (void)state;
    assert_int_equal(pvpanic_create(&power, &chip), 0);

    out8(chip, 0, 0);
    out8(chip, 0, 0xfc);
    write_reg(chip, 0, 4, PVPANIC_PANICKED);
    assert_int_equal(notes.count, 0);
    out8(chip, 0, PVPANIC_CRASH_LOADED);
    assert_int_equal(notes.event, POWER_CRASH_LOAD);
    out8(chip, 0, PVPANIC_PANICKED);
    assert_int_equal(notes.event, POWER_PANIC);
    out8(chip, 0, PVPANIC_PANICKED | PVPANIC_CRASH_LOADED);
    assert_int_equal(notes.event, POWER_PANIC);
    assert_int_equal(notes.count, 3);
    device_destroy(chip);
}

/* --- ACPI --- */

struct acpi_ends {
    struct power_notes notes;
    bool irq;
};

static struct device *new_acpi(struct acpi_ends *ends)
{
    struct acpi_params params = {
        .irq = { note_irq, &ends->irq },
        .power = port_of(&ends->notes),
    };
    struct device *acpi;

    assert_int_equal(acpi_registers_create(&params, &acpi), 0);
    return acpi;
}

static void acpi_powers_off_on_s5_with_sleep_enable(void **state)
{
    struct acpi_ends ends = { 0 };
    struct device *acpi = new_acpi(&ends);
    (void)state;

    out8(acpi, 0, ACPI_SLEEP_TYPE_S5 << 2); /* not enabled */
    for (uint8_t type = 0; type < 8; type++) {
        if (type != ACPI_SLEEP_TYPE_S5)
            out8(acpi, 0, 0x20 | (uint8_t)(type << 2));
    }
    out8(acpi, 1, 0x20 | ACPI_SLEEP_TYPE_S5 << 2);
    assert_int_equal(ends.notes.count, 0);
    out8(acpi, 0, 0x20 | ACPI_SLEEP_TYPE_S5 << 2);

    assert_int_equal(ends.notes.count, 1);
    assert_int_equal(ends.notes.event, POWER_OFF);
    assert_int_equal(in8(acpi, 0), 0);
    assert_int_equal(in8(acpi, 1), 0);
    device_destroy(acpi);
}

static void acpi_power_button_interrupts_until_the_event_is_read(void **state)
{
    struct acpi_ends ends = { 0 };
    struct device *acpi = new_acpi(&ends);
    (void)state;
    assert_false(ends.irq);

    acpi_press_power_button(acpi);
    acpi_press_power_button(acpi);
    assert_true(ends.irq);
    (void)in8(acpi, 5); /* not the event register */
    assert_true(ends.irq);
    assert_int_equal(in8(acpi, 4), ACPI_EVENT_POWER_BUTTON);
    assert_false(ends.irq);
    assert_int_equal(in8(acpi, 4), 0);
    acpi_press_power_button(acpi);
    assert_int_equal(read_reg(acpi, 4, 4), ACPI_EVENT_POWER_BUTTON);
    device_destroy(acpi);
}

static void acpi_event_survives_save_and_load_and_not_a_reset(void **state)
{
    struct acpi_ends ends = { 0 }, copy_ends = { 0 };
    struct device *acpi = new_acpi(&ends);
    struct device *copy = new_acpi(&copy_ends);
    (void)state;
    acpi_press_power_button(acpi);

    assert_int_equal(carry_over(acpi, copy), 0);
    assert_true(copy_ends.irq);
    copy->ops->reset(copy);
    assert_false(copy_ends.irq);
    assert_int_equal(in8(copy, 4), 0);
    device_destroy(acpi);
    device_destroy(copy);
}

/* Loads @value of @size bytes as the state in record @name, version 1. */
static int load_value(struct device *dev, const char *name, uint32_t value, size_t size)
{
    struct state_writer out = { .data = NULL };

    assert_int_equal(state_save(&out, name, 1, &value, size), 0);
    struct state_reader in = { .data = out.data, .len = out.len };
    int err = dev->ops->load(dev, &in);
    state_writer_fini(&out);
    return err;
}

static void states_that_cannot_be_are_refused(void **state)
{
    struct acpi_ends ends = { 0 };
    struct power_port power = port_of(&ends.notes);
    struct device *acpi = new_acpi(&ends);
    struct device *reset;
    (void)state;
    assert_int_equal(reset_control_create(&power, &reset), 0);

    assert_int_equal(load_value(acpi, "acpi-registers", 1, 4), 0);
    assert_int_equal(load_value(acpi, "acpi-registers", 2, 4), -EBADMSG);
    assert_int_equal(load_value(acpi, "acpi-registers", 1, 2), -EBADMSG);
    assert_int_equal(load_value(reset, "reset-control", 0x06, 1), 0);
    assert_int_equal(load_value(reset, "reset-control", 0x01, 1), -EBADMSG);
    assert_int_equal(load_value(reset, "acpi-registers", 0x06, 1), -EBADMSG);
    assert_int_equal(in8(reset, 0), 0x06);
    device_destroy(acpi);
    device_destroy(reset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(i8042_resets_on_its_pulse_command_only),
        cmocka_unit_test(reset_control_resets_when_bit_2_rises),
        cmocka_unit_test(reset_control_is_saved_loaded_and_reset),
        cmocka_unit_test(debug_exit_hands_on_the_value),
        cmocka_unit_test(pvpanic_tells_which_events_it_knows),
        cmocka_unit_test(pvpanic_announces_one_event_per_write),
        cmocka_unit_test(acpi_powers_off_on_s5_with_sleep_enable),
        cmocka_unit_test(acpi_power_button_interrupts_until_the_event_is_read),
        cmocka_unit_test(acpi_event_survives_save_and_load_and_not_a_reset),
        cmocka_unit_test(states_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
