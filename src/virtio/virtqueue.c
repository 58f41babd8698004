// SPDX-License-Identifier: Apache-2.0
/* How this works: a split ring is three tables in guest RAM (virtio 1.2, 2.7).
 *
 *   descriptors  address, length, flags and next of each buffer; the driver's
 *   available    heads of chains for the device, and a free-running index; the driver's
 *   used         heads given back with a length, and a free-running index; ours
 *
 * Guest and host work on them at the same time without a lock. The index is what hands entries
 * over: it is read with acquire and written with release, so whoever sees it move also sees the
 * entries before it. Everything else of the driver's may change under our eyes, by malice: each
 * field is loaded exactly once into memory of ours and checked there.
 *
 * Suppressing notifications and interrupts needs more than that, because each side writes one
 * word and then reads the other's: we ask for a notification and then look whether a chain came
 * meanwhile, the driver adds a chain and then looks whether we asked. Both sides' writes must be
 * visible before their reads (2.7.7, 2.7.10), so these four accesses are sequentially consistent.
 * Not a fence: thread sanitizers do not understand those.
 *
 * All in the rings is little-endian. */
#include "virtio/virtqueue.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* The most descriptors looked at in one chain; one more than any honest one has, as an indirect
 * table hangs on a descriptor itself. */
#define CHAIN_MAX (VIRTQUEUE_MAX_SIZE + 1)

/* A table of descriptors that a chain goes through: the ring's, or an indirect one. */
struct table {
    const uint8_t *base; /* indirect ones need not be aligned */
    uint32_t entries;
    bool is_indirect;
};

static uint16_t ring_mask(const struct virtqueue *vq)
{
    return (uint16_t)(vq->state.size - 1);
}

static bool is_started(const struct virtqueue *vq)
{
    return vq->used_ring != NULL;
}

/* The last word of the used ring, with which we ask for a notification (2.7.10). */
static uint16_t *avail_event(struct virtqueue *vq)
{
    struct vring_used *used = vq->used_ring;

    return (uint16_t *)&used->ring[vq->state.size];
}

void virtqueue_init(struct virtqueue *vq, const struct guest_mem *mem, uint16_t max_size)
{
    assert(max_size > 0 && max_size <= VIRTQUEUE_MAX_SIZE && !(max_size & (max_size - 1)));
    memset(vq, 0, sizeof(*vq));
    vq->mem = mem;
    vq->state.max_size = max_size;
    vq->state.size = max_size;
}

void virtqueue_reset(struct virtqueue *vq)
{
    virtqueue_init(vq, vq->mem, vq->state.max_size);
}

static void *find_ring(const struct virtqueue *vq, gpa_t gpa, size_t len, size_t alignment)
{
    return gpa % alignment ? NULL : guest_mem_at(vq->mem, gpa, len);
}

static int find_rings(struct virtqueue *vq)
{
    const struct virtqueue_state *state = &vq->state;
    size_t size = state->size;

    if (size == 0 || size > state->max_size || (size & (size - 1)))
        return -EINVAL;

    /* Each of the latter two ends with the event word of the other side. */
    size_t avail_len = sizeof(struct vring_avail) + (size + 1) * sizeof(uint16_t);
    size_t used_len = sizeof(struct vring_used) + size * sizeof(vring_used_elem_t) + 2;
    void *desc =
        find_ring(vq, state->desc, size * sizeof(struct vring_desc), VRING_DESC_ALIGN_SIZE);
    void *avail = find_ring(vq, state->avail, avail_len, VRING_AVAIL_ALIGN_SIZE);
    void *used = find_ring(vq, state->used, used_len, VRING_USED_ALIGN_SIZE);

    if (!desc || !avail || !used)
        return -EINVAL;
    vq->desc_ring = desc;
    vq->avail_ring = avail;
    vq->used_ring = used;
    return 0;
}

int virtqueue_start(struct virtqueue *vq)
{
    int err = find_rings(vq);

    vq->broken = err != 0;
    return err;
}

/* How many chains there are to take, or -EPROTO if the index cannot be: the driver owns only what
 * we have given back, so what is available and what is in flight are never more than the ring has.
 * This is also what bounds the requests in flight, if the driver repeats its heads. */
static int count_available(struct virtqueue *vq)
{
    const struct virtqueue_state *state = &vq->state;
    const struct vring_avail *avail = vq->avail_ring;

    if (vq->broken)
        return -EPROTO;
    if (!is_started(vq))
        return 0;

    uint16_t index = le16toh(__atomic_load_n(&avail->idx, __ATOMIC_SEQ_CST));

    if ((uint16_t)(index - state->next_used) > state->size ||
        (uint16_t)(index - state->next_avail) > state->size) {
        vq->broken = true;
        return -EPROTO;
    }
    return (uint16_t)(index - state->next_avail);
}

uint16_t virtqueue_available(struct virtqueue *vq)
{
    int count = count_available(vq);

    return count > 0 ? (uint16_t)count : 0;
}

static void copy_descriptor(const struct table *table, uint32_t index, struct vring_desc *desc)
{
    struct vring_desc copy;

    memcpy(&copy, table->base + (size_t)index * sizeof(copy), sizeof(copy));
    /* From here on the compiler must use the copy: it may not load from the guest again. */
    __asm__ volatile("" : : "r"(&copy) : "memory");
    desc->addr = le64toh(copy.addr);
    desc->len = le32toh(copy.len);
    desc->flags = le16toh(copy.flags);
    desc->next = le16toh(copy.next);
}

/* Goes on in the table that @desc points to (2.7.5.3). It ends the chain, as it cannot have a next
 * descriptor; whether it says that it is writable does not matter. */
static int enter_indirect(const struct virtqueue *vq, const struct vring_desc *desc,
                          struct table *table)
{
    if (!vq->state.indirect || table->is_indirect || (desc->flags & VRING_DESC_F_NEXT))
        return -EPROTO;
    if (desc->len % sizeof(struct vring_desc))
        return -EPROTO;

    const uint8_t *base = guest_mem_at(vq->mem, desc->addr, desc->len);

    if (!base)
        return -EPROTO;
    *table = (struct table){ base, (uint32_t)(desc->len / sizeof(struct vring_desc)), true };
    return 0;
}

static int add_buffer(const struct virtqueue *vq, const struct vring_desc *desc,
                      struct virtqueue_chain *chain)
{
    bool writable = desc->flags & VRING_DESC_F_WRITE;
    unsigned count = chain->readable_count + chain->writable_count;
    uint64_t bytes = (uint64_t)chain->readable_bytes + chain->writable_bytes + desc->len;

    if (desc->len == 0)
        return 0;
    if (!writable && chain->writable_count > 0)
        return -EPROTO;
    if (count == VIRTQUEUE_MAX_SEGMENTS || bytes > UINT32_MAX)
        return -EPROTO;

    void *host = guest_mem_at(vq->mem, desc->addr, desc->len);

    if (!host)
        return -EPROTO;
    chain->segments[count] = (struct iovec){ host, desc->len };
    if (writable) {
        chain->writable_count++;
        chain->writable_bytes += desc->len;
    } else {
        chain->readable_count++;
        chain->readable_bytes += desc->len;
    }
    return 0;
}

/* Collects the buffers of the chain that starts at @head. */
static int read_chain(const struct virtqueue *vq, uint16_t head, struct virtqueue_chain *chain)
{
    struct table table = { vq->desc_ring, vq->state.size, false };
    uint32_t index = head;

    chain->head = head;
    chain->readable_count = chain->writable_count = 0;
    chain->readable_bytes = chain->writable_bytes = 0;
    for (unsigned seen = 0; seen < CHAIN_MAX; seen++) {
        struct vring_desc desc;
        int err;

        if (index >= table.entries)
            return -EPROTO;
        copy_descriptor(&table, index, &desc);
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            err = enter_indirect(vq, &desc, &table);
            index = 0;
        } else {
            err = add_buffer(vq, &desc, chain);
            if (!err && !(desc.flags & VRING_DESC_F_NEXT))
                return 0;
            index = desc.next;
        }
        if (err)
            return err;
    }
    return -EPROTO; /* it loops */
}

int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
    int count = count_available(vq);

    if (count <= 0)
        return count;

    const struct vring_avail *avail = vq->avail_ring;
    uint16_t slot = vq->state.next_avail & ring_mask(vq);
    uint16_t head = le16toh(__atomic_load_n(&avail->ring[slot], __ATOMIC_RELAXED));
    int err = read_chain(vq, head, chain);

    if (err) {
        vq->broken = true;
        return err;
    }
    vq->state.next_avail++;
    return 1;
}

void virtqueue_unpop(struct virtqueue *vq)
{
    vq->state.next_avail--;
}

void virtqueue_push_all(struct virtqueue *vq, const struct virtqueue_used *chains, size_t count)
{
    struct vring_used *used = vq->used_ring;

    if (!is_started(vq) || vq->broken)
        return;
    for (size_t i = 0; i < count; i++) {
        vring_used_elem_t *elem = &used->ring[vq->state.next_used & ring_mask(vq)];

        __atomic_store_n(&elem->id, htole32(chains[i].head), __ATOMIC_RELAXED);
        __atomic_store_n(&elem->len, htole32(chains[i].written), __ATOMIC_RELAXED);
        vq->state.next_used++;
    }
    __atomic_store_n(&used->idx, htole16(vq->state.next_used), __ATOMIC_RELEASE);
}

void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t written)
{
    const struct virtqueue_used chain = { head, written };

    virtqueue_push_all(vq, &chain, 1);
}

bool virtqueue_wants_interrupt(struct virtqueue *vq)
{
    struct virtqueue_state *state = &vq->state;
    const struct vring_avail *avail = vq->avail_ring;
    struct vring_used *used = vq->used_ring;
    uint16_t old = state->signalled_used;

    if (!is_started(vq) || vq->broken || old == state->next_used)
        return false;
    state->signalled_used = state->next_used;

    /* What virtqueue_push() released is stored once more, so that it precedes the load below in
     * the order that all sides agree on. */
    __atomic_store_n(&used->idx, htole16(state->next_used), __ATOMIC_SEQ_CST);
    if (!state->event_idx) {
        uint16_t flags = le16toh(__atomic_load_n(&avail->flags, __ATOMIC_SEQ_CST));

        return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
    }
    /* The driver's last word (2.7.7). */
    uint16_t event = le16toh(__atomic_load_n(&avail->ring[state->size], __ATOMIC_SEQ_CST));

    return vring_need_event(event, state->next_used, old);
}

bool virtqueue_enable_notify(struct virtqueue *vq)
{
    struct vring_used *used = vq->used_ring;

    if (!is_started(vq) || vq->broken)
        return false;
    if (vq->state.event_idx)
        __atomic_store_n(avail_event(vq), htole16(vq->state.next_avail), __ATOMIC_SEQ_CST);
    else
        __atomic_store_n(&used->flags, 0, __ATOMIC_SEQ_CST);
    return count_available(vq) != 0; /* a broken ring, too, is found out by popping */
}

void virtqueue_disable_notify(struct virtqueue *vq)
{
    struct vring_used *used = vq->used_ring;

    /* With EVENT_IDX the index that we asked for has passed, which is silence enough (2.7.10). */
    if (is_started(vq) && !vq->broken && !vq->state.event_idx)
        __atomic_store_n(&used->flags, htole16(VRING_USED_F_NO_NOTIFY), __ATOMIC_RELAXED);
}
