// SPDX-License-Identifier: Apache-2.0
/* The MP table: found by its signature, adds up, and says what the ACPI tables say. */
#include "boot/mptable.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem/layout.h"
#include "table_reader.h"

enum { POINTER_SIZE = 16, HEADER_SIZE = 44, MAX_CPUS = 255 };
enum { PROCESSOR, BUS, IO_APIC, IO_INTERRUPT, LOCAL_INTERRUPT, TYPE_COUNT };
enum { EDGE_HIGH = 0x5, LEVEL_HIGH = 0xd, LEVEL_LOW = 0xf };

static const unsigned sizes[TYPE_COUNT] = { 20, 8, 8, 8, 8 };

static uint8_t area[LAYOUT_MPTABLE_SIZE];
static const uint8_t *const table = area + POINTER_SIZE;
static uint64_t apic_ids[MAX_CPUS + 1];

static struct board machine_with(uint32_t cpu_count, unsigned pci_slot_count)
{
    for (uint32_t i = 0; i < cpu_count; i++)
        apic_ids[i] = i;
    return (struct board){
        .cpu_count = cpu_count,
        .cpu_ids = apic_ids,
        .has_pci = pci_slot_count > 0,
        .pci_slot_count = pci_slot_count,
        .intx_gsi = LAYOUT_GSI_PCI_INTX,
    };
}

static struct board machine_without_pci(void)
{
    struct board board = machine_with(2, 0);

    board.virtio_mmio_count = LAYOUT_VIRTIO_MMIO_MAX;
    for (unsigned i = 0; i < board.virtio_mmio_count; i++)
        board.virtio_mmio[i] =
            (struct board_virtio_mmio){ layout_virtio_mmio_base(i), LAYOUT_VIRTIO_MMIO_SIZE,
                                        layout_virtio_mmio_gsi(i) };
    return board;
}

static int build(const struct board *board)
{
    memset(area, 0xa5, sizeof(area));
    return mptable_build(board, LAYOUT_MPTABLE_BASE, area, sizeof(area));
}

/* The entry number @index of @type, or NULL behind the last one. Entries must be in the order of
 * their types, as many as the header says, and fill the table. */
static const uint8_t *find_entry(unsigned type, unsigned index)
{
    const uint8_t *found = NULL, *entry = table + HEADER_SIZE;
    unsigned last_type = PROCESSOR;

    for (uint32_t left = number_at(table + 34, 2); left; left--) {
        assert_in_range(entry[0], last_type, LOCAL_INTERRUPT);
        last_type = entry[0];
        if (entry[0] == type && index-- == 0)
            found = entry;
        entry += sizes[entry[0]];
    }
    assert_int_equal(entry - table, number_at(table + 4, 2));
    return found;
}

static unsigned count_entries(unsigned type)
{
    unsigned count = 0;

    while (find_entry(type, count))
        count++;
    return count;
}

static void assert_entry(const uint8_t *entry, const uint8_t expected[8])
{
    assert_non_null(entry);
    assert_memory_equal(entry, expected, 8);
}

/* The one interrupt entry for @irq of @bus. */
static void assert_interrupt(uint8_t bus, uint8_t irq, uint8_t flags, uint8_t pin)
{
    const uint8_t expected[8] = { IO_INTERRUPT, 0, flags, 0, bus, irq, 0, pin };
    const uint8_t *entry, *found = NULL;

    for (unsigned i = 0; (entry = find_entry(IO_INTERRUPT, i)); i++) {
        if (entry[4] != bus || entry[5] != irq)
            continue;
        assert_null(found);
        found = entry;
    }
    assert_entry(found, expected);
}

static void assert_no_interrupt(uint8_t bus, uint8_t irq)
{
    const uint8_t *entry;

    for (unsigned i = 0; (entry = find_entry(IO_INTERRUPT, i)); i++)
        assert_false(entry[4] == bus && entry[5] == irq);
}

static void the_pointer_leads_to_the_table(void **state)
{
    const uint8_t expected[] = { '_', 'M', 'P', '_', 0x10, 0xe0, 0x0f, 0, 1, 4 };
    struct board board = machine_with(2, 3);
    (void)state;

    assert_true(build(&board) > 0);

    assert_memory_equal(area, expected, sizeof(expected));
    assert_int_equal(sum(area, POINTER_SIZE), 0);
    for (unsigned i = 11; i < POINTER_SIZE; i++)
        assert_int_equal(area[i], 0);
}

static void the_table_adds_up(void **state)
{
    struct board board = machine_with(2, 3);
    (void)state;

    int used = build(&board);

    assert_memory_equal(table, "PCMP", 4);
    assert_int_equal(number_at(table + 4, 2), used - POINTER_SIZE);
    assert_int_equal(table[6], 4);
    assert_int_equal(sum(table, (size_t)used - POINTER_SIZE), 0);
    assert_memory_equal(table + 8, "HUTCH   HUTCHVM     ", 20);
    assert_int_equal(number_at(table + 28, 4), 0);
    assert_int_equal(number_at(table + 32, 2), 0);
    assert_int_equal(number_at(table + 36, 4), LAYOUT_LAPIC_BASE);
    assert_int_equal(number_at(table + 40, 4), 0);
}

static void the_first_cpu_boots(void **state)
{
    const uint8_t first[8] = { PROCESSOR, 7, 0x14, 3, 0, 6, 0, 0 };
    const uint8_t second[8] = { PROCESSOR, 9, 0x14, 1, 0, 6, 0, 0 };
    const uint8_t rest[12] = { 0x01, 0x02 };
    struct board board = machine_with(2, 1);
    (void)state;

    apic_ids[0] = 7;
    apic_ids[1] = 9;
    assert_true(build(&board) > 0);

    assert_int_equal(count_entries(PROCESSOR), 2);
    assert_entry(find_entry(PROCESSOR, 0), first);
    assert_entry(find_entry(PROCESSOR, 1), second);
    assert_memory_equal(find_entry(PROCESSOR, 1) + 8, rest, sizeof(rest));
}

static void the_io_apic_is_the_one_of_the_madt(void **state)
{
    const uint8_t expected[8] = { IO_APIC, 0, 0x20, 1, 0, 0, 0xc0, 0xfe };
    struct board board = machine_with(1, 1);
    (void)state;

    assert_true(build(&board) > 0);

    assert_int_equal(count_entries(IO_APIC), 1);
    assert_entry(find_entry(IO_APIC, 0), expected);
}

static void pci_is_bus_0_and_isa_comes_behind_it(void **state)
{
    const uint8_t pci[8] = { BUS, 0, 'P', 'C', 'I', ' ', ' ', ' ' };
    const uint8_t isa[8] = { BUS, 1, 'I', 'S', 'A', ' ', ' ', ' ' };
    struct board board = machine_with(1, 1);
    (void)state;

    assert_true(build(&board) > 0);

    assert_int_equal(count_entries(BUS), 2);
    assert_entry(find_entry(BUS, 0), pci);
    assert_entry(find_entry(BUS, 1), isa);
}

static void isa_interrupts_have_the_pins_of_their_numbers(void **state)
{
    struct board board = machine_with(1, 1);
    (void)state;

    assert_true(build(&board) > 0);

    for (uint8_t irq = 3; irq < 16; irq++)
        assert_interrupt(1, irq, EDGE_HIGH, irq);
    assert_interrupt(1, 1, EDGE_HIGH, 1);
    assert_int_equal(count_entries(IO_INTERRUPT), 14); /* neither 0 nor 2 */
}

static void pci_slots_share_four_wires_in_turn(void **state)
{
    struct board board = machine_with(1, 3);
    (void)state;

    assert_true(build(&board) > 0);

    assert_interrupt(0, 1 << 2 | 0, LEVEL_LOW, 17);
    assert_interrupt(0, 1 << 2 | 1, LEVEL_LOW, 18);
    assert_interrupt(0, 1 << 2 | 2, LEVEL_LOW, 19);
    assert_interrupt(0, 1 << 2 | 3, LEVEL_LOW, 16);
    assert_interrupt(0, 2 << 2 | 0, LEVEL_LOW, 18);
    assert_int_equal(count_entries(IO_INTERRUPT), 14 + 2 * 4); /* the bridge and slot 3: none */
}

static void local_interrupts_are_as_the_first_cpu_has_them(void **state)
{
    const uint8_t extint[8] = { LOCAL_INTERRUPT, 3, 0, 0, 1, 0, 7, 0 };
    const uint8_t nmi[8] = { LOCAL_INTERRUPT, 1, 0, 0, 1, 0, 255, 1 };
    struct board board = machine_with(2, 1);
    (void)state;

    apic_ids[0] = 7;
    assert_true(build(&board) > 0);

    assert_int_equal(count_entries(LOCAL_INTERRUPT), 2);
    assert_entry(find_entry(LOCAL_INTERRUPT, 0), extint);
    assert_entry(find_entry(LOCAL_INTERRUPT, 1), nmi);
}

static void without_pci_isa_is_bus_0(void **state)
{
    const uint8_t isa[8] = { BUS, 0, 'I', 'S', 'A', ' ', ' ', ' ' };
    struct board board = machine_without_pci();
    (void)state;

    assert_true(build(&board) > 0);

    assert_int_equal(count_entries(BUS), 1);
    assert_entry(find_entry(BUS, 0), isa);
    assert_int_equal(find_entry(LOCAL_INTERRUPT, 0)[4], 0);
    assert_int_equal(find_entry(LOCAL_INTERRUPT, 1)[4], 0);
}

static void virtio_mmio_pins_are_level_triggered(void **state)
{
    struct board board = machine_without_pci();
    (void)state;

    assert_true(build(&board) > 0);

    for (unsigned i = 0; i < LAYOUT_VIRTIO_MMIO_MAX; i++) {
        uint8_t gsi = (uint8_t)layout_virtio_mmio_gsi(i);
        assert_interrupt(0, gsi, LEVEL_HIGH, gsi);
    }
    assert_interrupt(0, LAYOUT_GSI_SERIAL, EDGE_HIGH, LAYOUT_GSI_SERIAL);
    assert_no_interrupt(0, 0);
    assert_no_interrupt(0, 2);
}

static void the_largest_machine_fits_into_its_place(void **state)
{
    struct board board = machine_with(MAX_CPUS, 32);
    (void)state;

    assert_true(build(&board) > 0);

    assert_int_equal(count_entries(PROCESSOR), MAX_CPUS);
    assert_int_equal(find_entry(PROCESSOR, MAX_CPUS - 1)[1], 254);
    assert_int_equal(count_entries(IO_INTERRUPT), 14 + 31 * 4);
}

static void more_cpus_than_it_can_name_have_no_table(void **state)
{
    struct board board = machine_with(MAX_CPUS + 1, 1);
    (void)state;

    assert_int_equal(build(&board), 0);

    for (size_t i = 0; i < sizeof(area); i++)
        assert_int_equal(area[i], 0xa5);
}

static void a_place_too_small_is_never_overrun(void **state)
{
    struct board board = machine_with(3, 3);
    int needed = build(&board);
    (void)state;

    for (int size = 0; size < needed; size++) {
        uint8_t *exact = malloc((size_t)size + 1);
        exact[size] = 0xa5;
        assert_int_equal(mptable_build(&board, LAYOUT_MPTABLE_BASE, exact, (size_t)size), -ENOSPC);
        assert_int_equal(exact[size], 0xa5);
        free(exact);
    }
    assert_int_equal(mptable_build(&board, LAYOUT_MPTABLE_BASE, area, (size_t)needed), needed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pointer_leads_to_the_table),
        cmocka_unit_test(the_table_adds_up),
        cmocka_unit_test(the_first_cpu_boots),
        cmocka_unit_test(the_io_apic_is_the_one_of_the_madt),
        cmocka_unit_test(pci_is_bus_0_and_isa_comes_behind_it),
        cmocka_unit_test(isa_interrupts_have_the_pins_of_their_numbers),
        cmocka_unit_test(pci_slots_share_four_wires_in_turn),
        cmocka_unit_test(local_interrupts_are_as_the_first_cpu_has_them),
        cmocka_unit_test(without_pci_isa_is_bus_0),
        cmocka_unit_test(virtio_mmio_pins_are_level_triggered),
        cmocka_unit_test(the_largest_machine_fits_into_its_place),
        cmocka_unit_test(more_cpus_than_it_can_name_have_no_table),
        cmocka_unit_test(a_place_too_small_is_never_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
