// SPDX-License-Identifier: Apache-2.0
/* A ring in guest RAM, used by honest drivers and by others. */
#include "virtio/virtqueue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include "virtio_driver.h"

enum { SIZE = 8, PAGE = 4096 };

/* A started queue of SIZE descriptors, and its driver. */
struct fixture {
    struct driver driver;
    struct driver_queue *ring; /* the driver's side */
    struct virtqueue vq;       /* the device's side */
    struct virtqueue_chain chain;
    gpa_t page;
};

static void place(struct fixture *f, uint16_t size)
{
    virtqueue_init(&f->vq, f->driver.mem, VIRTQUEUE_MAX_SIZE);
    driver_make_queue(&f->driver, 0, size);
    f->ring = &f->driver.queues[0];
    f->vq.state.size = size;
    f->vq.state.indirect = 1;
    f->vq.state.desc = f->ring->desc_gpa;
    f->vq.state.avail = f->ring->avail_gpa;
    f->vq.state.used = f->ring->used_gpa;
}

static int setup(void **state)
{
    struct fixture *f = driver_setup(state, sizeof(*f));

    place(f, SIZE);
    f->page = driver_alloc(&f->driver, PAGE);
    assert_int_equal(virtqueue_start(&f->vq), 0);
    return 0;
}

/* A chain of one readable buffer of @len bytes. */
static uint16_t add_one(struct fixture *f, uint32_t len)
{
    struct driver_buffer buffer = { f->page, len, false };

    return driver_add(f->ring, &buffer, 1);
}

/* Shows a descriptor that the test filled in itself. */
static void show(struct fixture *f, uint16_t head, uint64_t addr, uint32_t len, uint16_t flags,
                 uint16_t next)
{
    f->ring->desc[head] =
        (struct vring_desc){ htole64(addr), htole32(len), htole16(flags), htole16(next) };
    driver_publish(f->ring, head);
}

static void set_desc(struct vring_desc *desc, uint64_t addr, uint32_t len, uint16_t flags,
                     uint16_t next)
{
    *desc = (struct vring_desc){ htole64(addr), htole32(len), htole16(flags), htole16(next) };
}

static void assert_broken(struct fixture *f)
{
    uint16_t next = f->vq.state.next_avail;

    assert_int_equal(virtqueue_pop(&f->vq, &f->chain), -EPROTO);
    assert_true(f->vq.broken);
    assert_int_equal(f->vq.state.next_avail, next);
}

static void pop(struct fixture *f)
{
    assert_int_equal(virtqueue_pop(&f->vq, &f->chain), 1);
}

/* --- starting --- */

static void refuses_a_size_that_is_no_power_of_two(void **state)
{
    struct fixture *f = *state;

    place(f, 8);
    f->vq.state.size = 6;

    assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
    assert_true(f->vq.broken);
}

static void refuses_a_size_of_zero(void **state)
{
    struct fixture *f = *state;

    place(f, 8);
    f->vq.state.size = 0;

    assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
}

static void refuses_a_size_above_its_offer(void **state)
{
    struct fixture *f = *state;

    place(f, 8);
    f->vq.state.size = 2 * VIRTQUEUE_MAX_SIZE;

    assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
}

static void refuses_misaligned_rings(void **state)
{
    struct fixture *f = *state;

    place(f, 8);
    f->vq.state.desc += 8;
    assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
    place(f, 8);
    f->vq.state.avail += 1;
    assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
    place(f, 8);
    f->vq.state.used += 2;
    assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
}

static void refuses_rings_that_leave_ram(void **state)
{
    struct fixture *f = *state;

    place(f, 8);
    f->vq.state.desc = DRIVER_RAM_SIZE - 7 * sizeof(struct vring_desc);
    assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
    place(f, 8);
    f->vq.state.avail = DRIVER_RAM_SIZE - (4 + 2 * 8);
    assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
    place(f, 8);
    f->vq.state.used = DRIVER_RAM_SIZE - (4 + 8 * 8);
    assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
    place(f, 8);
    f->vq.state.desc = UINT64_MAX - 15;
    assert_int_equal(virtqueue_start(&f->vq), -EINVAL);
}

static void takes_rings_that_end_with_ram(void **state)
{
    struct fixture *f = *state;

    place(f, 8);
    f->vq.state.used = DRIVER_RAM_SIZE - (4 + 8 * 8 + 2) - 2;

    assert_int_equal(virtqueue_start(&f->vq), 0);
}

static void a_queue_that_did_not_start_has_nothing(void **state)
{
    struct fixture *f = *state;

    place(f, 8);

    assert_int_equal(virtqueue_pop(&f->vq, &f->chain), 0);
    assert_int_equal(virtqueue_available(&f->vq), 0);
    assert_false(virtqueue_enable_notify(&f->vq));
    assert_false(virtqueue_wants_interrupt(&f->vq));
    virtqueue_disable_notify(&f->vq);
    virtqueue_push(&f->vq, 0, 0);
    assert_int_equal(f->vq.state.next_used, 0);
}

static void reset_forgets_all_but_the_offer(void **state)
{
    struct fixture *f = *state;

    add_one(f, 1);
    pop(f);

    virtqueue_reset(&f->vq);

    assert_int_equal(f->vq.state.max_size, VIRTQUEUE_MAX_SIZE);
    assert_int_equal(f->vq.state.size, VIRTQUEUE_MAX_SIZE);
    assert_int_equal(f->vq.state.next_avail, 0);
    assert_int_equal(f->vq.state.desc, 0);
    assert_int_equal(virtqueue_pop(&f->vq, &f->chain), 0);
}

/* --- chains --- */

static void an_empty_ring_gives_nothing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(virtqueue_pop(&f->vq, &f->chain), 0);
    assert_false(f->vq.broken);
}

static void a_chain_comes_as_readable_then_writable_buffers(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffers[] = { { f->page, 16, false },
                                       { f->page + 100, 7, false },
                                       { f->page + 200, 512, true } };
    uint16_t head = driver_add(f->ring, buffers, 3);

    pop(f);

    assert_int_equal(f->chain.head, head);
    assert_int_equal(f->chain.readable_count, 2);
    assert_int_equal(f->chain.readable_bytes, 23);
    assert_int_equal(f->chain.writable_count, 1);
    assert_int_equal(f->chain.writable_bytes, 512);
    assert_ptr_equal(virtqueue_readable(&f->chain)[1].iov_base,
                     driver_at(&f->driver, f->page + 100, 7));
    assert_ptr_equal(virtqueue_writable(&f->chain)[0].iov_base,
                     driver_at(&f->driver, f->page + 200, 1));
    assert_int_equal(virtqueue_writable(&f->chain)[0].iov_len, 512);
}

static void empty_buffers_are_skipped_wherever_they_point(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffers[] = {
        { UINT64_MAX, 0, true }, { f->page, 4, false }, { 0, 0, false }, { f->page, 8, true }
    };

    driver_add(f->ring, buffers, 4);
    pop(f);

    assert_int_equal(f->chain.readable_count, 1);
    assert_int_equal(f->chain.writable_count, 1);
    assert_int_equal(f->chain.readable_bytes + f->chain.writable_bytes, 12);
}

static void a_chain_may_take_the_whole_ring(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffers[SIZE];

    for (int i = 0; i < SIZE; i++)
        buffers[i] = (struct driver_buffer){ f->page, 1, false };
    driver_add(f->ring, buffers, SIZE);

    pop(f);
    assert_int_equal(f->chain.readable_count, SIZE);
}

static void a_chain_that_loops_breaks_the_ring(void **state)
{
    struct fixture *f = *state;

    set_desc(&f->ring->desc[1], f->page, 1, VRING_DESC_F_NEXT, 0);
    show(f, 0, f->page, 1, VRING_DESC_F_NEXT, 1);

    assert_broken(f);
}

static void a_loop_of_empty_buffers_ends(void **state)
{
    struct fixture *f = *state;

    show(f, 0, f->page, 0, VRING_DESC_F_NEXT, 0);

    assert_broken(f);
}

static void a_next_beyond_the_ring_breaks_it(void **state)
{
    struct fixture *f = *state;

    show(f, 0, f->page, 1, VRING_DESC_F_NEXT, SIZE);

    assert_broken(f);
}

static void a_head_beyond_the_ring_breaks_it(void **state)
{
    struct fixture *f = *state;

    driver_publish(f->ring, SIZE);

    assert_broken(f);
}

static void a_buffer_outside_ram_breaks_the_ring(void **state)
{
    const struct {
        uint64_t addr;
        uint32_t len;
    } bad[] = { { DRIVER_RAM_SIZE, 1 },
                { DRIVER_RAM_SIZE - 1, 2 },
                { UINT64_MAX, 2 },
                { UINT64_MAX - 10, 11 },
                { 0, UINT32_MAX } };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct fixture *f = *state;

        place(f, SIZE);
        assert_int_equal(virtqueue_start(&f->vq), 0);
        show(f, 0, bad[i].addr, bad[i].len, 0, 0);
        assert_broken(f);
    }
}

static void readable_after_writable_breaks_the_ring(void **state)
{
    struct fixture *f = *state;

    set_desc(&f->ring->desc[1], f->page, 1, 0, 0);
    show(f, 0, f->page, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);

    assert_broken(f);
}

static void four_gib_in_one_chain_break_the_ring(void **state)
{
    struct fixture *f = *state;
    enum { BIG = 256, COUNT = (1ULL << 32) / DRIVER_RAM_SIZE }; /* all of RAM, again and again */
    struct driver_buffer buffers[COUNT];

    place(f, BIG);
    assert_int_equal(virtqueue_start(&f->vq), 0);
    for (int i = 0; i < COUNT; i++)
        buffers[i] = (struct driver_buffer){ 0, DRIVER_RAM_SIZE, false };
    buffers[COUNT - 1].len--;
    driver_add(f->ring, buffers, COUNT);
    pop(f);
    assert_int_equal(f->chain.readable_bytes, UINT32_MAX);

    place(f, BIG);
    assert_int_equal(virtqueue_start(&f->vq), 0);
    buffers[COUNT - 1].len++;
    driver_add(f->ring, buffers, COUNT);
    assert_broken(f);
}

static void too_many_buffers_break_the_ring(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffers[VIRTQUEUE_MAX_SEGMENTS + 1];

    for (int i = 0; i <= VIRTQUEUE_MAX_SEGMENTS; i++)
        buffers[i] = (struct driver_buffer){ f->page, 1, true };
    driver_add_indirect(f->ring, buffers, VIRTQUEUE_MAX_SEGMENTS);
    pop(f);
    assert_int_equal(f->chain.writable_count, VIRTQUEUE_MAX_SEGMENTS);

    driver_add_indirect(f->ring, buffers, VIRTQUEUE_MAX_SEGMENTS + 1);
    assert_broken(f);
}

static void nothing_is_taken_from_a_broken_ring(void **state)
{
    struct fixture *f = *state;

    driver_publish(f->ring, SIZE);
    assert_broken(f);
    f->ring->avail->ring[0] = 0;
    set_desc(&f->ring->desc[0], f->page, 1, 0, 0);

    assert_broken(f);
    assert_int_equal(virtqueue_available(&f->vq), 0);
    virtqueue_push(&f->vq, 0, 0);
    assert_int_equal(f->ring->used->idx, 0);
    assert_false(virtqueue_enable_notify(&f->vq));
}

/* --- indirect tables --- */

static void an_indirect_table_is_a_chain(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffers[] = { { f->page, 16, false }, { f->page + 32, 5, true } };
    uint16_t head = driver_add_indirect(f->ring, buffers, 2);

    pop(f);

    assert_int_equal(f->chain.head, head);
    assert_int_equal(f->chain.readable_bytes, 16);
    assert_int_equal(f->chain.writable_bytes, 5);
}

static void an_indirect_table_may_end_a_chain_and_lie_anywhere(void **state)
{
    struct fixture *f = *state;
    struct vring_desc entry;

    set_desc(&entry, f->page, 3, VRING_DESC_F_WRITE, 0);
    assert_int_equal(guest_mem_write(f->driver.mem, f->page + 1, &entry, sizeof(entry)), 0);
    set_desc(&f->ring->desc[1], f->page + 1, sizeof(entry), VRING_DESC_F_INDIRECT, 0);
    show(f, 0, f->page, 4, VRING_DESC_F_NEXT, 1);

    pop(f);
    assert_int_equal(f->chain.readable_bytes, 4);
    assert_int_equal(f->chain.writable_bytes, 3);
}

static void whether_the_table_is_writable_does_not_matter(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffer = { f->page, 16, false };
    uint16_t head = driver_add_indirect(f->ring, &buffer, 1);

    f->ring->desc[head].flags |= htole16(VRING_DESC_F_WRITE);

    pop(f);
    assert_int_equal(f->chain.readable_bytes, 16);
}

static void a_table_that_was_not_negotiated_breaks_the_ring(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffer = { f->page, 16, false };

    f->vq.state.indirect = 0;
    driver_add_indirect(f->ring, &buffer, 1);

    assert_broken(f);
}

static void a_table_in_a_table_breaks_the_ring(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffer = { f->page, 16, false };
    uint16_t inner = driver_add_indirect(f->ring, &buffer, 1);
    gpa_t outer = driver_put(&f->driver, &f->ring->desc[inner], sizeof(struct vring_desc));

    pop(f); /* the inner one alone is fine */
    show(f, 1, outer, sizeof(struct vring_desc), VRING_DESC_F_INDIRECT, 0);

    assert_broken(f);
}

static void more_descriptors_than_any_ring_has_break_it(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffers[VIRTQUEUE_MAX_SIZE + 1];

    for (int i = 0; i <= VIRTQUEUE_MAX_SIZE; i++)
        buffers[i] = (struct driver_buffer){ f->page, 0, false };
    driver_add_indirect(f->ring, buffers, VIRTQUEUE_MAX_SIZE);
    pop(f);
    driver_add_indirect(f->ring, buffers, VIRTQUEUE_MAX_SIZE + 1);

    assert_broken(f);
}

static void a_table_with_a_successor_breaks_the_ring(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffer = { f->page, 16, false };
    uint16_t head = driver_add_indirect(f->ring, &buffer, 1);

    f->ring->desc[head].flags |= htole16(VRING_DESC_F_NEXT);

    assert_broken(f);
}

static void a_table_of_a_wrong_size_or_place_breaks_the_ring(void **state)
{
    const struct {
        uint64_t addr;
        uint32_t len;
    } bad[] = { { 0x2000, 0 },           { 0x2000, 15 },
                { 0x2000, 24 },          { DRIVER_RAM_SIZE - 16, 32 },
                { UINT64_MAX - 15, 16 }, { 0, 0xfffffff0 } };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct fixture *f = *state;

        place(f, SIZE);
        f->vq.state.indirect = 1;
        assert_int_equal(virtqueue_start(&f->vq), 0);
        show(f, 0, bad[i].addr, bad[i].len, VRING_DESC_F_INDIRECT, 0);
        assert_broken(f);
    }
}

static void a_next_beyond_the_table_breaks_the_ring(void **state)
{
    struct fixture *f = *state;
    struct driver_buffer buffers[] = { { f->page, 16, false }, { f->page, 16, false } };
    uint16_t head = driver_add_indirect(f->ring, buffers, 2);

    f->ring->desc[head].len = htole32(sizeof(struct vring_desc));

    assert_broken(f);
}

/* --- indices --- */

static void more_chains_than_the_ring_has_break_it(void **state)
{
    struct fixture *f = *state;

    f->ring->avail->idx = htole16(SIZE + 1);

    assert_int_equal(virtqueue_available(&f->vq), 0);
    assert_broken(f);
}

static void an_index_that_went_back_breaks_the_ring(void **state)
{
    struct fixture *f = *state;

    add_one(f, 1);
    pop(f);
    f->ring->avail->idx = 0;

    assert_broken(f);
}

static void chains_in_flight_never_exceed_the_ring(void **state)
{
    struct fixture *f = *state;

    set_desc(&f->ring->desc[0], f->page, 1, 0, 0);
    for (int i = 0; i < SIZE; i++)
        driver_publish(f->ring, 0); /* the same head all over again */
    for (int i = 0; i < SIZE; i++)
        pop(f);
    driver_publish(f->ring, 0);

    assert_broken(f);
}

static void indices_wrap_around(void **state)
{
    struct fixture *f = *state;
    uint16_t head, used_head;
    uint32_t used_len;

    for (uint32_t i = 0; i < 3 * 65536 + 5; i++) {
        head = add_one(f, 1);
        pop(f);
        assert_int_equal(f->chain.head, head);
        virtqueue_push(&f->vq, head, i);
        assert_true(driver_take_used(f->ring, &used_head, &used_len));
        assert_int_equal(used_head, head);
        assert_int_equal(used_len, i);
    }
    assert_int_equal(virtqueue_pop(&f->vq, &f->chain), 0);
}

static void counts_what_is_available(void **state)
{
    struct fixture *f = *state;

    add_one(f, 1);
    add_one(f, 1);
    add_one(f, 1);
    pop(f);

    assert_int_equal(virtqueue_available(&f->vq), 2);
}

static void what_is_put_back_comes_again(void **state)
{
    struct fixture *f = *state;
    uint16_t first = add_one(f, 1), second = add_one(f, 2);

    pop(f);
    virtqueue_unpop(&f->vq);
    pop(f);
    assert_int_equal(f->chain.head, first);
    pop(f);
    assert_int_equal(f->chain.head, second);
}

static void chains_are_given_back_in_any_order(void **state)
{
    struct fixture *f = *state;
    uint16_t first = add_one(f, 1), second = add_one(f, 2), head;
    uint32_t len;

    pop(f);
    pop(f);
    virtqueue_push(&f->vq, second, 7);
    virtqueue_push(&f->vq, first, 9);

    assert_true(driver_take_used(f->ring, &head, &len));
    assert_int_equal(head, second);
    assert_int_equal(len, 7);
    assert_true(driver_take_used(f->ring, &head, &len));
    assert_int_equal(head, first);
    assert_int_equal(len, 9);
    assert_false(driver_take_used(f->ring, NULL, NULL));
}

/* --- interrupts and notifications --- */

static void push_one(struct fixture *f)
{
    add_one(f, 1);
    pop(f);
    virtqueue_push(&f->vq, f->chain.head, 0);
}

static void wants_one_interrupt_for_what_was_pushed(void **state)
{
    struct fixture *f = *state;

    assert_false(virtqueue_wants_interrupt(&f->vq));
    push_one(f);
    push_one(f);
    assert_true(virtqueue_wants_interrupt(&f->vq));
    assert_false(virtqueue_wants_interrupt(&f->vq));
}

static void the_flag_silences_interrupts(void **state)
{
    struct fixture *f = *state;

    f->ring->avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
    push_one(f);

    assert_false(virtqueue_wants_interrupt(&f->vq));
}

static void with_event_idx_the_flag_means_nothing(void **state)
{
    struct fixture *f = *state;

    f->vq.state.event_idx = 1;
    f->ring->avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
    push_one(f);

    assert_true(virtqueue_wants_interrupt(&f->vq));
}

static void an_interrupt_comes_when_the_event_index_is_passed(void **state)
{
    struct fixture *f = *state;

    f->vq.state.event_idx = 1;
    f->ring->avail->ring[SIZE] = htole16(2); /* tell me when entry 2 is used */
    push_one(f);
    assert_false(virtqueue_wants_interrupt(&f->vq));
    push_one(f);
    assert_false(virtqueue_wants_interrupt(&f->vq));
    push_one(f);
    assert_true(virtqueue_wants_interrupt(&f->vq));
    push_one(f);
    assert_false(virtqueue_wants_interrupt(&f->vq));
}

static void several_pushes_may_pass_the_event_index_together(void **state)
{
    struct fixture *f = *state;

    f->vq.state.event_idx = 1;
    f->ring->avail->ring[SIZE] = htole16(1);
    push_one(f);
    push_one(f);
    push_one(f);
    push_one(f);

    assert_true(virtqueue_wants_interrupt(&f->vq));
}

static void the_event_index_wraps_around(void **state)
{
    struct fixture *f = *state;

    f->vq.state.event_idx = 1;
    f->vq.state.next_avail = f->vq.state.next_used = f->vq.state.signalled_used = 65535;
    f->ring->added = f->ring->seen = 65535;
    f->ring->avail->ring[SIZE] = 0; /* entry 65536 */
    push_one(f);
    assert_false(virtqueue_wants_interrupt(&f->vq));
    push_one(f);
    assert_true(virtqueue_wants_interrupt(&f->vq));
}

static uint16_t asked_for(const struct fixture *f)
{
    return le16toh(*(const uint16_t *)&f->ring->used->ring[SIZE]);
}

static void asks_for_notifications_with_the_flag(void **state)
{
    struct fixture *f = *state;

    virtqueue_disable_notify(&f->vq);
    assert_int_equal(f->ring->used->flags, htole16(VRING_USED_F_NO_NOTIFY));
    assert_false(virtqueue_enable_notify(&f->vq));
    assert_int_equal(f->ring->used->flags, 0);
    assert_int_equal(asked_for(f), 0);
}

static void asks_for_notifications_with_the_event_index(void **state)
{
    struct fixture *f = *state;

    f->vq.state.event_idx = 1;
    push_one(f);
    push_one(f);
    virtqueue_disable_notify(&f->vq);
    assert_int_equal(f->ring->used->flags, 0);

    assert_false(virtqueue_enable_notify(&f->vq));
    assert_int_equal(asked_for(f), 2); /* chain 2, the third */
}

static void tells_of_chains_that_came_before_it_asked(void **state)
{
    struct fixture *f = *state;

    virtqueue_disable_notify(&f->vq);
    add_one(f, 1);

    assert_true(virtqueue_enable_notify(&f->vq));
    pop(f);
}

static void a_ring_that_broke_meanwhile_is_worth_a_pop(void **state)
{
    struct fixture *f = *state;

    f->ring->avail->idx = htole16(SIZE + 1);

    assert_true(virtqueue_enable_notify(&f->vq));
    assert_broken(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, driver_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(refuses_a_size_that_is_no_power_of_two),
        TEST(refuses_a_size_of_zero),
        TEST(refuses_a_size_above_its_offer),
        TEST(refuses_misaligned_rings),
        TEST(refuses_rings_that_leave_ram),
        TEST(takes_rings_that_end_with_ram),
        TEST(a_queue_that_did_not_start_has_nothing),
        TEST(reset_forgets_all_but_the_offer),
        TEST(an_empty_ring_gives_nothing),
        TEST(a_chain_comes_as_readable_then_writable_buffers),
        TEST(empty_buffers_are_skipped_wherever_they_point),
        TEST(a_chain_may_take_the_whole_ring),
        TEST(a_chain_that_loops_breaks_the_ring),
        TEST(a_loop_of_empty_buffers_ends),
        TEST(a_next_beyond_the_ring_breaks_it),
        TEST(a_head_beyond_the_ring_breaks_it),
        TEST(a_buffer_outside_ram_breaks_the_ring),
        TEST(readable_after_writable_breaks_the_ring),
        TEST(four_gib_in_one_chain_break_the_ring),
        TEST(too_many_buffers_break_the_ring),
        TEST(nothing_is_taken_from_a_broken_ring),
        TEST(an_indirect_table_is_a_chain),
        TEST(an_indirect_table_may_end_a_chain_and_lie_anywhere),
        TEST(whether_the_table_is_writable_does_not_matter),
        TEST(a_table_that_was_not_negotiated_breaks_the_ring),
        TEST(a_table_in_a_table_breaks_the_ring),
        TEST(more_descriptors_than_any_ring_has_break_it),
        TEST(a_table_with_a_successor_breaks_the_ring),
        TEST(a_table_of_a_wrong_size_or_place_breaks_the_ring),
        TEST(a_next_beyond_the_table_breaks_the_ring),
        TEST(more_chains_than_the_ring_has_break_it),
        TEST(an_index_that_went_back_breaks_the_ring),
        TEST(chains_in_flight_never_exceed_the_ring),
        TEST(indices_wrap_around),
        TEST(counts_what_is_available),
        TEST(what_is_put_back_comes_again),
        TEST(chains_are_given_back_in_any_order),
        TEST(wants_one_interrupt_for_what_was_pushed),
        TEST(the_flag_silences_interrupts),
        TEST(with_event_idx_the_flag_means_nothing),
        TEST(an_interrupt_comes_when_the_event_index_is_passed),
        TEST(several_pushes_may_pass_the_event_index_together),
        TEST(the_event_index_wraps_around),
        TEST(asks_for_notifications_with_the_flag),
        TEST(asks_for_notifications_with_the_event_index),
        TEST(tells_of_chains_that_came_before_it_asked),
        TEST(a_ring_that_broke_meanwhile_is_worth_a_pop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
