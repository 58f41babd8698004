// SPDX-License-Identifier: Apache-2.0
/* The ACPI tables: found from the RSDP, whole, and valid to Intel's compiler where it is
 * installed. */
#include "boot/acpi.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem/layout.h"
#include "scratch.h"
#include "skip.h"
#include "table_reader.h"

enum { MAX_CPUS = 4096 };

static uint8_t tables[LAYOUT_ACPI_SIZE];
static uint64_t apic_ids[MAX_CPUS];

static struct board machine_with(uint32_t cpu_count)
{
    for (uint32_t i = 0; i < cpu_count; i++)
        apic_ids[i] = i;
    return (struct board){
        .cpu_count = cpu_count,
        .cpu_ids = apic_ids,
        .has_pci = true,
        .ecam_base = LAYOUT_ECAM_BASE,
        .pci32_base = LAYOUT_PCI32_BASE,
        .pci32_size = LAYOUT_PCI32_SIZE,
        .intx_gsi = LAYOUT_GSI_PCI_INTX,
        .serial.address = LAYOUT_SERIAL,
        .serial.gsi = LAYOUT_GSI_SERIAL,
        .acpi_registers.address = LAYOUT_PORT_ACPI,
        .acpi_registers.gsi = LAYOUT_GSI_ACPI,
        .reset_port = LAYOUT_PORT_RESET_CONTROL,
        .rtc.address = LAYOUT_PORT_RTC,
        .pvpanic.address = LAYOUT_PORT_PVPANIC,
    };
}

static struct board machine_without_pci(void)
{
    struct board board = machine_with(2);

    board.has_pci = false;
    board.virtio_mmio_count = LAYOUT_VIRTIO_MMIO_MAX;
    for (unsigned i = 0; i < board.virtio_mmio_count; i++)
        board.virtio_mmio[i] =
            (struct board_virtio_mmio){ LAYOUT_VIRTIO_MMIO_BASE + i * LAYOUT_VIRTIO_MMIO_STRIDE,
                                        LAYOUT_VIRTIO_MMIO_SIZE, 5 + i };
    return board;
}

/* The table at guest address @gpa, of which the length and the checksum must be right. */
static const uint8_t *table_at(uint64_t gpa, size_t *len)
{
    assert_in_range(gpa, LAYOUT_ACPI_BASE, LAYOUT_ACPI_BASE + LAYOUT_ACPI_SIZE - 36);
    const uint8_t *table = tables + (gpa - LAYOUT_ACPI_BASE);
    *len = number_at(table + 4, 4);
    assert_in_range(*len, 36, sizeof(tables) - (gpa - LAYOUT_ACPI_BASE));
    assert_int_equal(sum(table, *len), 0);
    return table;
}

/* The table with that signature, or NULL. */
static const uint8_t *find_table(const char *signature, size_t *len)
{
    size_t xsdt_len;
    const uint8_t *xsdt = table_at(number_at(tables + 24, 8), &xsdt_len);

    assert_memory_equal(xsdt, "XSDT", 4);
    for (size_t i = 36; i + 8 <= xsdt_len; i += 8) {
        const uint8_t *table = table_at(number_at(xsdt + i, 8), len);
        if (memcmp(table, signature, 4) == 0)
            return table;
        if (memcmp(table, "FACP", 4) == 0 && memcmp(signature, "DSDT", 4) == 0)
            return table_at(number_at(table + 140, 8), len);
    }
    return NULL;
}

static void build(const struct board *board)
{
    memset(tables, 0xa5, sizeof(tables));
    assert_true(acpi_build(board, LAYOUT_ACPI_BASE, tables, sizeof(tables)) > 0);
}

static void the_rsdp_comes_first_and_adds_up(void **state)
{
    struct board board = machine_with(1);
    (void)state;

    build(&board);

    assert_memory_equal(tables, "RSD PTR ", 8);
    assert_int_equal(sum(tables, 20), 0);
    assert_int_equal(sum(tables, 36), 0);
}

static void every_table_is_listed_and_adds_up(void **state)
{
    static const char *const signatures[] = { "FACP", "APIC", "MCFG", "DSDT" };
    struct board board = machine_with(4);
    size_t len;
    (void)state;

    build(&board);

    for (size_t i = 0; i < 4; i++)
        assert_non_null(find_table(signatures[i], &len));
}

static void a_machine_without_pci_has_no_mcfg(void **state)
{
    struct board board = machine_without_pci();
    size_t len;
    (void)state;

    build(&board);

    assert_null(find_table("MCFG", &len));
}

/* Counts the entries of a type in the MADT. */
static unsigned count_entries(uint8_t type)
{
    size_t len;
    const uint8_t *madt = find_table("APIC", &len);
    unsigned count = 0;
    size_t i = 44;

    for (; i < len; i += madt[i + 1]) {
        assert_true(madt[i + 1] >= 2);
        count += madt[i] == type;
    }
    assert_int_equal(i, len);
    return count;
}

static void cpus_above_254_are_told_as_x2apic(void **state)
{
    struct board board = machine_with(300);
    (void)state;

    build(&board);

    assert_int_equal(count_entries(0), 255);
    assert_int_equal(count_entries(9), 45);
    assert_int_equal(count_entries(10), 1);
}

static void a_cpu_whose_apic_id_is_255_is_told_as_x2apic(void **state)
{
    struct board board = machine_with(2);
    (void)state;

    apic_ids[1] = 255;
    build(&board);

    assert_int_equal(count_entries(0), 1);
    assert_int_equal(count_entries(9), 1);
}

static void few_cpus_need_no_x2apic_entries(void **state)
{
    struct board board = machine_with(4);
    (void)state;

    build(&board);

    assert_int_equal(count_entries(0), 4);
    assert_int_equal(count_entries(1), 1);
    assert_int_equal(count_entries(4), 1);
    assert_int_equal(count_entries(9) + count_entries(10), 0);
}

static void as_many_cpus_as_kvm_has_fit_into_the_bios_area(void **state)
{
    struct board board = machine_with(MAX_CPUS);
    (void)state;

    build(&board);

    assert_int_equal(count_entries(0) + count_entries(9), MAX_CPUS);
}

static void the_fadt_names_the_registers_for_sleep_and_reset(void **state)
{
    struct board board = machine_with(1);
    size_t len;
    (void)state;

    build(&board);
    const uint8_t *fadt = find_table("FACP", &len);

    assert_int_equal(len, 276);
    assert_true(number_at(fadt + 112, 4) & 1 << 20); /* hardware-reduced */
    assert_int_equal(number_at(fadt + 120, 8), LAYOUT_PORT_RESET_CONTROL);
    assert_int_equal(fadt[128], 6);
    assert_int_equal(number_at(fadt + 248, 8), LAYOUT_PORT_ACPI);
    assert_int_equal(number_at(fadt + 260, 8), LAYOUT_PORT_ACPI + 1);
}

static void a_buffer_too_small_is_never_overrun(void **state)
{
    struct board board = machine_with(3);
    (void)state;
    int needed = acpi_build(&board, LAYOUT_ACPI_BASE, tables, sizeof(tables));

    for (int size = 0; size < needed; size++) {
        uint8_t *exact = malloc((size_t)size + 1); /* whose end the sanitizer watches */
        assert_non_null(exact);
        exact[size] = 0xa5;
        assert_int_equal(acpi_build(&board, LAYOUT_ACPI_BASE, exact, (size_t)size), -ENOSPC);
        assert_int_equal(exact[size], 0xa5);
        free(exact);
    }
    assert_int_equal(acpi_build(&board, LAYOUT_ACPI_BASE, tables, (size_t)needed), needed);
}

/* Runs a shell command and returns its exit status. */
static int run_shell(const char *command)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool iasl_is_missing(void)
{
    return run_shell("command -v iasl >/dev/null 2>&1") != 0;
}

static void write_table(const char *folder, const char *name, const uint8_t *table, size_t len)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s.aml", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(table, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* Takes the tables apart and, for the DSDT, puts them together again: iasl says what it finds
 * wrong on either way. */
static void assert_iasl_is_content(const struct board *board)
{
    static const char *const names[] = { "FACP", "APIC", "MCFG", "DSDT" };
    char folder[] = "/tmp/hutch-acpi.XXXXXX", command[1024];

    build(board);
    assert_non_null(scratch_make(folder));
    for (size_t i = 0; i < 4; i++) {
        size_t len;
        const uint8_t *table = find_table(names[i], &len);
        if (!table)
            continue;
        write_table(folder, names[i], table, len);
        (void)snprintf(
            command, sizeof(command),
            "cd %s && { iasl -d %s.aml && cp %s.aml before && iasl -we %s.dsl && "
            "tail -c +37 before >a && tail -c +37 %s.aml >b && cmp a b; } >log 2>&1 && "
            "! grep -iE '^(error|warning)|invalid|unknown' log || { cat log >&2; false; }",
            folder, names[i], names[i], names[i], names[i]);
        assert_int_equal(run_shell(command), 0);
    }
    (void)snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(run_shell(command), 0);
}

static void iasl_accepts_a_machine_with_pci(void **state)
{
    struct board board = machine_with(4);
    (void)state;

    if (iasl_is_missing())
        skip_because("no iasl, which Debian has in acpica-tools");
    assert_iasl_is_content(&board);
}

static void iasl_accepts_a_machine_with_virtio_mmio(void **state)
{
    struct board board = machine_without_pci();
    (void)state;

    if (iasl_is_missing())
        skip_because("no iasl, which Debian has in acpica-tools");
    assert_iasl_is_content(&board);
}

static void iasl_accepts_a_machine_with_300_cpus(void **state)
{
    struct board board = machine_with(300);
    (void)state;

    if (iasl_is_missing())
        skip_because("no iasl, which Debian has in acpica-tools");
    assert_iasl_is_content(&board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rsdp_comes_first_and_adds_up),
        cmocka_unit_test(every_table_is_listed_and_adds_up),
        cmocka_unit_test(a_machine_without_pci_has_no_mcfg),
        cmocka_unit_test(cpus_above_254_are_told_as_x2apic),
        cmocka_unit_test(a_cpu_whose_apic_id_is_255_is_told_as_x2apic),
        cmocka_unit_test(few_cpus_need_no_x2apic_entries),
        cmocka_unit_test(as_many_cpus_as_kvm_has_fit_into_the_bios_area),
        cmocka_unit_test(the_fadt_names_the_registers_for_sleep_and_reset),
        cmocka_unit_test(a_buffer_too_small_is_never_overrun),
        cmocka_unit_test(iasl_accepts_a_machine_with_pci),
        cmocka_unit_test(iasl_accepts_a_machine_with_virtio_mmio),
        cmocka_unit_test(iasl_accepts_a_machine_with_300_cpus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
