// SPDX-License-Identifier: Apache-2.0
/* BARs as a guest sizes, moves and misplaces them: what answers is what the registers say, one at
 * a time where two want the same place. */
#include "devices/pci/pci.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "pci_cards.h"

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
        pci_test(a_destroyed_function_leaves_no_window),
        pci_test(vcpus_that_fight_for_places_break_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
