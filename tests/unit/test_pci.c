// SPDX-License-Identifier: Apache-2.0
/* PCI through the buses, as a guest sees it: finding functions, sizing and moving BARs, and every
 * way to put a BAR where it does not belong. */
#include "devices/pci/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

static struct card *card_of(struct pci_function *fn)
{
    return container_of(fn, struct card, fn);
}

static uint64_t card_read(struct device *dev, uint64_t offset, unsigned size)
{
    (void)size;
    return container_of(dev, struct card, fn.dev)->id << 48 | offset;
}

static void card_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    (void)dev, (void)offset, (void)size, (void)value;
}

static void card_config_read(struct pci_function *fn, unsigned offset, unsigned size)
{
    (void)offset, (void)size;
    card_of(fn)->config_reads++;
}

static void card_config_written(struct pci_function *fn, unsigned offset, unsigned size)
{
    (void)offset, (void)size;
    card_of(fn)->config_writes++;
}

static void card_bar_changed(struct pci_function *fn, unsigned bar, bool decodes, uint64_t address)
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
static void card_init(struct card *card, uint64_t id)
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

static int setup(void **state)
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

static int teardown(void **state)
{
    struct machine *m = *state;

    for (unsigned i = 0; i < 3; i++)
        pci_function_fini(&m->cards[i].fn);
    pci_host_destroy(m->host);
    bus_destroy(m->memory);
    bus_destroy(m->ports);
    return 0;
}

static uint64_t ecam_address(unsigned slot, unsigned function, unsigned offset)
{
    return ECAM + (slot << 15) + (function << 12) + offset;
}

static uint64_t ecam_read(struct machine *m, unsigned slot, unsigned offset, unsigned size)
{
    uint64_t value;

    assert_true(bus_read(m->memory, ecam_address(slot, 0, offset), size, &value));
    return value;
}

static void ecam_write(struct machine *m, unsigned slot, unsigned offset, unsigned size,
                       uint64_t value)
{
    assert_true(bus_write(m->memory, ecam_address(slot, 0, offset), size, value));
}

static void decode(struct machine *m, unsigned card, bool on)
{
    ecam_write(m, slot_of[card], PCI_COMMAND, 2, on ? PCI_COMMAND_MEMORY : 0);
}

static uint64_t bar_value(struct machine *m, unsigned card, unsigned bar)
{
    return ecam_read(m, slot_of[card], PCI_BASE_ADDRESS_0 + 4 * bar, 4);
}

static void set_bar(struct machine *m, unsigned card, unsigned bar, uint64_t value)
{
    ecam_write(m, slot_of[card], PCI_BASE_ADDRESS_0 + 4 * bar, 4, value);
}

/* What an 8-byte read of guest physical memory gives. */
static uint64_t mem_read(struct machine *m, uint64_t address)
{
    uint64_t value;

    (void)bus_read(m->memory, address, 8, &value);
    return value;
}

static uint64_t answer_of(uint64_t id, unsigned bar, uint64_t offset)
{
    return id << 48 | (pci_bar_offset(bar) + offset);
}

/* --- configuration space --- */

static void functions_show_who_they_are(void **state)
{
    struct machine *m = *state;

    assert_int_equal(ecam_read(m, 1, PCI_VENDOR_ID, 4), 0x10421af4);
    assert_int_equal(ecam_read(m, 1, PCI_CLASS_REVISION, 4), 0x01800001);
    assert_int_equal(ecam_read(m, 1, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af5);
    assert_int_equal(ecam_read(m, 1, PCI_HEADER_TYPE, 1), PCI_HEADER_TYPE_NORMAL);
    assert_int_equal(ecam_read(m, 1, PCI_INTERRUPT_PIN, 1), 1);
    assert_int_equal(ecam_read(m, 1, PCI_CAPABILITY_LIST, 1), 0);
    assert_int_equal(ecam_read(m, 1, PCI_STATUS, 2), 0);
    assert_int_equal(ecam_read(m, 0, PCI_CLASS_DEVICE, 2), 0x0600); /* the bridge itself */
    assert_int_equal(ecam_read(m, 0, PCI_HEADER_TYPE, 1), 0);
}

static void where_no_function_is_all_ones_are_read(void **state)
{
    struct machine *m = *state;
    uint64_t value;

    for (unsigned devfn = 0; devfn < 256; devfn++) {
        unsigned slot = devfn >> 3, function = devfn & 7;
        bool exists = function == 0 && (slot <= 2 || slot == 5);
        assert_true(bus_read(m->memory, ecam_address(slot, function, 0), 4, &value));
        assert_int_equal(value != 0xffffffff, exists);
        assert_true(bus_write(m->memory, ecam_address(slot, function, PCI_COMMAND), 2, 0));
    }
    assert_int_equal(ecam_read(m, 7, 0, 1), 0xff);
    assert_int_equal(ecam_read(m, 7, 0, 2), 0xffff);
    assert_int_equal(ecam_read(m, 7, 0, 8), UINT64_MAX);
}

static void accesses_that_are_odd_read_all_ones_and_write_nothing(void **state)
{
    struct machine *m = *state;

    assert_int_equal(ecam_read(m, 1, 1, 2), 0xffff);
    assert_int_equal(ecam_read(m, 1, 2, 4), 0xffffffff);
    assert_int_equal(ecam_read(m, 1, 0, 8), UINT64_MAX);
    assert_int_equal(ecam_read(m, 1, 256, 4), 0xffffffff); /* no extended space */
    assert_int_equal(ecam_read(m, 1, 4095, 1), 0xff);
    assert_int_equal(m->cards[0].config_reads, 0);
    ecam_write(m, 1, PCI_INTERRUPT_LINE - 1, 2, 0x1234);
    ecam_write(m, 1, PCI_CACHE_LINE_SIZE, 8, UINT64_MAX);
    ecam_write(m, 1, 256 + PCI_INTERRUPT_LINE, 1, 9);
    assert_int_equal(m->cards[0].config_writes, 0);
    assert_int_equal(ecam_read(m, 1, PCI_INTERRUPT_LINE, 1), 0);
}

static void only_what_is_writable_changes(void **state)
{
    struct machine *m = *state;
    uint8_t before[PCI_CONFIG_SIZE];
    memcpy(before, m->cards[0].fn.state.config, sizeof(before));

    for (unsigned offset = 0; offset < PCI_CONFIG_SIZE; offset++) {
        ecam_write(m, 1, offset, 1, 0xff);
        ecam_write(m, 1, offset, 1, 0x00);
        if (offset < PCI_BASE_ADDRESS_0 || offset > PCI_BASE_ADDRESS_5 + 3)
            assert_int_equal(ecam_read(m, 1, offset, 1), before[offset]);
    }
    ecam_write(m, 1, PCI_COMMAND, 2, 0xffff);
    assert_int_equal(ecam_read(m, 1, PCI_COMMAND, 2),
                     PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    ecam_write(m, 1, PCI_INTERRUPT_LINE, 1, 17);
    assert_int_equal(ecam_read(m, 1, PCI_INTERRUPT_LINE, 1), 17);
}

static void capabilities_form_a_list(void **state)
{
    static const uint8_t first[] = { 0x11, 0x22, 0x33 }, second[14] = { 0x44 };
    struct machine *m = *state;
    struct card *card = &m->cards[0];

    assert_int_equal(pci_add_capability(&card->fn, 0x09, first, 5), 0x40);
    assert_int_equal(pci_add_capability(&card->fn, 0x05, second, 16), 0x48);

    assert_int_equal(ecam_read(m, 1, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
    assert_int_equal(ecam_read(m, 1, PCI_CAPABILITY_LIST, 1), 0x40);
    assert_int_equal(ecam_read(m, 1, 0x40, 4), 0x22114809);
    assert_int_equal(ecam_read(m, 1, 0x44, 1), 0x33);
    assert_int_equal(ecam_read(m, 1, 0x48, 4), 0x00440005);
    ecam_write(m, 1, 0x40, 4, 0xffffffff);
    assert_int_equal(ecam_read(m, 1, 0x40, 4), 0x22114809);
    card->fn.writable[0x42] = 0x0f;
    ecam_write(m, 1, 0x40, 4, 0xffffffff);
    assert_int_equal(ecam_read(m, 1, 0x40, 4), 0x221f4809);
}

/* --- ports 0xcf8 and 0xcfc --- */

static uint64_t port_read(struct machine *m, uint64_t port, unsigned size)
{
    uint64_t value;

    (void)bus_read(m->ports, port, size, &value);
    return value;
}

static void port_write(struct machine *m, uint64_t port, unsigned size, uint64_t value)
{
    (void)bus_write(m->ports, port, size, value);
}

static void select_by_port(struct machine *m, unsigned slot, unsigned offset)
{
    port_write(m, CONFIG_PORT, 4, 0x80000000 | slot << 11 | (offset & 0xfc));
}

static void the_ports_reach_the_same_registers_in_any_size(void **state)
{
    struct machine *m = *state;

    select_by_port(m, 1, 0);
    assert_int_equal(port_read(m, CONFIG_PORT, 4), 0x80000800);
    assert_int_equal(port_read(m, DATA_PORT, 4), 0x10421af4);
    assert_int_equal(port_read(m, DATA_PORT, 2), 0x1af4);
    assert_int_equal(port_read(m, DATA_PORT + 2, 2), 0x1042);
    assert_int_equal(port_read(m, DATA_PORT + 1, 1), 0x1a);
    assert_int_equal(port_read(m, DATA_PORT + 3, 1), 0x10);
    assert_int_equal(port_read(m, DATA_PORT + 1, 2), 0xffff);
    assert_int_equal(port_read(m, DATA_PORT + 2, 4), 0xffffffff);
    select_by_port(m, 1, PCI_INTERRUPT_LINE);
    port_write(m, DATA_PORT, 1, 0x21);
    assert_int_equal(ecam_read(m, 1, PCI_INTERRUPT_LINE, 1), 0x21);
}

static void the_ports_lead_nowhere_without_enable_bit_or_on_other_buses(void **state)
{
    struct machine *m = *state;

    assert_int_equal(port_read(m, DATA_PORT, 4), 0xffffffff);
    port_write(m, CONFIG_PORT, 4, 0x00000800);
    assert_int_equal(port_read(m, DATA_PORT, 4), 0xffffffff);
    port_write(m, CONFIG_PORT, 4, 0x80010800);
    assert_int_equal(port_read(m, DATA_PORT, 4), 0xffffffff);
    port_write(m, CONFIG_PORT, 4, 0x80000900); /* function 1 */
    assert_int_equal(port_read(m, DATA_PORT, 4), 0xffffffff);
}

static void the_address_port_takes_four_bytes_only(void **state)
{
    struct machine *m = *state;
    select_by_port(m, 1, 0);

    port_write(m, CONFIG_PORT, 1, 0xff);
    port_write(m, CONFIG_PORT, 2, 0xffff);
    port_write(m, CONFIG_PORT + 3, 1, 1);

    assert_int_equal(port_read(m, CONFIG_PORT, 4), 0x80000800);
    assert_int_equal(port_read(m, CONFIG_PORT, 1), 0xff);
    port_write(m, CONFIG_PORT, 4, 0xffffffff);
    assert_int_equal(port_read(m, CONFIG_PORT, 4), 0x80fffffc);
}

static void other_chips_fit_between_the_ports(void **state)
{
    struct machine *m = *state;
    static const struct device_ops ops = { .read = card_read, .write = card_write };
    struct device chip;
    device_init(&chip, "reset-control", &ops, NULL);

    assert_int_equal(bus_add(m->ports, CONFIG_PORT + 1, 1, &chip, 0), 0);

    device_fini(&chip);
}

/* --- BARs --- */

static void bars_are_placed_apart_and_aligned_and_do_not_decode_yet(void **state)
{
    struct machine *m = *state;
    uint64_t end = WINDOW;

    for (unsigned i = 0; i < 3; i++) {
        uint64_t small = bar_value(m, i, 0);
        uint64_t large = bar_value(m, i, 2);
        assert_true(small >= end && small % 0x1000 == 0);
        assert_int_equal(large & 0xf, PCI_BASE_ADDRESS_MEM_TYPE_64);
        large &= ~UINT64_C(0xf);
        assert_true(large >= small + 0x1000 && large % 0x10000 == 0);
        assert_int_equal(bar_value(m, i, 3), 0);
        assert_int_equal(mem_read(m, small), UINT64_MAX);
        assert_int_equal(m->cards[i].told[0].calls, 0);
        end = large + 0x10000;
    }
}

static void bars_tell_their_size(void **state)
{
    struct machine *m = *state;

    for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++)
        set_bar(m, 0, bar, 0xffffffff);

    assert_int_equal(bar_value(m, 0, 0), 0xfffff000);
    assert_int_equal(bar_value(m, 0, 1), 0);
    assert_int_equal(bar_value(m, 0, 2), 0xffff0000 | PCI_BASE_ADDRESS_MEM_TYPE_64);
    assert_int_equal(bar_value(m, 0, 3), 0xffffffff);
    assert_int_equal(bar_value(m, 0, 4), 0);
    assert_int_equal(ecam_read(m, 1, PCI_ROM_ADDRESS, 4), 0);
}

static void a_decoding_bar_answers_where_it_was_placed(void **state)
{
    struct machine *m = *state;
    uint64_t base = bar_value(m, 1, 0);

    decode(m, 1, true);
    assert_int_equal(mem_read(m, base + 0x10), answer_of(2, 0, 0x10));
    assert_int_equal(mem_read(m, (bar_value(m, 1, 2) & ~UINT64_C(15)) + 0xfff8),
                     answer_of(2, 2, 0xfff8));
    assert_true(m->cards[1].told[0].decodes);
    assert_int_equal(m->cards[1].told[0].address, base);
    assert_int_equal(m->cards[1].told[2].calls, 1);
    decode(m, 1, false);
    assert_int_equal(mem_read(m, base + 0x10), UINT64_MAX);
    assert_false(m->cards[1].told[0].decodes);
    assert_int_equal(m->cards[1].told[0].calls, 2);
}

static void a_bar_moves_while_it_decodes(void **state)
{
    struct machine *m = *state;
    uint64_t old = bar_value(m, 0, 0);
    decode(m, 0, true);

    set_bar(m, 0, 0, 0xd0000000);

    assert_int_equal(mem_read(m, old), UINT64_MAX);
    assert_int_equal(mem_read(m, 0xd0000008), answer_of(1, 0, 8));
    assert_true(m->cards[0].told[0].decodes);
    assert_int_equal(m->cards[0].told[0].address, 0xd0000000);
    assert_int_equal(m->cards[0].told[2].calls, 1); /* that one stayed */
    set_bar(m, 0, 0, 0xd0000000);
    assert_int_equal(m->cards[0].told[0].calls, 3); /* nothing new */
}

static void a_64_bit_bar_goes_above_4_gib_and_to_the_very_top(void **state)
{
    struct machine *m = *state;
    decode(m, 0, true);

    set_bar(m, 0, 3, 0x12);
    set_bar(m, 0, 2, 0x34560000);
    assert_int_equal(mem_read(m, UINT64_C(0x1234560008)), answer_of(1, 2, 8));
    set_bar(m, 0, 2, 0xffffffff);
    set_bar(m, 0, 3, 0xffffffff);
    assert_int_equal(mem_read(m, UINT64_MAX - 7), answer_of(1, 2, 0xfff8));
}

static void a_bar_written_byte_by_byte_ends_up_where_it_says(void **state)
{
    struct machine *m = *state;
    decode(m, 0, true);

    for (unsigned i = 0; i < 4; i++)
        ecam_write(m, 1, PCI_BASE_ADDRESS_0 + i, 1, 0xd1234000U >> 8 * i);

    assert_int_equal(mem_read(m, 0xd1234000), answer_of(1, 0, 0));
}

static void a_bar_on_another_waits_until_that_moves_away(void **state)
{
    struct machine *m = *state;
    uint64_t place = bar_value(m, 0, 0);
    decode(m, 0, true);
    decode(m, 1, true);

    set_bar(m, 1, 0, place);
    assert_int_equal(mem_read(m, place), answer_of(1, 0, 0)); /* who came first */
    assert_false(m->cards[1].told[0].decodes);
    set_bar(m, 0, 0, 0xd0000000);
    assert_int_equal(mem_read(m, place), answer_of(2, 0, 0));
    assert_int_equal(mem_read(m, 0xd0000000), answer_of(1, 0, 0));
    assert_true(m->cards[1].told[0].decodes);
    assert_int_equal(m->cards[1].told[0].address, place);
}

static void a_waiting_bar_gets_its_place_when_the_other_stops_decoding(void **state)
{
    struct machine *m = *state;
    uint64_t place = bar_value(m, 2, 0);
    decode(m, 2, true);
    set_bar(m, 0, 0, place);
    decode(m, 0, true);
    assert_int_equal(mem_read(m, place), answer_of(3, 0, 0));

    decode(m, 2, false);
    assert_int_equal(mem_read(m, place), answer_of(1, 0, 0));
    decode(m, 2, true); /* now that one waits */
    assert_int_equal(mem_read(m, place), answer_of(1, 0, 0));
    decode(m, 0, false);
    assert_int_equal(mem_read(m, place), answer_of(3, 0, 0));
}

static void two_bars_of_one_function_may_fight_too(void **state)
{
    struct machine *m = *state;
    decode(m, 0, true);

    set_bar(m, 0, 0, 0xd0000000);
    set_bar(m, 0, 2, 0xd0000000);
    assert_int_equal(mem_read(m, 0xd0000000), answer_of(1, 0, 0));
    set_bar(m, 0, 0, 0xd8000000);
    assert_int_equal(mem_read(m, 0xd0000000), answer_of(1, 2, 0));
    assert_int_equal(mem_read(m, 0xd8000000), answer_of(1, 0, 0));
}

static void a_bar_cannot_hide_configuration_space(void **state)
{
    struct machine *m = *state;
    decode(m, 0, true);

    set_bar(m, 0, 0, ECAM);
    set_bar(m, 0, 2, ECAM + 0x10000);

    assert_int_equal(ecam_read(m, 0, PCI_CLASS_DEVICE, 2), 0x0600);
    set_bar(m, 0, 0, 0xd0000000);
    assert_int_equal(mem_read(m, 0xd0000000), answer_of(1, 0, 0));
}

static void every_function_on_one_address_leaves_all_alive(void **state)
{
    struct machine *m = *state;

    for (unsigned i = 0; i < 3; i++) {
        set_bar(m, i, 0, 0);
        set_bar(m, i, 2, 0);
        decode(m, i, true);
    }
    assert_int_equal(mem_read(m, 0), answer_of(1, 0, 0));
    for (unsigned i = 0; i < 3; i++) {
        decode(m, i, false);
        set_bar(m, i, 0, 0xd0000000 + i * 0x1000);
        set_bar(m, i, 2, 0xd1000000 + i * 0x10000);
        decode(m, i, true);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(mem_read(m, 0xd0000000 + i * 0x1000), answer_of(i + 1, 0, 0));
        assert_int_equal(mem_read(m, 0xd1000000 + i * 0x10000), answer_of(i + 1, 2, 0));
    }
    assert_int_equal(mem_read(m, 0), UINT64_MAX);
}

static void a_window_too_small_takes_no_function(void **state)
{
    struct machine *m = *state;
    struct card card;
    card_init(&card, 9);
    pci_add_bar(&card.fn, 4, WINDOW_SIZE, false); /* the others take a part of it */

    assert_int_equal(pci_host_add(m->host, 9, &card.fn), -ENOSPC);
    assert_int_equal(ecam_read(m, 9, 0, 4), 0xffffffff);
    pci_function_fini(&card.fn);
}

static void a_slot_takes_one_function(void **state)
{
    struct machine *m = *state;
    struct card card;
    card_init(&card, 9);

    assert_int_equal(pci_host_add(m->host, 0, &card.fn), -EEXIST);
    assert_int_equal(pci_host_add(m->host, 5, &card.fn), -EEXIST);
    pci_function_fini(&card.fn);
}

static void a_bridge_needs_free_addresses(void **state)
{
    struct machine *m = *state;
    struct pci_host_params params = {
        .memory_bus = m->memory,
        .port_bus = m->ports,
        .ecam_base = 0xb0000000,
        .config_port = CONFIG_PORT,
    };
    struct pci_host *host = NULL;

    assert_int_equal(pci_host_create(&params, &host), -EEXIST); /* the ports */
    params.config_port = CONFIG_PORT - 4;
    assert_int_equal(pci_host_create(&params, &host), -EEXIST); /* the data port alone */
    params.config_port = 0;
    assert_int_equal(pci_host_create(&params, &host), 0); /* nothing of these is left */
    pci_host_destroy(host);
}

/* --- interrupt wire --- */

static void the_wire_follows_status_and_disable_bit(void **state)
{
    struct machine *m = *state;
    struct card *card = &m->cards[0];

    pci_set_intx(&card->fn, true);
    assert_true(card->irq);
    assert_int_equal(ecam_read(m, 1, PCI_STATUS, 2), PCI_STATUS_INTERRUPT);
    ecam_write(m, 1, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
    assert_false(card->irq);
    assert_int_equal(ecam_read(m, 1, PCI_STATUS, 2), PCI_STATUS_INTERRUPT);
    ecam_write(m, 1, PCI_COMMAND, 2, 0);
    assert_true(card->irq);
    pci_set_intx(&card->fn, false);
    assert_false(card->irq);
    assert_int_equal(ecam_read(m, 1, PCI_STATUS, 2), 0);
}

/* --- reset, save, load --- */

static void reset_brings_everything_home(void **state)
{
    struct machine *m = *state;
    struct card *card = &m->cards[0];
    uint8_t before[PCI_CONFIG_SIZE];
    memcpy(before, card->fn.state.config, sizeof(before));
    set_bar(m, 0, 0, 0xd0000000);
    set_bar(m, 0, 3, 7);
    decode(m, 0, true);
    ecam_write(m, 1, PCI_INTERRUPT_LINE, 1, 5);
    pci_set_intx(&card->fn, true);

    pci_function_reset(&card->fn);

    assert_memory_equal(card->fn.state.config, before, sizeof(before));
    assert_false(card->irq);
    assert_int_equal(mem_read(m, 0xd0000000), UINT64_MAX);
    assert_false(card->told[0].decodes);
}

static void a_loaded_function_decodes_where_the_saved_one_did(void **state)
{
    struct machine *m = *state;
    struct card *card = &m->cards[0];
    struct state_writer out = { .data = NULL };
    decode(m, 0, true);
    set_bar(m, 0, 0, 0xd0000000);
    pci_set_intx(&card->fn, true);
    assert_int_equal(pci_function_save(&card->fn, &out), 0);
    pci_function_reset(&card->fn);

    struct state_reader in = { .data = out.data, .len = out.len };
    assert_int_equal(pci_function_load(&card->fn, &in), 0);

    assert_int_equal(mem_read(m, 0xd0000000), answer_of(1, 0, 0));
    assert_true(card->irq);
    state_writer_fini(&out);
}

static void a_state_of_another_card_is_refused(void **state)
{
    static const uint8_t capability[2] = { 0 };
    struct machine *m = *state;
    struct state_writer out = { .data = NULL };
    (void)pci_add_capability(&m->cards[1].fn, 0x09, capability, 4);
    assert_int_equal(pci_function_save(&m->cards[1].fn, &out), 0);

    struct state_reader in = { .data = out.data, .len = out.len };
    assert_int_equal(pci_function_load(&m->cards[0].fn, &in), -EBADMSG);

    assert_int_equal(ecam_read(m, 1, PCI_CAPABILITY_LIST, 1), 0);
    state_writer_fini(&out);
}

static void the_bridge_is_saved_loaded_and_reset(void **state)
{
    struct machine *m = *state;
    struct device *bridge = pci_host_device(m->host);
    struct state_writer out = { .data = NULL };
    select_by_port(m, 2, 8);
    assert_int_equal(bridge->ops->save(bridge, &out), 0);

    bridge->ops->reset(bridge);
    assert_int_equal(port_read(m, CONFIG_PORT, 4), 0);
    struct state_reader in = { .data = out.data, .len = out.len };
    assert_int_equal(bridge->ops->load(bridge, &in), 0);
    assert_int_equal(port_read(m, CONFIG_PORT, 4), 0x80001008);

    out.data[48] |= 1; /* the first byte behind the record's header: a bit that is always 0 */
    in.position = 0;
    assert_int_equal(bridge->ops->load(bridge, &in), -EBADMSG);
    state_writer_fini(&out);
}

static void a_destroyed_function_leaves_no_window(void **state)
{
    struct machine *m = *state;
    struct card card;
    card_init(&card, 9);
    assert_int_equal(pci_host_add(m->host, 31, &card.fn), 0);
    ecam_write(m, 31, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    uint64_t base = ecam_read(m, 31, PCI_BASE_ADDRESS_0, 4);
    assert_int_equal(mem_read(m, base), answer_of(9, 0, 0));

    pci_function_fini(&card.fn);

    assert_int_equal(mem_read(m, base), UINT64_MAX);
    assert_int_equal(card.told[0].calls, 1);
}

/* --- several vCPUs --- */

enum { ROUNDS = 3000 };

struct fight {
    struct machine *m;
    unsigned card;
    atomic_uint *wrong;
};

/* Moves one card's BAR between two places that all cards want. */
static void *fight_for_a_place(void *ctx)
{
    struct fight *fight = ctx;
    uint64_t mask = ~(UINT64_C(0xff) << 48);

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t place = i & 1 ? 0xd0000000 : 0xd0001000;
        set_bar(fight->m, fight->card, 0, place);
        decode(fight->m, fight->card, i % 5 != 0);
        uint64_t value = mem_read(fight->m, place + 0x20);
        if (value != UINT64_MAX && (value & mask) != 0x20)
            atomic_fetch_add(fight->wrong, 1);
    }
    return NULL;
}

static void vcpus_that_fight_for_places_break_nothing(void **state)
{
    struct machine *m = *state;
    struct fight fights[3];
    pthread_t threads[3];
    atomic_uint wrong = 0;

    for (unsigned i = 0; i < 3; i++) {
        fights[i] = (struct fight){ m, i, &wrong };
        assert_int_equal(pthread_create(&threads[i], NULL, fight_for_a_place, &fights[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);

    assert_int_equal(wrong, 0);
    for (unsigned i = 0; i < 3; i++) {
        set_bar(m, i, 0, 0xd4000000 + i * 0x1000);
        decode(m, i, true);
        assert_int_equal(mem_read(m, 0xd4000000 + i * 0x1000), answer_of(i + 1, 0, 0));
    }
    assert_int_equal(mem_read(m, 0xd0000000), UINT64_MAX);
    assert_int_equal(mem_read(m, 0xd0001000), UINT64_MAX);
}

#define pci_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        pci_test(functions_show_who_they_are),
        pci_test(where_no_function_is_all_ones_are_read),
        pci_test(accesses_that_are_odd_read_all_ones_and_write_nothing),
        pci_test(only_what_is_writable_changes),
        pci_test(capabilities_form_a_list),
        pci_test(the_ports_reach_the_same_registers_in_any_size),
        pci_test(the_ports_lead_nowhere_without_enable_bit_or_on_other_buses),
        pci_test(the_address_port_takes_four_bytes_only),
        pci_test(other_chips_fit_between_the_ports),
        pci_test(bars_are_placed_apart_and_aligned_and_do_not_decode_yet),
        pci_test(bars_tell_their_size),
        pci_test(a_decoding_bar_answers_where_it_was_placed),
        pci_test(a_bar_moves_while_it_decodes),
        pci_test(a_64_bit_bar_goes_above_4_gib_and_to_the_very_top),
        pci_test(a_bar_written_byte_by_byte_ends_up_where_it_says),
        pci_test(a_bar_on_another_waits_until_that_moves_away),
        pci_test(a_waiting_bar_gets_its_place_when_the_other_stops_decoding),
        pci_test(two_bars_of_one_function_may_fight_too),
        pci_test(a_bar_cannot_hide_configuration_space),
        pci_test(every_function_on_one_address_leaves_all_alive),
        pci_test(a_window_too_small_takes_no_function),
        pci_test(a_slot_takes_one_function),
        pci_test(a_bridge_needs_free_addresses),
        pci_test(the_wire_follows_status_and_disable_bit),
        pci_test(reset_brings_everything_home),
        pci_test(a_loaded_function_decodes_where_the_saved_one_did),
        pci_test(a_state_of_another_card_is_refused),
        pci_test(the_bridge_is_saved_loaded_and_reset),
        pci_test(a_destroyed_function_leaves_no_window),
        pci_test(vcpus_that_fight_for_places_break_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
