// SPDX-License-Identifier: Apache-2.0
/* PCI configuration space through memory and ports: which functions there are, what can be
 * written, and what a reset or a saved state brings back. */
#include "devices/pci/pci.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "pci_cards.h"

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

/* --- putting functions in --- */

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
        pci_test(a_window_too_small_takes_no_function),
        pci_test(a_slot_takes_one_function),
        pci_test(a_bridge_needs_free_addresses),
        pci_test(the_wire_follows_status_and_disable_bit),
        pci_test(reset_brings_everything_home),
        pci_test(a_loaded_function_decodes_where_the_saved_one_did),
        pci_test(a_state_of_another_card_is_refused),
        pci_test(the_bridge_is_saved_loaded_and_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
