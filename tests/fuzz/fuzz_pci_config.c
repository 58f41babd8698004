// SPDX-License-Identifier: Apache-2.0
/* A PCI bus with three functions under a stream of configuration and BAR accesses.
 *
 * Twelve bytes are one step: what to do, which slot, where, in which size, and a value. After
 * each step the windows must be what the configuration spaces say: every BAR that should decode
 * does, unless something that decodes stands in its way; nothing else does; and the function was
 * told of exactly that. */
#include <linux/pci_regs.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devices/pci/msix.h"
#include "devices/pci/pci.h"
#include "host/state.h"
#include "mem/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP_SIZE = 12, CARD_COUNT = 3, VECTORS = 3, MSIX_BAR = 4 };

struct told {
    bool decodes;
    uint64_t address;
};

struct card {
    struct pci_function fn;
    struct msix msix;
    uint64_t connected; /* as the port sees it */
    struct told told[PCI_BAR_COUNT];
};

struct machine {
    struct bus *memory, *ports;
    struct pci_host *host;
    struct card cards[CARD_COUNT];
};

static void check(bool claim)
{
    if (!claim)
        abort();
}

static struct card *card_of(struct pci_function *fn)
{
    return container_of(fn, struct card, fn);
}

static uint64_t card_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct card *card = container_of(dev, struct card, fn.dev);

    if (offset >= pci_bar_offset(MSIX_BAR) + 0x800)
        return msix_pba_read(&card->msix, offset - pci_bar_offset(MSIX_BAR) - 0x800, size);
    if (offset >= pci_bar_offset(MSIX_BAR))
        return msix_table_read(&card->msix, offset - pci_bar_offset(MSIX_BAR), size);
    return (uintptr_t)card ^ offset; /* who answered, and where */
}

static void card_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct card *card = container_of(dev, struct card, fn.dev);

    if (offset >= pci_bar_offset(MSIX_BAR))
        msix_table_write(&card->msix, offset - pci_bar_offset(MSIX_BAR), size, value);
    else
        msix_raise(&card->msix, (unsigned)value);
}

static void card_config_written(struct pci_function *fn, unsigned offset, unsigned size)
{
    msix_config_written(&card_of(fn)->msix, offset, size);
}

static void card_bar_changed(struct pci_function *fn, unsigned bar, bool decodes, uint64_t address)
{
    card_of(fn)->told[bar] = (struct told){ decodes, address };
}

static int card_connect(void *ctx, unsigned vector, const struct msi_message *message)
{
    struct card *card = ctx;

    check(vector < VECTORS);
    if (message && message->data == 0xbad)
        return -1;
    if (message)
        card->connected |= UINT64_C(1) << vector;
    else
        card->connected &= ~(UINT64_C(1) << vector);
    return 0;
}

static void card_raise(void *ctx, unsigned vector)
{
    check(vector < VECTORS && (((struct card *)ctx)->connected >> vector & 1));
}

static void card_init(struct card *card)
{
    static const struct device_ops device_ops = { .read = card_read, .write = card_write };
    static const struct pci_function_ops ops = {
        .config_written = card_config_written,
        .bar_changed = card_bar_changed,
    };
    const struct pci_function_params params = {
        .name = "card",
        .vendor_id = 0x1af4,
        .device_id = 0x1042,
        .has_intx = true,
        .device_ops = &device_ops,
        .ops = &ops,
    };
    const struct msi_port port = { card_connect, card_raise, card };

    pci_function_init(&card->fn, &params);
    pci_add_bar(&card->fn, 0, 0x1000, false);
    pci_add_bar(&card->fn, 2, 0x4000, true);
    pci_add_bar(&card->fn, MSIX_BAR, 0x1000, false);
    msix_init(&card->msix, &card->fn, &port, VECTORS, MSIX_BAR, 0, 0x800);
}

static void machine_init(struct machine *m)
{
    *m = (struct machine){ .memory = NULL };
    check(bus_create(&m->memory) == 0 && bus_create(&m->ports) == 0);
    const struct pci_host_params params = {
        .memory_bus = m->memory,
        .port_bus = m->ports,
        .ecam_base = LAYOUT_ECAM_BASE,
        .config_port = LAYOUT_PORT_PCI_CONFIG,
        .window32_base = LAYOUT_PCI32_BASE,
        .window32_size = LAYOUT_PCI32_SIZE,
    };
    check(pci_host_create(&params, &m->host) == 0);
    for (unsigned i = 0; i < CARD_COUNT; i++) {
        card_init(&m->cards[i]);
        check(pci_host_add(m->host, i + 1, &m->cards[i].fn) == 0);
    }
}

static void machine_fini(struct machine *m)
{
    for (unsigned i = 0; i < CARD_COUNT; i++) {
        msix_reset(&m->cards[i].msix);
        check(m->cards[i].connected == 0);
        pci_function_fini(&m->cards[i].fn);
    }
    pci_host_destroy(m->host);
    /* All windows are gone: the bus takes one over everything. */
    struct device any;
    check(bus_add(m->memory, 0, UINT64_MAX, &any, 0) == 0);
    check(bus_add(m->ports, 0, UINT64_MAX, &any, 0) == 0);
    bus_destroy(m->memory);
    bus_destroy(m->ports);
}

/* --- what must hold after each step --- */

static uint64_t bar_address(struct card *card, unsigned bar)
{
    uint64_t address;

    memcpy(&address, card->fn.state.config + PCI_BASE_ADDRESS_0 + 4 * bar, sizeof(address));
    return (card->fn.bars[bar].is_64bit ? address : (uint32_t)address) & ~UINT64_C(15);
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a <= b + (b_size - 1) && b <= a + (a_size - 1);
}

/* Whether something that decodes is in the way of @size bytes at @base. */
static bool is_taken(struct machine *m, uint64_t base, uint64_t size)
{
    if (overlaps(base, size, LAYOUT_ECAM_BASE, LAYOUT_ECAM_SIZE))
        return true;
    for (unsigned i = 0; i < CARD_COUNT * PCI_BAR_COUNT; i++) {
        const struct told *told = &m->cards[i / PCI_BAR_COUNT].told[i % PCI_BAR_COUNT];
        uint64_t told_size = m->cards[i / PCI_BAR_COUNT].fn.bars[i % PCI_BAR_COUNT].size;
        if (told->decodes && overlaps(base, size, told->address, told_size))
            return true;
    }
    return false;
}

static void check_bar(struct machine *m, struct card *card, unsigned bar)
{
    bool wanted = card->fn.state.config[PCI_COMMAND] & PCI_COMMAND_MEMORY;
    uint64_t address = bar_address(card, bar);
    uint64_t size = card->fn.bars[bar].size;
    uint64_t value;

    check(card->told[bar].decodes == card->fn.bars[bar].is_mapped);
    if (card->told[bar].decodes) {
        check(wanted && card->told[bar].address == address && address % size == 0);
        check(bus_read(m->memory, address + size - 8, 8, &value));
        if (bar != MSIX_BAR)
            check(value == ((uintptr_t)card ^ (pci_bar_offset(bar) + size - 8)));
    } else if (wanted) {
        check(is_taken(m, address, size));
    }
}

static void check_all(struct machine *m)
{
    for (unsigned i = 0; i < CARD_COUNT; i++) {
        check_bar(m, &m->cards[i], 0);
        check_bar(m, &m->cards[i], 2);
        check_bar(m, &m->cards[i], MSIX_BAR);
        check(m->cards[i].msix.state.pending < 1 << VECTORS);
    }
}

/* --- steps --- */

static void access_memory(struct machine *m, uint64_t address, unsigned size, uint64_t value,
                          bool is_write)
{
    if (is_write)
        (void)bus_write(m->memory, address, size, value);
    else
        (void)bus_read(m->memory, address, size, &value);
}

static void access_ports(struct machine *m, unsigned slot, uint16_t where, unsigned size,
                         uint64_t value, bool is_write)
{
    uint32_t address = UINT32_C(0x80000000) | slot << 11 | (where & 0xfc);

    (void)bus_write(m->ports, LAYOUT_PORT_PCI_CONFIG, 4, address);
    if (is_write)
        (void)bus_write(m->ports, LAYOUT_PORT_PCI_CONFIG + 4 + (where & 3), size, value);
    else
        (void)bus_read(m->ports, LAYOUT_PORT_PCI_CONFIG + 4 + (where & 3), size, &value);
}

/* As a machine that is restored: reset, then loaded; what was saved has @value at byte @where. */
static void restore(struct card *card, uint16_t where, uint8_t value)
{
    struct state_writer out = { .data = NULL };

    check(pci_function_save(&card->fn, &out) == 0 && msix_save(&card->msix, &out) == 0);
    if (where % 4 == 0)
        out.data[where / 4U % out.len] = value;
    struct state_reader in = { .data = out.data, .len = out.len };
    pci_function_reset(&card->fn);
    msix_reset(&card->msix);
    if (pci_function_load(&card->fn, &in) || msix_load(&card->msix, &in)) {
        check(where % 4 == 0);
        pci_function_reset(&card->fn);
        msix_reset(&card->msix);
    }
    state_writer_fini(&out);
}

/* What is done behind the bridge's back, so that waiting BARs of others are not tried again. */
static void settle(struct machine *m)
{
    access_memory(m, LAYOUT_ECAM_BASE + PCI_COMMAND, 2, 0, true);
}

static void step(struct machine *m, const uint8_t bytes[STEP_SIZE])
{
    struct card *card = &m->cards[bytes[1] % CARD_COUNT];
    unsigned size = 1U << (bytes[0] >> 6);
    bool is_write = bytes[0] & 0x20;
    uint16_t where;
    uint64_t value;
    memcpy(&where, bytes + 2, sizeof(where));
    memcpy(&value, bytes + 4, sizeof(value));

    switch (bytes[0] % 8) {
    case 0:
    case 1:
    case 2:
        access_memory(m, LAYOUT_ECAM_BASE + ((bytes[1] & 3) << 15) + (where & 0x7fff), size, value,
                      is_write);
        break;
    case 3:
        access_ports(m, bytes[1] & 3, where, size, value, is_write);
        break;
    case 4:
        access_memory(m, bar_address(card, MSIX_BAR) + (where & 0xfff), size, value, is_write);
        break;
    case 5:
        access_memory(m, value, size, where, is_write);
        break;
    case 6:
        msix_raise(&card->msix, where);
        pci_set_intx(&card->fn, where & 1);
        break;
    default:
        restore(card, where, bytes[4]);
        settle(m);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine m; /* its addresses are part of what cards answer */

    machine_init(&m);
    for (size_t i = 0; i + STEP_SIZE <= size; i += STEP_SIZE) {
        step(&m, data + i);
        check_all(&m);
    }
    machine_fini(&m);
    return 0;
}
