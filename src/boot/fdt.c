// SPDX-License-Identifier: Apache-2.0
/* The device tree, written from front to end with libfdt's sequential functions.
 *
 * The first of them that fails decides: what follows changes nothing any more, so nobody has to
 * look at a result before the end. Nodes refer to each other by fixed numbers (phandles), so that
 * one can be named before it is written. */
#include "boot/fdt.h"

#include <errno.h>
#include <libfdt.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <sys/random.h>

enum phandle { PHANDLE_GIC = 1, PHANDLE_ITS, PHANDLE_CLOCK, PHANDLE_GPIO, PHANDLE_FIRST_CPU };

/* Of interrupt specifiers (arm,gic-v3.yaml): the kind, its number, the trigger. */
enum { GIC_SPI = 0, GIC_PPI = 1, LEVEL_HIGH = 4 };
enum { GIC_CELLS = 3 };

/* The timers' interrupts (Arm Base System Architecture, 3.6), and the PMU's. */
enum {
    PPI_SECURE_TIMER = 13,
    PPI_TIMER = 14,
    PPI_VIRTUAL_TIMER = 11,
    PPI_HYPERVISOR_TIMER = 10,
    PPI_PMU = 7,
};

enum { SERIAL_SIZE = 8, SERIAL_CLOCK_HZ = 1843200, PRIMECELL_SIZE = 0x1000, PVPANIC_SIZE = 2 };
enum { PRIMECELL_CLOCK_HZ = 24000000 };
enum { ECAM_BUS_SIZE = 1 << 20, BUS_REQUESTERS = 256, PCI_MEMORY_32 = 0x02000000 };
enum { INTX_COUNT = 4, PCI_SLOT_SHIFT = 11 };
enum { RNG_SEED_SIZE = 64, KASLR_SEED_SIZE = 8 };

struct tree {
    void *fdt;
    int err;    /* of libfdt, the first one */
    int random; /* -errno if there were no random numbers */
};

static void note(struct tree *tree, int err)
{
    if (!tree->err)
        tree->err = err;
}

static void open_node(struct tree *tree, const char *name)
{
    note(tree, fdt_begin_node(tree->fdt, name));
}

static void open_node_at(struct tree *tree, const char *name, uint64_t address)
{
    char full[48];

    (void)snprintf(full, sizeof(full), "%s@%jx", name, (uintmax_t)address);
    open_node(tree, full);
}

static void open_node_number(struct tree *tree, const char *name, unsigned number)
{
    char full[48];

    (void)snprintf(full, sizeof(full), "%s%u", name, number);
    open_node(tree, full);
}

static void close_node(struct tree *tree)
{
    note(tree, fdt_end_node(tree->fdt));
}

static void put_flag(struct tree *tree, const char *name)
{
    note(tree, fdt_property(tree->fdt, name, NULL, 0));
}

static void put_text(struct tree *tree, const char *name, const char *text)
{
    note(tree, fdt_property_string(tree->fdt, name, text));
}

/* Several texts, with the NUL of each between them. */
#define put_texts(tree, name, texts)                                                               \
    note(tree, fdt_property((tree)->fdt, name, texts, sizeof(texts)))

static void put_array(struct tree *tree, const char *name, const uint32_t *cells, size_t count)
{
    void *place;
    int err = fdt_property_placeholder(tree->fdt, name, (int)(count * sizeof(*cells)), &place);

    note(tree, err);
    for (size_t i = 0; !err && i < count; i++)
        fdt32_st((fdt32_t *)place + i, cells[i]);
}

/* 32-bit cells; CELLS64() makes two of a number. */
#define put_cells(tree, name, ...)                                                                 \
    put_array(tree, name, (const uint32_t[]){ __VA_ARGS__ },                                       \
              sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))
#define CELLS64(number) (uint32_t)((uint64_t)(number) >> 32), (uint32_t)(number)

static void put_reg(struct tree *tree, uint64_t address, uint64_t size)
{
    put_cells(tree, "reg", CELLS64(address), CELLS64(size));
}

static void put_spi(struct tree *tree, uint32_t gsi)
{
    put_cells(tree, "interrupts", GIC_SPI, gsi, LEVEL_HIGH);
}

static void put_random(struct tree *tree, const char *name, unsigned size)
{
    void *place;
    int err = fdt_property_placeholder(tree->fdt, name, (int)size, &place);

    note(tree, err);
    if (!err && getrandom(place, size, 0) != (ssize_t)size)
        tree->random = -errno;
}

static void write_chosen(struct tree *tree, const struct fdt_params *params)
{
    const struct board *board = params->board;
    const bool is_arm = board->gic.version > 0;

    open_node(tree, "chosen");
    put_text(tree, "bootargs", params->cmdline);
    if (params->initrd_size > 0) {
        put_cells(tree, "linux,initrd-start", CELLS64(params->initrd_start));
        put_cells(tree, "linux,initrd-end", CELLS64(params->initrd_start + params->initrd_size));
    }
    put_random(tree, "rng-seed", RNG_SEED_SIZE);
    if (is_arm)
        put_random(tree, "kaslr-seed", KASLR_SEED_SIZE);
    if (is_arm && board->serial.address) {
        char path[48];
        (void)snprintf(path, sizeof(path), "/serial@%jx:115200n8",
                       (uintmax_t)board->serial.address);
        put_text(tree, "stdout-path", path);
    }
    close_node(tree);
}

static void write_memory(struct tree *tree, const struct board *board)
{
    open_node_at(tree, "memory", board->ram_base);
    put_text(tree, "device_type", "memory");
    put_reg(tree, board->ram_base, board->ram_size);
    close_node(tree);
}

/* All CPUs are cores of one cluster: MPIDR has to number them as the interrupt controller can
 * reach them, which says nothing of how they share caches. */
static void write_cpu_map(struct tree *tree, const struct board *board)
{
    open_node(tree, "cpu-map");
    open_node(tree, "socket0");
    open_node(tree, "cluster0");
    for (uint32_t i = 0; i < board->cpu_count; i++) {
        open_node_number(tree, "core", i);
        put_cells(tree, "cpu", PHANDLE_FIRST_CPU + i);
        close_node(tree);
    }
    close_node(tree);
    close_node(tree);
    close_node(tree);
}

static void write_cpus(struct tree *tree, const struct board *board)
{
    open_node(tree, "cpus");
    put_cells(tree, "#address-cells", 2);
    put_cells(tree, "#size-cells", 0);
    for (uint32_t i = 0; i < board->cpu_count; i++) {
        open_node_at(tree, "cpu", board->cpu_ids[i]);
        put_text(tree, "device_type", "cpu");
        put_text(tree, "compatible", "arm,armv8");
        put_cells(tree, "reg", CELLS64(board->cpu_ids[i]));
        put_text(tree, "enable-method", "psci");
        put_cells(tree, "phandle", PHANDLE_FIRST_CPU + i);
        close_node(tree);
    }
    write_cpu_map(tree, board);
    close_node(tree);
}

static void write_psci(struct tree *tree)
{
    open_node(tree, "psci");
    put_texts(tree, "compatible", "arm,psci-1.0\0arm,psci-0.2");
    put_text(tree, "method", "hvc");
    close_node(tree);
}

/* The trigger of an interrupt that each CPU has for itself: for a GICv2 with the CPUs that have
 * it, up to 8, above. */
static uint32_t private_trigger(const struct board *board)
{
    const uint32_t count = board->cpu_count < 8 ? board->cpu_count : 8;

    return board->gic.version == 2 ? ((1u << count) - 1) << 8 | LEVEL_HIGH : LEVEL_HIGH;
}

static void write_timer(struct tree *tree, const struct board *board)
{
    const uint32_t trigger = private_trigger(board);

    open_node(tree, "timer");
    put_text(tree, "compatible", "arm,armv8-timer");
    put_cells(tree, "interrupts", GIC_PPI, PPI_SECURE_TIMER, trigger, GIC_PPI, PPI_TIMER, trigger,
              GIC_PPI, PPI_VIRTUAL_TIMER, trigger, GIC_PPI, PPI_HYPERVISOR_TIMER, trigger);
    put_flag(tree, "always-on");
    close_node(tree);
}

static void write_pmu(struct tree *tree, const struct board *board)
{
    open_node(tree, "pmu");
    put_text(tree, "compatible", "arm,armv8-pmuv3");
    put_cells(tree, "interrupts", GIC_PPI, PPI_PMU, private_trigger(board));
    close_node(tree);
}

static void write_its(struct tree *tree, const struct board_gic *gic)
{
    open_node_at(tree, "msi-controller", gic->its_base);
    put_text(tree, "compatible", "arm,gic-v3-its");
    put_reg(tree, gic->its_base, gic->its_size);
    put_flag(tree, "msi-controller");
    put_cells(tree, "#msi-cells", 1);
    put_cells(tree, "phandle", PHANDLE_ITS);
    close_node(tree);
}

/* Cells of an address behind the interrupt controller: only an ITS is there. */
static unsigned gic_address_cells(const struct board_gic *gic)
{
    return gic->has_its ? 2 : 0;
}

static void write_gic(struct tree *tree, const struct board *board)
{
    const struct board_gic *gic = &board->gic;

    open_node_at(tree, "interrupt-controller", gic->dist_base);
    put_cells(tree, "phandle", PHANDLE_GIC);
    put_flag(tree, "interrupt-controller");
    put_cells(tree, "#interrupt-cells", GIC_CELLS);
    put_cells(tree, "#address-cells", gic_address_cells(gic));
    if (gic->version == 2) {
        put_text(tree, "compatible", "arm,cortex-a15-gic");
        put_cells(tree, "reg", CELLS64(gic->dist_base), CELLS64(gic->dist_size),
                  CELLS64(gic->cpu_base), CELLS64(gic->cpu_size));
    } else {
        put_text(tree, "compatible", "arm,gic-v3");
        put_cells(tree, "reg", CELLS64(gic->dist_base), CELLS64(gic->dist_size),
                  CELLS64(gic->redist_base), CELLS64(gic->redist_stride * board->cpu_count));
    }
    if (gic->has_its) {
        put_cells(tree, "#size-cells", 2);
        put_flag(tree, "ranges");
        write_its(tree, gic);
    }
    close_node(tree);
}

/* Slot and pin share four wires in turn, so four slots stand for all. */
static void write_interrupt_map(struct tree *tree, const struct board *board)
{
    uint32_t map[INTX_COUNT * INTX_COUNT * (3 + 1 + 1 + 2 + GIC_CELLS)];
    size_t len = 0;

    for (unsigned slot = 0; slot < INTX_COUNT; slot++) {
        for (unsigned pin = 0; pin < INTX_COUNT; pin++) {
            map[len++] = slot << PCI_SLOT_SHIFT;
            map[len++] = 0;
            map[len++] = 0;
            map[len++] = pin + 1;
            map[len++] = PHANDLE_GIC;
            for (unsigned i = 0; i < gic_address_cells(&board->gic); i++)
                map[len++] = 0;
            map[len++] = GIC_SPI;
            map[len++] = board->intx_gsi + (slot + pin) % INTX_COUNT;
            map[len++] = LEVEL_HIGH;
        }
    }
    put_array(tree, "interrupt-map", map, len);
    put_cells(tree, "interrupt-map-mask", (INTX_COUNT - 1) << PCI_SLOT_SHIFT, 0, 0, 7);
    put_cells(tree, "#interrupt-cells", 1);
}

static void write_pci(struct tree *tree, const struct board *board)
{
    open_node_at(tree, "pcie", board->ecam_base);
    put_text(tree, "compatible", "pci-host-ecam-generic");
    put_text(tree, "device_type", "pci");
    put_reg(tree, board->ecam_base, ECAM_BUS_SIZE);
    put_cells(tree, "bus-range", 0, 0);
    put_cells(tree, "#address-cells", 3);
    put_cells(tree, "#size-cells", 2);
    put_cells(tree, "ranges", PCI_MEMORY_32, CELLS64(board->pci32_base), CELLS64(board->pci32_base),
              CELLS64(board->pci32_size));
    put_flag(tree, "dma-coherent");
    if (board->gic.has_its)
        put_cells(tree, "msi-map", 0, PHANDLE_ITS, 0, BUS_REQUESTERS);
    write_interrupt_map(tree, board);
    close_node(tree);
}

static void write_virtio(struct tree *tree, const struct board *board)
{
    for (size_t i = 0; i < board->virtio_mmio_count; i++) {
        const struct board_virtio_mmio *slot = &board->virtio_mmio[i];

        open_node_at(tree, "virtio", slot->base);
        put_text(tree, "compatible", "virtio,mmio");
        put_reg(tree, slot->base, slot->size);
        put_spi(tree, slot->gsi);
        put_flag(tree, "dma-coherent");
        close_node(tree);
    }
}

static void write_serial(struct tree *tree, const struct board_chip *serial)
{
    open_node_at(tree, "serial", serial->address);
    put_text(tree, "compatible", "ns16550a");
    put_reg(tree, serial->address, SERIAL_SIZE);
    put_spi(tree, serial->gsi);
    put_cells(tree, "clock-frequency", SERIAL_CLOCK_HZ);
    close_node(tree);
}

/* The clock that every PrimeCell is to have. */
static void write_clock(struct tree *tree)
{
    open_node(tree, "apb-pclk");
    put_text(tree, "compatible", "fixed-clock");
    put_cells(tree, "#clock-cells", 0);
    put_cells(tree, "clock-frequency", PRIMECELL_CLOCK_HZ);
    put_cells(tree, "phandle", PHANDLE_CLOCK);
    close_node(tree);
}

static void put_primecell(struct tree *tree, const struct board_chip *chip)
{
    put_reg(tree, chip->address, PRIMECELL_SIZE);
    put_spi(tree, chip->gsi);
    put_cells(tree, "clocks", PHANDLE_CLOCK);
    put_text(tree, "clock-names", "apb_pclk");
}

static void write_rtc(struct tree *tree, const struct board_chip *rtc)
{
    open_node_at(tree, "rtc", rtc->address);
    put_texts(tree, "compatible", "arm,pl031\0arm,primecell");
    put_primecell(tree, rtc);
    close_node(tree);
}

static void write_gpio(struct tree *tree, const struct board_chip *gpio)
{
    open_node_at(tree, "gpio", gpio->address);
    put_texts(tree, "compatible", "arm,pl061\0arm,primecell");
    put_primecell(tree, gpio);
    put_flag(tree, "gpio-controller");
    put_cells(tree, "#gpio-cells", 2);
    put_flag(tree, "interrupt-controller");
    put_cells(tree, "#interrupt-cells", 2);
    put_cells(tree, "#address-cells", 0); /* for dtc; Linux's binding has no word of it */
    put_cells(tree, "phandle", PHANDLE_GPIO);
    close_node(tree);
}

static void write_power_button(struct tree *tree, unsigned line)
{
    open_node(tree, "gpio-keys");
    put_text(tree, "compatible", "gpio-keys");
    open_node(tree, "power-button");
    put_text(tree, "label", "power button");
    put_cells(tree, "linux,code", KEY_POWER);
    put_cells(tree, "gpios", PHANDLE_GPIO, line, 0);
    close_node(tree);
    close_node(tree);
}

static void write_pvpanic(struct tree *tree, const struct board_chip *pvpanic)
{
    open_node_at(tree, "pvpanic", pvpanic->address);
    put_text(tree, "compatible", "qemu,pvpanic-mmio");
    put_reg(tree, pvpanic->address, PVPANIC_SIZE);
    close_node(tree);
}

static void write_chips(struct tree *tree, const struct board *board)
{
    if (board->serial.address)
        write_serial(tree, &board->serial);
    if (board->rtc.address || board->gpio.address)
        write_clock(tree);
    if (board->rtc.address)
        write_rtc(tree, &board->rtc);
    if (board->gpio.address) {
        write_gpio(tree, &board->gpio);
        write_power_button(tree, board->gpio_power_line);
    }
    if (board->pvpanic.address)
        write_pvpanic(tree, &board->pvpanic);
}

static void write_arm_machine(struct tree *tree, const struct fdt_params *params)
{
    const struct board *board = params->board;

    write_memory(tree, board);
    write_cpus(tree, board);
    write_psci(tree);
    write_timer(tree, board);
    if (board->has_pmu)
        write_pmu(tree, board);
    write_gic(tree, board);
    if (board->has_pci)
        write_pci(tree, board);
    write_virtio(tree, board);
    write_chips(tree, board);
}

static void write_root(struct tree *tree, const struct fdt_params *params)
{
    const bool is_arm = params->board->gic.version > 0;

    open_node(tree, "");
    put_text(tree, "compatible", "linux,dummy-virt");
    put_text(tree, "model", "hutch virtual machine");
    put_cells(tree, "#address-cells", 2);
    put_cells(tree, "#size-cells", 2);
    if (is_arm)
        put_cells(tree, "interrupt-parent", PHANDLE_GIC);
    write_chosen(tree, params);
    if (is_arm)
        write_arm_machine(tree, params);
    close_node(tree);
}

int fdt_build(const struct fdt_params *params, void *buf, size_t size)
{
    struct tree tree = { .fdt = buf };

    if (fdt_create(buf, (int)(size < FDT_SIZE_MAX ? size : FDT_SIZE_MAX)))
        return -ENOSPC;
    note(&tree, fdt_finish_reservemap(buf));
    write_root(&tree, params);
    note(&tree, fdt_finish(buf));
    if (tree.err)
        return -ENOSPC;
    return tree.random ? tree.random : (int)fdt_totalsize(buf);
}
