// SPDX-License-Identifier: Apache-2.0
/* MSI-X: what reaches the port, in which order, and what waits as pending. */
#include "devices/pci/msix.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "host/state.h"

enum { VECTORS = 5, TABLE = 0x1000, PBA = 0x1800, BAR = 2 };
enum { ENABLE = PCI_MSIX_FLAGS_ENABLE, MASK_ALL = PCI_MSIX_FLAGS_MASKALL };

struct card {
    struct pci_function fn;
    struct msix msix;
    /* What the port saw. */
    int connect_error;
    unsigned connects, disconnects, raises[MSIX_MAX_VECTORS];
    struct msi_message messages[MSIX_MAX_VECTORS];
};

static int port_connect(void *ctx, unsigned vector, const struct msi_message *message)
{
    struct card *card = ctx;

    assert_true(vector < card->msix.vector_count);
    if (!message) {
        card->disconnects++;
        return 0;
    }
    card->connects++;
    if (!card->connect_error)
        card->messages[vector] = *message;
    return card->connect_error;
}

static void port_raise(void *ctx, unsigned vector)
{
    struct card *card = ctx;

    assert_true(vector < card->msix.vector_count);
    card->raises[vector]++;
}

static void card_config_written(struct pci_function *fn, unsigned offset, unsigned size)
{
    msix_config_written(&container_of(fn, struct card, fn)->msix, offset, size);
}

static void card_init(struct card *card, unsigned vectors)
{
    static const struct device_ops device_ops = { .read = NULL };
    static const struct pci_function_ops ops = { .config_written = card_config_written };
    const struct pci_function_params params = {
        .name = "card",
        .device_ops = &device_ops,
        .ops = &ops,
    };
    const struct msi_port port = { port_connect, port_raise, card };

    *card = (struct card){ .connect_error = 0 };
    pci_function_init(&card->fn, &params);
    pci_add_bar(&card->fn, BAR, 0x4000, true);
    msix_init(&card->msix, &card->fn, &port, vectors, BAR, TABLE, PBA);
}

static int setup(void **state)
{
    static struct card card;

    card_init(&card, VECTORS);
    *state = &card;
    return 0;
}

static int teardown(void **state)
{
    pci_function_fini(&((struct card *)*state)->fn);
    return 0;
}

static void set_flags(struct card *card, uint16_t flags)
{
    pci_config_write(&card->fn, card->msix.capability + PCI_MSIX_FLAGS, 2, flags);
}

static void set_message(struct card *card, unsigned vector, uint64_t address, uint32_t data)
{
    uint64_t entry = (uint64_t)vector * MSIX_ENTRY_SIZE;

    msix_table_write(&card->msix, entry + PCI_MSIX_ENTRY_LOWER_ADDR, 4, (uint32_t)address);
    msix_table_write(&card->msix, entry + PCI_MSIX_ENTRY_UPPER_ADDR, 4, address >> 32);
    msix_table_write(&card->msix, entry + PCI_MSIX_ENTRY_DATA, 4, data);
}

static void set_mask(struct card *card, unsigned vector, bool masked)
{
    msix_table_write(&card->msix, vector * MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, masked);
}

/* A vector as a driver leaves it: enabled, with a message, unmasked. */
static void open_vector(struct card *card, unsigned vector)
{
    set_flags(card, ENABLE);
    set_message(card, vector, 0xfee01000, 0x4020 + vector);
    set_mask(card, vector, false);
}

static void the_capability_tells_where_everything_is(void **state)
{
    struct card *card = *state;
    unsigned at = card->msix.capability;

    assert_int_equal(pci_config_read(&card->fn, at, 1), PCI_CAP_ID_MSIX);
    assert_int_equal(pci_config_read(&card->fn, at + PCI_MSIX_FLAGS, 2), VECTORS - 1);
    assert_int_equal(pci_config_read(&card->fn, at + PCI_MSIX_TABLE, 4), TABLE | BAR);
    assert_int_equal(pci_config_read(&card->fn, at + PCI_MSIX_PBA, 4), PBA | BAR);
    pci_config_write(&card->fn, at + PCI_MSIX_FLAGS, 2, 0xffff);
    pci_config_write(&card->fn, at + PCI_MSIX_TABLE, 4, 0);
    assert_int_equal(pci_config_read(&card->fn, at + PCI_MSIX_FLAGS, 2),
                     ENABLE | MASK_ALL | (VECTORS - 1));
    assert_int_equal(pci_config_read(&card->fn, at + PCI_MSIX_TABLE, 4), TABLE | BAR);
}

static void vectors_start_masked(void **state)
{
    struct card *card = *state;

    for (unsigned vector = 0; vector < VECTORS; vector++)
        assert_int_equal(msix_table_read(&card->msix, vector * 16 + 8, 8), UINT64_C(1) << 32);
    assert_false(msix_is_enabled(&card->msix));
}

static void an_open_vector_is_sent_at_once(void **state)
{
    struct card *card = *state;
    open_vector(card, 3);

    msix_raise(&card->msix, 3);

    assert_true(msix_is_enabled(&card->msix));
    assert_int_equal(card->raises[3], 1);
    assert_int_equal(card->messages[3].address, 0xfee01000);
    assert_int_equal(card->messages[3].data, 0x4023);
    assert_int_equal(msix_pba_read(&card->msix, 0, 8), 0);
}

static void nothing_is_sent_while_disabled(void **state)
{
    struct card *card = *state;
    open_vector(card, 0);
    set_flags(card, 0);

    msix_raise(&card->msix, 0);
    set_flags(card, ENABLE);

    assert_int_equal(card->raises[0], 0);
}

static void a_masked_vector_is_sent_when_it_opens(void **state)
{
    struct card *card = *state;
    open_vector(card, 1);
    set_mask(card, 1, true);

    msix_raise(&card->msix, 1);
    msix_raise(&card->msix, 1);
    assert_int_equal(card->raises[1], 0);
    assert_int_equal(msix_pba_read(&card->msix, 0, 4), 1 << 1);
    set_mask(card, 1, false);

    assert_int_equal(card->raises[1], 1);
    assert_int_equal(msix_pba_read(&card->msix, 0, 4), 0);
}

static void the_function_mask_holds_all_vectors_back(void **state)
{
    struct card *card = *state;
    open_vector(card, 1);
    open_vector(card, 2);
    set_flags(card, ENABLE | MASK_ALL);

    msix_raise(&card->msix, 1);
    msix_raise(&card->msix, 2);
    msix_raise(&card->msix, 4); /* masked by itself too */
    assert_int_equal(msix_pba_read(&card->msix, 0, 8), 1 << 1 | 1 << 2 | 1 << 4);
    set_flags(card, ENABLE);

    assert_int_equal(card->raises[1], 1);
    assert_int_equal(card->raises[2], 1);
    assert_int_equal(card->raises[4], 0);
    assert_int_equal(msix_pba_read(&card->msix, 0, 8), 1 << 4);
}

static void flags_may_be_written_as_a_byte_or_with_the_whole_word(void **state)
{
    struct card *card = *state;
    open_vector(card, 0);
    set_flags(card, ENABLE | MASK_ALL);
    msix_raise(&card->msix, 0);

    pci_config_write(&card->fn, card->msix.capability + PCI_MSIX_FLAGS + 1, 1, ENABLE >> 8);
    assert_int_equal(card->raises[0], 1);
    set_flags(card, ENABLE | MASK_ALL);
    msix_raise(&card->msix, 0);
    pci_config_write(&card->fn, card->msix.capability, 4, (uint32_t)ENABLE << 16);
    assert_int_equal(card->raises[0], 2);
}

static void messages_written_while_masked_cost_nothing(void **state)
{
    struct card *card = *state;
    set_flags(card, ENABLE | MASK_ALL);

    for (unsigned vector = 0; vector < VECTORS; vector++)
        set_message(card, vector, 0xfee00000, vector);
    assert_int_equal(card->connects, 0);
    set_flags(card, ENABLE);
    assert_int_equal(card->connects, 0);
    set_mask(card, 0, false);
    assert_int_equal(card->connects, 1);
}

static void masking_and_unmasking_connects_once(void **state)
{
    struct card *card = *state;
    open_vector(card, 0);

    for (int i = 0; i < 10; i++) {
        set_mask(card, 0, true);
        set_mask(card, 0, false);
        set_flags(card, ENABLE | MASK_ALL);
        set_flags(card, ENABLE);
        set_message(card, 0, 0xfee01000, 0x4020); /* the same */
    }

    assert_int_equal(card->connects, 1);
    assert_int_equal(card->disconnects, 0);
}

static void a_changed_message_is_connected_when_the_vector_opens(void **state)
{
    struct card *card = *state;
    open_vector(card, 0);
    set_mask(card, 0, true);

    set_message(card, 0, UINT64_C(0x1fee02000), 0x55);
    assert_int_equal(card->connects, 1);
    set_mask(card, 0, false);

    assert_int_equal(card->connects, 2);
    assert_int_equal(card->messages[0].address, UINT64_C(0x1fee02000));
    assert_int_equal(card->messages[0].data, 0x55);
}

static void what_the_host_cannot_connect_stays_pending(void **state)
{
    struct card *card = *state;
    card->connect_error = -ENOSPC;
    open_vector(card, 0);

    msix_raise(&card->msix, 0);
    assert_int_equal(card->raises[0], 0);
    assert_int_equal(msix_pba_read(&card->msix, 0, 8), 1);
    card->connect_error = 0;
    msix_raise(&card->msix, 0);

    assert_int_equal(card->raises[0], 1);
    assert_int_equal(msix_pba_read(&card->msix, 0, 8), 0);
}

static void vectors_past_the_table_send_nothing(void **state)
{
    struct card *card = *state;
    open_vector(card, 0);

    msix_raise(&card->msix, VECTORS);
    msix_raise(&card->msix, 63);
    msix_raise(&card->msix, 64);
    msix_raise(&card->msix, MSIX_NO_VECTOR);
    msix_raise(&card->msix, UINT32_MAX);

    assert_int_equal(msix_pba_read(&card->msix, 0, 8), 0);
}

static void the_table_takes_four_and_eight_bytes_aligned(void **state)
{
    struct card *card = *state;
    struct msix *msix = &card->msix;

    msix_table_write(msix, 16, 8, UINT64_C(0x123456789abcdef0));
    assert_int_equal(msix_table_read(msix, 16, 8), UINT64_C(0x123456789abcdef0));
    assert_int_equal(msix_table_read(msix, 20, 4), 0x12345678);
    msix_table_write(msix, 24, 8, UINT64_C(0xffffffff000000aa));
    assert_int_equal(msix_table_read(msix, 24, 8), UINT64_C(0x1000000aa)); /* one bit of control */
    msix_table_write(msix, 16, 4, 0xffffffff);
    assert_int_equal(msix_table_read(msix, 16, 4), 0xfffffffc);
    msix_table_write(msix, 16, 1, 0);
    msix_table_write(msix, 16, 2, 0);
    msix_table_write(msix, 18, 4, 0);
    msix_table_write(msix, 20, 8, 0);
    assert_int_equal(msix_table_read(msix, 16, 8), UINT64_C(0x12345678fffffffc));
    assert_int_equal(msix_table_read(msix, 16, 2), 0);
    assert_int_equal(msix_table_read(msix, 20, 8), 0);
}

static void accesses_past_table_and_pending_bits_mean_nothing(void **state)
{
    struct card *card = *state;
    static const uint64_t offsets[] = { VECTORS * 16, VECTORS * 16 + 8, 64 * 16, 1 << 20,
                                        UINT64_MAX - 7 };

    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        msix_table_write(&card->msix, offsets[i], 8, UINT64_MAX);
        msix_table_write(&card->msix, offsets[i], 4, UINT32_MAX);
        assert_int_equal(msix_table_read(&card->msix, offsets[i], 8), 0);
        assert_int_equal(msix_pba_read(&card->msix, offsets[i], 8), 0);
    }
    assert_int_equal(msix_pba_read(&card->msix, 8, 4), 0);
    for (unsigned vector = VECTORS; vector < MSIX_MAX_VECTORS; vector++)
        assert_int_equal(card->msix.state.table[vector][0], 0);
}

static void sixty_four_vectors_work(void **state)
{
    struct card card;
    (void)state;
    card_init(&card, MSIX_MAX_VECTORS);

    open_vector(&card, 63);
    msix_raise(&card.msix, 63);
    assert_int_equal(card.raises[63], 1);
    msix_raise(&card.msix, 40);
    assert_int_equal(msix_pba_read(&card.msix, 4, 4), 1 << 8);
    msix_raise(&card.msix, 64);
    assert_int_equal(msix_pba_read(&card.msix, 0, 8), UINT64_C(1) << 40);
    pci_function_fini(&card.fn);
}

static void reset_masks_and_disconnects_what_was_connected(void **state)
{
    struct card *card = *state;
    open_vector(card, 0);
    open_vector(card, 2);
    msix_raise(&card->msix, 4);

    pci_function_reset(&card->fn);
    msix_reset(&card->msix);

    assert_int_equal(card->disconnects, 2);
    assert_int_equal(msix_pba_read(&card->msix, 0, 8), 0);
    assert_int_equal(msix_table_read(&card->msix, 8, 8), UINT64_C(1) << 32);
    assert_int_equal(msix_table_read(&card->msix, 0, 8), 0);
    msix_reset(&card->msix);
    assert_int_equal(card->disconnects, 2);
}

static void a_loaded_table_is_connected_and_keeps_what_is_pending(void **state)
{
    struct card *card = *state;
    struct card copy;
    struct state_writer out = { .data = NULL };
    card_init(&copy, VECTORS);
    open_vector(card, 0);
    set_message(card, 1, 0xfee00000, 7);
    msix_raise(&card->msix, 1);
    assert_int_equal(pci_function_save(&card->fn, &out), 0);
    assert_int_equal(msix_save(&card->msix, &out), 0);

    struct state_reader in = { .data = out.data, .len = out.len };
    assert_int_equal(pci_function_load(&copy.fn, &in), 0);
    assert_int_equal(msix_load(&copy.msix, &in), 0);

    assert_int_equal(copy.connects, 1);
    assert_int_equal(copy.messages[0].data, 0x4020);
    assert_int_equal(copy.raises[1], 0);
    assert_int_equal(msix_pba_read(&copy.msix, 0, 8), 1 << 1);
    set_mask(&copy, 1, false);
    assert_int_equal(copy.raises[1], 1);
    assert_int_equal(copy.messages[1].data, 7);
    state_writer_fini(&out);
    pci_function_fini(&copy.fn);
}

static void what_one_host_could_not_connect_is_sent_when_another_loads_it(void **state)
{
    struct card *card = *state;
    struct card copy;
    struct state_writer out = { .data = NULL };
    card_init(&copy, VECTORS);
    card->connect_error = -ENOSPC;
    open_vector(card, 0);
    msix_raise(&card->msix, 0);
    assert_int_equal(pci_function_save(&card->fn, &out), 0);
    assert_int_equal(msix_save(&card->msix, &out), 0);

    struct state_reader in = { .data = out.data, .len = out.len };
    assert_int_equal(pci_function_load(&copy.fn, &in), 0);
    assert_int_equal(msix_load(&copy.msix, &in), 0);

    assert_int_equal(copy.raises[0], 1);
    assert_int_equal(msix_pba_read(&copy.msix, 0, 8), 0);
    state_writer_fini(&out);
    pci_function_fini(&copy.fn);
}

static void states_that_cannot_be_are_refused(void **state)
{
    struct card *card = *state;
    struct msix_state wrong[4];
    for (int i = 0; i < 4; i++)
        wrong[i] = card->msix.state;
    wrong[0].pending = UINT64_C(1) << VECTORS;
    wrong[1].table[VECTORS][2] = 1;
    wrong[2].table[0][0] = 2;
    wrong[3].table[0][3] = 3;

    for (int i = 0; i < 4; i++) {
        struct state_writer out = { .data = NULL };
        assert_int_equal(state_save(&out, "msix", 1, &wrong[i], sizeof(wrong[i])), 0);
        struct state_reader in = { .data = out.data, .len = out.len };
        assert_int_equal(msix_load(&card->msix, &in), -EBADMSG);
        state_writer_fini(&out);
    }
    assert_int_equal(card->connects, 0);
}

#define msix_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        msix_test(the_capability_tells_where_everything_is),
        msix_test(vectors_start_masked),
        msix_test(an_open_vector_is_sent_at_once),
        msix_test(nothing_is_sent_while_disabled),
        msix_test(a_masked_vector_is_sent_when_it_opens),
        msix_test(the_function_mask_holds_all_vectors_back),
        msix_test(flags_may_be_written_as_a_byte_or_with_the_whole_word),
        msix_test(messages_written_while_masked_cost_nothing),
        msix_test(masking_and_unmasking_connects_once),
        msix_test(a_changed_message_is_connected_when_the_vector_opens),
        msix_test(what_the_host_cannot_connect_stays_pending),
        msix_test(vectors_past_the_table_send_nothing),
        msix_test(the_table_takes_four_and_eight_bytes_aligned),
        msix_test(accesses_past_table_and_pending_bits_mean_nothing),
        msix_test(sixty_four_vectors_work),
        msix_test(reset_masks_and_disconnects_what_was_connected),
        msix_test(a_loaded_table_is_connected_and_keeps_what_is_pending),
        msix_test(what_one_host_could_not_connect_is_sent_when_another_loads_it),
        msix_test(states_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
