// SPDX-License-Identifier: Apache-2.0
/* The first CPU's tables in guest RAM and its registers, without KVM. */
#include "cpu/x86_64/x86.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "mem/layout.h"
#include "mem_fixture.h"

static int make_low_mem(void **state)
{
    return make_mem(state) || guest_mem_add(*state, 0, MIB) ? -1 : 0;
}

static uint64_t word(struct guest_mem *mem, gpa_t gpa)
{
    uint64_t value;

    assert_int_equal(guest_mem_read(mem, gpa, &value, sizeof(value)), 0);
    return value;
}

/* Walks the tables as a CPU would. Returns the physical address, or UINT64_MAX. */
static uint64_t translate(struct guest_mem *mem, uint64_t address)
{
    uint64_t table = LAYOUT_PAGE_TABLES;

    for (unsigned shift = 39; shift >= 21; shift -= 9) {
        uint64_t entry = word(mem, table + (address >> shift & 511) * 8);

        if ((entry & 3) != 3) /* present, writable */
            return UINT64_MAX;
        table = entry & UINT64_C(0x000ffffffffff000);
        if (shift == 21)
            return entry & 0x80 ? table + (address & (2 * MIB - 1)) : UINT64_MAX;
    }
    return UINT64_MAX;
}

static void the_first_4_gib_are_mapped_to_themselves(void **state)
{
    static const uint64_t addresses[] = { 0,       0x1234, 2 * MIB - 1,           2 * MIB,
                                          GIB - 1, GIB,    LAYOUT_PCI32_BASE + 5, 4 * GIB - 1 };

    assert_int_equal(entry_write_tables(*state, CPU_ENTRY_LONG), 0);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        assert_int_equal(translate(*state, addresses[i]), addresses[i]);
}

static void nothing_above_4_gib_is_mapped(void **state)
{
    assert_int_equal(entry_write_tables(*state, CPU_ENTRY_LONG), 0);

    assert_int_equal(translate(*state, 4 * GIB), UINT64_MAX);
    assert_int_equal(translate(*state, UINT64_C(1) << 39), UINT64_MAX);
}

static void tables_stay_in_their_place(void **state)
{
    struct guest_mem *mem = *state;

    memset(guest_mem_at(mem, 0, MIB), 0xee, MIB);
    assert_int_equal(entry_write_tables(mem, CPU_ENTRY_LONG), 0);

    assert_int_equal(word(mem, LAYOUT_PAGE_TABLES - 8), UINT64_C(0xeeeeeeeeeeeeeeee));
    assert_int_equal(word(mem, LAYOUT_PAGE_TABLES + LAYOUT_PAGE_TABLES_SIZE),
                     UINT64_C(0xeeeeeeeeeeeeeeee));
    assert_int_equal(word(mem, LAYOUT_GDT - 8), UINT64_C(0xeeeeeeeeeeeeeeee));
    assert_int_equal(word(mem, LAYOUT_GDT + 5 * 8), UINT64_C(0xeeeeeeeeeeeeeeee));
    assert_int_equal(translate(mem, 4 * GIB), UINT64_MAX);
}

static void the_gdt_has_linux_boot_segments(void **state)
{
    assert_int_equal(entry_write_tables(*state, CPU_ENTRY_LONG), 0);

    assert_int_equal(word(*state, LAYOUT_GDT), 0);
    assert_int_equal(word(*state, LAYOUT_GDT + 0x10), UINT64_C(0x00af9b000000ffff));
    assert_int_equal(word(*state, LAYOUT_GDT + 0x18), UINT64_C(0x00cf93000000ffff));
    assert_int_equal(word(*state, LAYOUT_GDT + 0x20), UINT64_C(0x00008b0000000067));
}

static void pvh_gets_a_32_bit_code_segment_and_no_page_tables(void **state)
{
    assert_int_equal(entry_write_tables(*state, CPU_ENTRY_PROTECTED), 0);

    assert_int_equal(word(*state, LAYOUT_GDT + 0x10), UINT64_C(0x00cf9b000000ffff));
    assert_int_equal(word(*state, LAYOUT_PAGE_TABLES), 0);
}

static void refuses_ram_that_has_no_room(void **state)
{
    struct guest_mem *mem;

    (void)state;
    assert_int_equal(guest_mem_create(GUEST_MEM_PRIVATE, &mem), 0);
    assert_int_equal(entry_write_tables(mem, CPU_ENTRY_LONG), -EFAULT);
    assert_int_equal(guest_mem_add(mem, 0, 0x1000), 0);
    assert_int_equal(entry_write_tables(mem, CPU_ENTRY_LONG), -EFAULT);
    assert_int_equal(entry_write_tables(mem, CPU_ENTRY_PROTECTED), 0);
    guest_mem_destroy(mem);
}

static void long_mode_starts_with_paging_on(void **state)
{
    struct kvm_sregs sregs = { .apic_base = 0xfee00900 };

    (void)state;
    entry_set_sregs(&sregs, CPU_ENTRY_LONG);

    assert_int_equal(sregs.cr0, 0x80000011);
    assert_int_equal(sregs.cr3, LAYOUT_PAGE_TABLES);
    assert_int_equal(sregs.cr4, 0x20);
    assert_int_equal(sregs.efer, 0x500);
    assert_int_equal(sregs.cs.selector, 0x10);
    assert_true(sregs.cs.l && !sregs.cs.db);
    assert_int_equal(sregs.ss.selector, 0x18);
    assert_int_equal(sregs.gdt.base, LAYOUT_GDT);
    assert_int_equal(sregs.apic_base, 0xfee00900);
}

static void protected_mode_starts_with_paging_off(void **state)
{
    struct kvm_sregs sregs = { .cr0 = 0x60000010, .efer = 0x500 };

    (void)state;
    entry_set_sregs(&sregs, CPU_ENTRY_PROTECTED);

    assert_int_equal(sregs.cr0, 0x11);
    assert_int_equal(sregs.cr4, 0);
    assert_int_equal(sregs.efer, 0);
    assert_true(sregs.cs.db && !sregs.cs.l);
    assert_int_equal(sregs.cs.limit, 0xffffffff);
    assert_int_equal(sregs.tr.limit, 0x67);
}

static void the_argument_is_where_the_protocol_wants_it(void **state)
{
    struct cpu_entry entry = { .mode = CPU_ENTRY_LONG, .address = 0x1000200, .argument = 0x7000 };
    struct kvm_regs regs;

    (void)state;
    entry_set_regs(&regs, &entry);
    assert_int_equal(regs.rsi, 0x7000);
    assert_int_equal(regs.rbx, 0);
    assert_int_equal(regs.rip, 0x1000200);
    assert_int_equal(regs.rflags, 2); /* no interrupts */

    entry.mode = CPU_ENTRY_PROTECTED;
    entry_set_regs(&regs, &entry);
    assert_int_equal(regs.rbx, 0x7000);
    assert_int_equal(regs.rsi, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_low_mem, drop_mem)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_4_gib_are_mapped_to_themselves),
        TEST(nothing_above_4_gib_is_mapped),
        TEST(tables_stay_in_their_place),
        TEST(the_gdt_has_linux_boot_segments),
        TEST(pvh_gets_a_32_bit_code_segment_and_no_page_tables),
        TEST(refuses_ram_that_has_no_room),
        TEST(long_mode_starts_with_paging_on),
        TEST(protected_mode_starts_with_paging_off),
        TEST(the_argument_is_where_the_protocol_wants_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
