// SPDX-License-Identifier: Apache-2.0
/* The driver's side of a virtio device, for tests: guest RAM without KVM, a loop, and rings that
 * an honest driver would build. A test that wants a dishonest one writes into the rings itself.
 *
 *   struct driver driver;
 *   driver_init(&driver);
 *   assert_int_equal(rng_create(driver.mem, driver.loop, &vdev), 0);
 *   driver_start(&driver, vdev, 0);                     // every queue, at its largest
 *   gpa_t page = driver_alloc(&driver, 4096);
 *   struct driver_buffer buffer = { page, 4096, true };
 *   driver_add(&driver.queues[0], &buffer, 1);
 *   driver_kick(&driver.queues[0]);
 *   driver_wait_used(&driver.queues[0], NULL, &len);
 *   driver_fini(&driver);                               // destroys the device first
 *
 * Included after cmocka.h. One thread, which also runs the loop; a test that lets another thread do
 * that says so (is_threaded), and takes the device's lock around what transports do. */
#pragma once

#include <endian.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "host/loop.h"
#include "mem/guest_mem.h"
#include "virtio/virtio_dev.h"

enum { DRIVER_RAM_SIZE = 32 << 20, DRIVER_PATIENCE_MS = 10000 };

struct driver;

struct driver_queue {
    struct driver *driver;
    unsigned index;
    uint16_t size;
    gpa_t desc_gpa, avail_gpa, used_gpa;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t added, seen; /* free-running: chains added, used entries taken */
    uint16_t free_count, free[VIRTQUEUE_MAX_SIZE];
};

struct driver {
    struct guest_mem *mem;
    struct loop *loop;
    struct loop_source *tick;
    struct virtio_dev *vdev;
    gpa_t next_free; /* RAM is only handed out, never taken back */
    struct driver_queue queues[VIRTIO_DEV_MAX_QUEUES];
    unsigned queue_interrupts[VIRTIO_DEV_MAX_QUEUES], config_interrupts;
    bool is_threaded; /* another thread runs the loop: interrupts do not stop it */
};

struct driver_buffer {
    gpa_t gpa;
    uint32_t len;
    bool writable;
};

/* --- the machine --- */

static inline void driver_stop_loop(void *ctx)
{
    struct driver *driver = ctx;

    loop_stop(driver->loop);
}

static inline void driver_init(struct driver *driver)
{
    memset(driver, 0, sizeof(*driver));
    driver->next_free = 0x1000; /* so that address 0 stays a mistake */
    assert_int_equal(guest_mem_create(GUEST_MEM_PRIVATE, &driver->mem), 0);
    assert_int_equal(guest_mem_add(driver->mem, 0, DRIVER_RAM_SIZE), 0);
    assert_int_equal(loop_create(&driver->loop), 0);
    assert_int_equal(loop_add_timer(driver->loop, NULL, driver_stop_loop, driver, &driver->tick),
                     0);
}

static inline void driver_fini(struct driver *driver)
{
    virtio_dev_destroy(driver->vdev);
    loop_destroy(driver->loop);
    guest_mem_destroy(driver->mem);
}

/* For cmocka's set-up of a test: makes a fixture of @size zeroed bytes, which begins with a struct
 * driver, and sets that up. */
static inline void *driver_setup(void **state, size_t size)
{
    *state = calloc(1, size);
    assert_non_null(*state);
    driver_init(*state);
    return *state;
}

static inline int driver_teardown(void **state)
{
    driver_fini(*state);
    free(*state);
    return 0;
}

/* @len bytes of zeroed guest RAM, aligned to 16. */
static inline gpa_t driver_alloc(struct driver *driver, size_t len)
{
    gpa_t gpa = driver->next_free;

    driver->next_free += (len + 15) / 16 * 16;
    assert_true(driver->next_free <= DRIVER_RAM_SIZE);
    return gpa;
}

/* The same, filled. */
static inline gpa_t driver_put(struct driver *driver, const void *data, size_t len)
{
    gpa_t gpa = driver_alloc(driver, len);

    assert_int_equal(guest_mem_write(driver->mem, gpa, data, len), 0);
    return gpa;
}

/* Guest RAM as the test sees it. */
static inline void *driver_at(struct driver *driver, gpa_t gpa, size_t len)
{
    void *host = guest_mem_at(driver->mem, gpa, len);

    assert_non_null(host);
    return host;
}

/* --- the device --- */

static inline void driver_note_queue_interrupt(void *ctx, unsigned queue)
{
    struct driver *driver = ctx;

    driver->queue_interrupts[queue]++;
    if (!driver->is_threaded)
        loop_stop(driver->loop);
}

static inline void driver_note_config_interrupt(void *ctx)
{
    struct driver *driver = ctx;

    driver->config_interrupts++;
    loop_stop(driver->loop);
}

/* Stands in for the transport of @vdev, and destroys it in the end. */
static inline void driver_attach(struct driver *driver, struct virtio_dev *vdev)
{
    driver->vdev = vdev;
    vdev->transport = (struct virtio_transport){ driver_note_queue_interrupt,
                                                 driver_note_config_interrupt, driver };
}

static inline void driver_add_status(struct driver *driver, uint8_t bits)
{
    virtio_dev_write_status(driver->vdev, virtio_dev_read_status(driver->vdev) | bits);
}

/* Up to FEATURES_OK. VIRTIO_F_VERSION_1 is added to @features. Returns whether the device agreed.
 */
static inline bool driver_negotiate(struct driver *driver, uint64_t features)
{
    features |= UINT64_C(1) << VIRTIO_F_VERSION_1;
    driver_add_status(driver, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    driver_add_status(driver, VIRTIO_CONFIG_S_DRIVER);
    virtio_dev_write_features(driver->vdev, 0, (uint32_t)features);
    virtio_dev_write_features(driver->vdev, 1, (uint32_t)(features >> 32));
    driver_add_status(driver, VIRTIO_CONFIG_S_FEATURES_OK);
    return virtio_dev_read_status(driver->vdev) & VIRTIO_CONFIG_S_FEATURES_OK;
}

/* Makes empty rings in RAM. */
static inline void driver_make_queue(struct driver *driver, unsigned index, uint16_t size)
{
    struct driver_queue *queue = &driver->queues[index];
    size_t desc_len = size * sizeof(struct vring_desc);
    size_t avail_len = sizeof(struct vring_avail) + (size + 1u) * 2;
    size_t used_len = sizeof(struct vring_used) + size * sizeof(struct vring_used_elem) + 2;

    memset(queue, 0, sizeof(*queue));
    queue->driver = driver;
    queue->index = index;
    queue->size = size;
    queue->desc_gpa = driver_alloc(driver, desc_len);
    queue->avail_gpa = driver_alloc(driver, avail_len);
    queue->used_gpa = driver_alloc(driver, used_len);
    queue->desc = driver_at(driver, queue->desc_gpa, desc_len);
    queue->avail = driver_at(driver, queue->avail_gpa, avail_len);
    queue->used = driver_at(driver, queue->used_gpa, used_len);
    queue->free_count = size;
    for (uint16_t i = 0; i < size; i++)
        queue->free[i] = (uint16_t)(size - 1 - i);
}

/* Tells the device where the rings are; it does not start them yet. */
static inline void driver_place_queue(struct driver_queue *queue)
{
    struct virtqueue *vq = virtio_dev_writable_queue(queue->driver->vdev, queue->index);

    assert_non_null(vq);
    vq->state.size = queue->size;
    vq->state.desc = queue->desc_gpa;
    vq->state.avail = queue->avail_gpa;
    vq->state.used = queue->used_gpa;
}

/* Sets a queue up; between driver_negotiate() and driver_go(). */
static inline void driver_setup_queue(struct driver *driver, unsigned index, uint16_t size)
{
    driver_make_queue(driver, index, size);
    driver_place_queue(&driver->queues[index]);
    virtio_dev_enable_queue(driver->vdev, index);
    assert_true(virtio_dev_queue(driver->vdev, index)->state.ready);
}

/* Says DRIVER_OK. */
static inline void driver_go(struct driver *driver)
{
    driver_add_status(driver, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* All of it: @vdev runs with @features and all its queues at their largest. */
static inline void driver_start(struct driver *driver, struct virtio_dev *vdev, uint64_t features)
{
    driver_attach(driver, vdev);
    assert_true(driver_negotiate(driver, features));
    for (unsigned i = 0; i < vdev->queue_count; i++)
        driver_setup_queue(driver, i, vdev->queues[i].state.max_size);
    driver_go(driver);
    assert_true(virtio_dev_is_running(vdev));
}

/* --- chains --- */

static inline void driver_write_desc(struct vring_desc *desc, const struct driver_buffer *buffer,
                                     bool is_last, uint16_t next)
{
    unsigned flags = (buffer->writable ? VRING_DESC_F_WRITE : 0u) | //
                     (is_last ? 0u : VRING_DESC_F_NEXT);

    desc->addr = htole64(buffer->gpa);
    desc->len = htole32(buffer->len);
    desc->flags = htole16((uint16_t)flags);
    desc->next = htole16(is_last ? 0 : next);
}

/* Shows the chain at @head to the device. */
static inline void driver_publish(struct driver_queue *queue, uint16_t head)
{
    queue->avail->ring[queue->added % queue->size] = htole16(head);
    queue->added++;
    __atomic_store_n(&queue->avail->idx, htole16(queue->added), __ATOMIC_SEQ_CST);
}

/* Adds a chain of @count buffers, and shows it. Returns its head. */
static inline uint16_t driver_add(struct driver_queue *queue, const struct driver_buffer *buffers,
                                  unsigned count)
{
    assert_true(count > 0 && count <= queue->free_count);

    const uint16_t *top = &queue->free[queue->free_count - 1];

    for (unsigned i = 0; i < count; i++)
        driver_write_desc(&queue->desc[top[-(int)i]], &buffers[i], i == count - 1,
                          i == count - 1 ? 0 : top[-(int)i - 1]);
    queue->free_count = (uint16_t)(queue->free_count - count);
    driver_publish(queue, *top);
    return *top;
}

/* The same through an indirect table; VIRTIO_RING_F_INDIRECT_DESC must be negotiated. */
static inline uint16_t driver_add_indirect(struct driver_queue *queue,
                                           const struct driver_buffer *buffers, unsigned count)
{
    uint32_t len = (uint32_t)(count * sizeof(struct vring_desc));
    gpa_t gpa = driver_alloc(queue->driver, len);
    struct vring_desc *table = driver_at(queue->driver, gpa, len);

    assert_true(queue->free_count > 0);
    for (unsigned i = 0; i < count; i++)
        driver_write_desc(&table[i], &buffers[i], i == count - 1, (uint16_t)(i + 1));

    uint16_t head = queue->free[--queue->free_count];

    queue->desc[head].addr = htole64(gpa);
    queue->desc[head].len = htole32(len);
    queue->desc[head].flags = htole16(VRING_DESC_F_INDIRECT);
    queue->desc[head].next = 0;
    driver_publish(queue, head);
    return head;
}

/* Whether the device asked for a notification of the chains after the first @before ones. */
static inline bool driver_shall_kick(const struct driver_queue *queue, uint16_t before)
{
    const struct virtqueue *vq = &queue->driver->vdev->queues[queue->index];
    const uint16_t *event = (const uint16_t *)&queue->used->ring[queue->size];

    if (vq->state.event_idx)
        return vring_need_event(le16toh(__atomic_load_n(event, __ATOMIC_SEQ_CST)), queue->added,
                                before);
    return !(le16toh(__atomic_load_n(&queue->used->flags, __ATOMIC_SEQ_CST)) &
             VRING_USED_F_NO_NOTIFY);
}

static inline void driver_kick(struct driver_queue *queue)
{
    virtio_dev_notify(queue->driver->vdev, queue->index);
}

static inline void driver_free_chain(struct driver_queue *queue, uint16_t head)
{
    uint16_t index = head;
    bool more = true;

    while (more) {
        assert_true(index < queue->size && queue->free_count < queue->size);
        queue->free[queue->free_count++] = index;
        more = le16toh(queue->desc[index].flags) & VRING_DESC_F_NEXT;
        index = le16toh(queue->desc[index].next);
    }
}

/* Takes the next used chain, if there is one, and asks for an interrupt for the one after it.
 * @head and @len may be NULL. */
static inline bool driver_take_used(struct driver_queue *queue, uint16_t *head, uint32_t *len)
{
    if (le16toh(__atomic_load_n(&queue->used->idx, __ATOMIC_SEQ_CST)) == queue->seen)
        return false;

    const struct vring_used_elem *elem = &queue->used->ring[queue->seen % queue->size];
    uint16_t id = (uint16_t)le32toh(elem->id);

    if (head)
        *head = id;
    if (len)
        *len = le32toh(elem->len);
    driver_free_chain(queue, id);
    queue->seen++;
    /* The last word is used_event. */
    __atomic_store_n(&queue->avail->ring[queue->size], htole16(queue->seen), __ATOMIC_SEQ_CST);
    return true;
}

/* --- time --- */

/* Runs the loop for @ms milliseconds, or until the device interrupts. */
static inline void driver_run(struct driver *driver, unsigned ms)
{
    assert_int_equal(loop_set_timer(driver->tick, (uint64_t)ms * 1000000), 0);
    assert_int_equal(loop_run(driver->loop), 0);
}

/* Runs the loop until everything that is ready now, and what follows from it at once, is done:
 * enough where no other thread and no device of the host is waited for. */
static inline void driver_settle(struct driver *driver)
{
    for (int turns = 0; turns < 64; turns++)
        driver_run(driver, 0);
}

/* Runs the loop until the next chain is used, and takes it. */
static inline void driver_wait_used(struct driver_queue *queue, uint16_t *head, uint32_t *len)
{
    for (int ms = 0; ms < DRIVER_PATIENCE_MS; ms++) {
        if (driver_take_used(queue, head, len))
            return;
        driver_run(queue->driver, 1);
    }
    fail_msg("nothing was used on queue %u", queue->index);
}
