// SPDX-License-Identifier: Apache-2.0
/* The device tree, read back with libfdt, and looked through by the device tree compiler. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/fdt.h"
#include "host/fd.h"
#include "host/program.h"
#include "skip.h"

enum { KIB = 1024, MIB = 1024 * KIB };
#define RAM_BASE UINT64_C(0x80000000)
#define FAR UINT64_C(0x100000000)

/* A machine of every part that there can be, and its tree. */
struct fixture {
    struct board board;
    uint64_t cpu_ids[600];
    struct fdt_params params;
    void *tree;
    int len;
};

static void fixture_init(struct fixture *fixture, unsigned gic_version)
{
    *fixture = (struct fixture){
        .board = {
            .ram_base = RAM_BASE,
            .ram_size = 64 * MIB,
            .cpu_count = 2,
            .has_pci = true,
            .pci_slot_count = 3,
            .ecam_base = 0x30000000,
            .pci32_base = 0x10000000,
            .pci32_size = 0x20000000,
            .intx_gsi = 4,
            .serial = { 0x9000000, 0 },
            .rtc = { 0x9010000, 1 },
            .gpio = { 0x9020000, 2 },
            .gpio_power_line = 3,
            .pvpanic = { 0x9030000, 0 },
            .virtio_mmio = { { 0xa000000, 0x200, 8 }, { 0xa001000, 0x200, 9 } },
            .virtio_mmio_count = 2,
            .gic = { .version = gic_version,
                     .has_its = gic_version == 3,
                     .dist_base = 0x8000000,
                     .dist_size = 64 * KIB,
                     .cpu_base = 0x8010000,
                     .cpu_size = 8 * KIB,
                     .redist_base = 0x40000000,
                     .redist_stride = 128 * KIB,
                     .its_base = 0x8080000,
                     .its_size = 128 * KIB },
            .has_pmu = true,
        },
    };
    for (unsigned i = 0; i < 600; i++) /* as KVM numbers them: 16 to a cluster */
        fixture->cpu_ids[i] = (i & 0xf) | (i >> 4) << 8;
    fixture->board.cpu_ids = fixture->cpu_ids;
    fixture->params =
        (struct fdt_params){ .board = &fixture->board, .cmdline = "console=ttyS0 quiet" };
    fixture->tree = malloc(FDT_SIZE_MAX);
    assert_non_null(fixture->tree);
}

static void fixture_fini(struct fixture *fixture)
{
    free(fixture->tree);
}

static void build(struct fixture *fixture)
{
    fixture->len = fdt_build(&fixture->params, fixture->tree, FDT_SIZE_MAX);
    assert_true(fixture->len > 0);
    assert_int_equal(fdt_check_full(fixture->tree, (size_t)fixture->len), 0);
}

static int node(const struct fixture *fixture, const char *path)
{
    int offset = fdt_path_offset(fixture->tree, path);

    if (offset < 0)
        print_error("no node %s\n", path);
    assert_true(offset >= 0);
    return offset;
}

static bool has_node(const struct fixture *fixture, const char *path)
{
    return fdt_path_offset(fixture->tree, path) >= 0;
}

static const void *property(const struct fixture *fixture, const char *path, const char *name,
                            int *len)
{
    const void *value = fdt_getprop(fixture->tree, node(fixture, path), name, len);

    if (!value)
        print_error("no property %s in %s\n", name, path);
    assert_non_null(value);
    return value;
}

static const char *text(const struct fixture *fixture, const char *path, const char *name)
{
    int len;

    return property(fixture, path, name, &len);
}

static uint32_t cell(const struct fixture *fixture, const char *path, const char *name, int index)
{
    int len;
    const fdt32_t *cells = property(fixture, path, name, &len);

    assert_true(index < len / 4);
    return fdt32_to_cpu(cells[index]);
}

static uint64_t cells64(const struct fixture *fixture, const char *path, const char *name,
                        int index)
{
    return (uint64_t)cell(fixture, path, name, index) << 32 | cell(fixture, path, name, index + 1);
}

static void the_kernel_is_told_how_it_was_started(void **state)
{
    struct fixture fixture;
    int len;
    (void)state;
    fixture_init(&fixture, 3);
    fixture.params.initrd_start = FAR + 0x5000;
    fixture.params.initrd_size = 0x1234;

    build(&fixture);

    assert_string_equal(text(&fixture, "/chosen", "bootargs"), "console=ttyS0 quiet");
    assert_int_equal(cells64(&fixture, "/chosen", "linux,initrd-start", 0), FAR + 0x5000);
    assert_int_equal(cells64(&fixture, "/chosen", "linux,initrd-end", 0), FAR + 0x6234);
    assert_string_equal(text(&fixture, "/chosen", "stdout-path"), "/serial@9000000:115200n8");
    (void)property(&fixture, "/chosen", "kaslr-seed", &len);
    assert_int_equal(len, 8);
    fixture_fini(&fixture);
}

static void without_an_initrd_there_is_no_word_of_one(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 3);

    build(&fixture);

    assert_null(fdt_getprop(fixture.tree, node(&fixture, "/chosen"), "linux,initrd-start", NULL));
    fixture_fini(&fixture);
}

static void every_tree_has_seeds_of_its_own(void **state)
{
    struct fixture fixture;
    uint8_t first[32];
    int len;
    (void)state;
    fixture_init(&fixture, 3);
    build(&fixture);
    memcpy(first, property(&fixture, "/chosen", "rng-seed", &len), sizeof(first));
    assert_true(len >= 32);

    build(&fixture);

    assert_memory_not_equal(first, property(&fixture, "/chosen", "rng-seed", &len), sizeof(first));
    fixture_fini(&fixture);
}

static void memory_is_what_the_guest_has(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 3);
    fixture.board.ram_size = FAR;

    build(&fixture);

    assert_int_equal(cells64(&fixture, "/memory@80000000", "reg", 0), RAM_BASE);
    assert_int_equal(cells64(&fixture, "/memory@80000000", "reg", 2), FAR);
    fixture_fini(&fixture);
}

static void cpus_are_named_by_their_hardware_numbers(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 3);
    fixture.board.cpu_count = 18;

    build(&fixture);

    assert_int_equal(cells64(&fixture, "/cpus/cpu@101", "reg", 0), 0x101);
    assert_string_equal(text(&fixture, "/cpus/cpu@101", "enable-method"), "psci");
    assert_string_equal(text(&fixture, "/psci", "method"), "hvc");
    assert_int_equal(cell(&fixture, "/cpus/cpu-map/socket0/cluster0/core17", "cpu", 0),
                     fdt_get_phandle(fixture.tree, node(&fixture, "/cpus/cpu@101")));
    fixture_fini(&fixture);
}

static void a_gicv3_has_a_redistributor_for_each_cpu_and_its_its(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 3);
    fixture.board.cpu_count = 5;

    build(&fixture);

    const char *gic = "/interrupt-controller@8000000";
    assert_string_equal(text(&fixture, gic, "compatible"), "arm,gic-v3");
    assert_int_equal(cells64(&fixture, gic, "reg", 4), 0x40000000);
    assert_int_equal(cells64(&fixture, gic, "reg", 6), 5 * 128 * KIB);
    const char *its = "/interrupt-controller@8000000/msi-controller@8080000";
    assert_string_equal(text(&fixture, its, "compatible"), "arm,gic-v3-its");
    assert_int_equal(cell(&fixture, "/pcie@30000000", "msi-map", 1),
                     fdt_get_phandle(fixture.tree, node(&fixture, its)));
    assert_int_equal(cell(&fixture, "/timer", "interrupts", 2), 4);
    fixture_fini(&fixture);
}

static void a_gicv2_names_the_cpus_of_private_interrupts_and_has_no_messages(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 2);
    fixture.board.cpu_count = 3;

    build(&fixture);

    const char *gic = "/interrupt-controller@8000000";
    assert_string_equal(text(&fixture, gic, "compatible"), "arm,cortex-a15-gic");
    assert_int_equal(cells64(&fixture, gic, "reg", 4), 0x8010000);
    assert_int_equal(cell(&fixture, "/timer", "interrupts", 2), 0x704);
    assert_null(fdt_getprop(fixture.tree, node(&fixture, "/pcie@30000000"), "msi-map", NULL));
    fixture_fini(&fixture);
}

/* An entry has 3 cells of address, the pin, the controller, 2 cells of address there, and 3 of
 * the interrupt. */
static void slots_and_pins_share_four_wires_in_turn(void **state)
{
    enum { ENTRY = 10, PIN = 3, NUMBER = 8 };
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 3);

    build(&fixture);

    for (int slot = 0; slot < 4; slot++) {
        for (int pin = 0; pin < 4; pin++) {
            int at = (4 * slot + pin) * ENTRY;
            assert_int_equal(cell(&fixture, "/pcie@30000000", "interrupt-map", at), slot << 11);
            assert_int_equal(cell(&fixture, "/pcie@30000000", "interrupt-map", at + PIN), pin + 1);
            assert_int_equal(cell(&fixture, "/pcie@30000000", "interrupt-map", at + NUMBER),
                             4 + (slot + pin) % 4);
        }
    }
    assert_int_equal(cell(&fixture, "/pcie@30000000", "interrupt-map-mask", 0), 3 << 11);
    fixture_fini(&fixture);
}

static void virtio_devices_are_coherent_and_have_their_interrupts(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 3);

    build(&fixture);

    assert_string_equal(text(&fixture, "/virtio@a001000", "compatible"), "virtio,mmio");
    assert_int_equal(cell(&fixture, "/virtio@a001000", "interrupts", 1), 9);
    assert_non_null(
        fdt_getprop(fixture.tree, node(&fixture, "/virtio@a001000"), "dma-coherent", NULL));
    fixture_fini(&fixture);
}

static void the_power_button_is_a_key_on_its_line(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 3);

    build(&fixture);

    assert_int_equal(cell(&fixture, "/gpio-keys/power-button", "linux,code", 0), 116);
    assert_int_equal(cell(&fixture, "/gpio-keys/power-button", "gpios", 0),
                     fdt_get_phandle(fixture.tree, node(&fixture, "/gpio@9020000")));
    assert_int_equal(cell(&fixture, "/gpio-keys/power-button", "gpios", 1), 3);
    fixture_fini(&fixture);
}

static void what_is_not_there_is_not_told_of(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 3);
    fixture.board.has_pci = fixture.board.has_pmu = false;
    fixture.board.virtio_mmio_count = 0;
    fixture.board.serial.address = fixture.board.gpio.address = 0;

    build(&fixture);

    assert_false(has_node(&fixture, "/pcie@30000000"));
    assert_false(has_node(&fixture, "/pmu"));
    assert_false(has_node(&fixture, "/virtio@a000000"));
    assert_false(has_node(&fixture, "/serial@9000000"));
    assert_false(has_node(&fixture, "/gpio-keys"));
    assert_null(fdt_getprop(fixture.tree, node(&fixture, "/chosen"), "stdout-path", NULL));
    fixture_fini(&fixture);
}

static void a_pc_is_told_what_boots_and_nothing_that_acpi_has(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 0);

    build(&fixture);

    assert_string_equal(text(&fixture, "/chosen", "bootargs"), "console=ttyS0 quiet");
    assert_false(has_node(&fixture, "/cpus"));
    assert_false(has_node(&fixture, "/pcie@30000000"));
    assert_false(has_node(&fixture, "/virtio@a000000"));
    fixture_fini(&fixture);
}

static void the_largest_machine_fits(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 3);
    fixture.board.cpu_count = 512;
    fixture.board.virtio_mmio_count = BOARD_MAX_VIRTIO_MMIO;
    for (unsigned i = 0; i < BOARD_MAX_VIRTIO_MMIO; i++)
        fixture.board.virtio_mmio[i] =
            (struct board_virtio_mmio){ 0xa000000 + i * 0x1000, 0x200, 8 + i };

    build(&fixture);

    assert_true(fixture.len < FDT_SIZE_MAX / 4);
    fixture_fini(&fixture);
}

static void a_buffer_of_any_size_that_is_too_small_is_refused(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture, 3);
    build(&fixture);

    for (size_t size = 0; size < (size_t)fixture.len; size++)
        assert_int_equal(fdt_build(&fixture.params, fixture.tree, size), -ENOSPC);

    fixture_fini(&fixture);
}

/* Lets dtc read the tree; returns its status and what it said. */
static int run_dtc(const struct fixture *fixture, char *said, size_t size)
{
    static const char *const argv[] = { "dtc", "-I", "dtb", "-O", "dts", "-", NULL };
    int input = memfd_create("tree", MFD_CLOEXEC), errors = memfd_create("errors", MFD_CLOEXEC);
    struct program program = { .argv = argv, .input = input, .output = -1, .errors = errors };

    assert_true(input >= 0 && errors >= 0);
    assert_int_equal(fd_write_full(input, fixture->tree, (size_t)fixture->len), 0);
    assert_int_equal(lseek(input, 0, SEEK_SET), 0);
    int status = program_run(&program);
    ssize_t len = pread(errors, said, size - 1, 0);
    assert_true(len >= 0);
    said[len] = '\0';
    fd_close(&input);
    fd_close(&errors);
    return status;
}

static void the_compiler_has_no_complaint(void **state)
{
    static const struct board_gic kinds[] = {
        { .version = 0 }, { .version = 2 }, { .version = 3 }, { .version = 3, .has_its = true }
    };
    char said[4096];
    (void)state;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct fixture fixture;
        fixture_init(&fixture, kinds[i].version);
        fixture.board.gic.has_its = kinds[i].has_its;
        build(&fixture);
        int status = run_dtc(&fixture, said, sizeof(said));
        fixture_fini(&fixture);
        if (status == -ENOENT)
            skip_because("no dtc, which Debian has in device-tree-compiler");
        assert_string_equal(said, "");
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kernel_is_told_how_it_was_started),
        cmocka_unit_test(without_an_initrd_there_is_no_word_of_one),
        cmocka_unit_test(every_tree_has_seeds_of_its_own),
        cmocka_unit_test(memory_is_what_the_guest_has),
        cmocka_unit_test(cpus_are_named_by_their_hardware_numbers),
        cmocka_unit_test(a_gicv3_has_a_redistributor_for_each_cpu_and_its_its),
        cmocka_unit_test(a_gicv2_names_the_cpus_of_private_interrupts_and_has_no_messages),
        cmocka_unit_test(slots_and_pins_share_four_wires_in_turn),
        cmocka_unit_test(virtio_devices_are_coherent_and_have_their_interrupts),
        cmocka_unit_test(the_power_button_is_a_key_on_its_line),
        cmocka_unit_test(what_is_not_there_is_not_told_of),
        cmocka_unit_test(a_pc_is_told_what_boots_and_nothing_that_acpi_has),
        cmocka_unit_test(the_largest_machine_fits),
        cmocka_unit_test(a_buffer_of_any_size_that_is_too_small_is_refused),
        cmocka_unit_test(the_compiler_has_no_complaint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
