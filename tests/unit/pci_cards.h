// SPDX-License-Identifier: Apache-2.0
/* Three cards behind a PCI host bridge, and a guest's way to them.
 *
 * Included after <cmocka.h>. */
#pragma once

#include <linux/pci_regs.h>

#include "devices/pci/pci.h"

#include "device_fakes.h"

#define ECAM UINT64_C(0xe0000000)
#define WINDOW UINT64_C(0xc0000000)
#define WINDOW_SIZE UINT64_C(0x01000000)

enum { CONFIG_PORT = 0xcf8, DATA_PORT = 0xcfc };

/* A function whose BARs read as its id and the offset. */
struct card {
    struct pci_function fn;
    uint64_t id;
    bool irq;
    unsigned config_reads, config_writes;
    struct {
        unsigned calls;
        bool decodes;
        uint64_t address;
    } told[PCI_BAR_COUNT];
};

static inline struct card *card_of(struct pci_function *fn)
{
    return container_of(fn, struct card, fn);
}

static inline uint64_t card_read(struct device *dev, uint64_t offset, unsigned size)
{
    (void)size;
    return container_of(dev, struct card, fn.dev)->id << 48 | offset;
}

static inline void card_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    (void)dev, (void)offset, (void)size, (void)value;
}

static inline void card_config_read(struct pci_function *fn, unsigned offset, unsigned size)
{
    (void)offset, (void)size;
    card_of(fn)->config_reads++;
}

static inline void card_config_written(struct pci_function *fn, unsigned offset, unsigned size)
{
    (void)offset, (void)size;
    card_of(fn)->config_writes++;
}

static inline void card_bar_changed(struct pci_function *fn, unsigned bar, bool decodes,
                                    uint64_t address)
{
    card_of(fn)->told[bar].calls++;
    card_of(fn)->told[bar].decodes = decodes;
    card_of(fn)->told[bar].address = address;
}

static const struct device_ops card_device_ops = { .read = card_read, .write = card_write };
static const struct pci_function_ops card_ops = {
    .config_read = card_config_read,
    .config_written = card_config_written,
    .bar_changed = card_bar_changed,
};

/* A card with a 4 KiB BAR 0 and a 64-bit BAR 2 of 64 KiB. */
static inline void card_init(struct card *card, uint64_t id)
{
    const struct pci_function_params params = {
        .name = "card",
        .vendor_id = 0x1af4,
        .device_id = 0x1042,
        .subsystem_vendor_id = 0x1af5,
        .subsystem_id = 0x1100,
        .revision = 1,
        .class_code = 0x018000,
        .has_intx = true,
        .intx = { note_irq, &card->irq },
        .device_ops = &card_device_ops,
        .ops = &card_ops,
    };

    *card = (struct card){ .id = id };
    pci_function_init(&card->fn, &params);
    pci_add_bar(&card->fn, 0, 0x1000, false);
    pci_add_bar(&card->fn, 2, 0x10000, true);
}

struct machine {
    struct bus *memory, *ports;
    struct pci_host *host;
    struct card cards[3]; /* in slots 1, 2 and 5 */
};

static const unsigned slot_of[] = { 1, 2, 5 };

static inline int setup(void **state)
{
    static struct machine machine;

    assert_int_equal(bus_create(&machine.memory), 0);
    assert_int_equal(bus_create(&machine.ports), 0);
    const struct pci_host_params params = {
        .memory_bus = machine.memory,
        .port_bus = machine.ports,
        .ecam_base = ECAM,
        .config_port = CONFIG_PORT,
        .window32_base = WINDOW,
        .window32_size = WINDOW_SIZE,
    };
    assert_int_equal(pci_host_create(&params, &machine.host), 0);
    for (unsigned i = 0; i < 3; i++) {
        card_init(&machine.cards[i], i + 1);
        assert_int_equal(pci_host_add(machine.host, slot_of[i], &machine.cards[i].fn), 0);
    }
    *state = &machine;
    return 0;
}

static inline int teardown(void **state)
{
    struct machine *m = *state;

    for (unsigned i = 0; i < 3; i++)
        pci_function_fini(&m->cards[i].fn);
    pci_host_destroy(m->host);
    bus_destroy(m->memory);
    bus_destroy(m->ports);
    return 0;
}

static inline uint64_t ecam_address(unsigned slot, unsigned function, unsigned offset)
{
    return ECAM + (slot << 15) + (function << 12) + offset;
}

static inline uint64_t ecam_read(struct machine *m, unsigned slot, unsigned offset, unsigned size)
{
    uint64_t value;

    assert_true(bus_read(m->memory, ecam_address(slot, 0, offset), size, &value));
    return value;
}

static inline void ecam_write(struct machine *m, unsigned slot, unsigned offset, unsigned size,
                              uint64_t value)
{
    assert_true(bus_write(m->memory, ecam_address(slot, 0, offset), size, value));
}

static inline void decode(struct machine *m, unsigned card, bool on)
{
    ecam_write(m, slot_of[card], PCI_COMMAND, 2, on ? PCI_COMMAND_MEMORY : 0);
}

static inline uint64_t bar_value(struct machine *m, unsigned card, unsigned bar)
{
    return ecam_read(m, slot_of[card], PCI_BASE_ADDRESS_0 + 4 * bar, 4);
}

static inline void set_bar(struct machine *m, unsigned card, unsigned bar, uint64_t value)
{
    ecam_write(m, slot_of[card], PCI_BASE_ADDRESS_0 + 4 * bar, 4, value);
}

/* What an 8-byte read of guest physical memory gives. */
static inline uint64_t mem_read(struct machine *m, uint64_t address)
{
    uint64_t value;

    (void)bus_read(m->memory, address, 8, &value);
    return value;
}

static inline uint64_t answer_of(uint64_t id, unsigned bar, uint64_t offset)
{
    return id << 48 | (pci_bar_offset(bar) + offset);
}
