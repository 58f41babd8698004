// SPDX-License-Identifier: Apache-2.0
/* A hostile driver on one side of the network card, a hostile peer on the other.
 *
 * The input is a byte of choices, then steps: what the driver writes into its rings and its RAM,
 * what the peer sends through the stream back-end (or which frames a back-end with all offloads
 * and two pairs of queues gives), and what happens in between: notifications, resets, a save and a
 * load, the peer's end. Besides what the sanitizers find, frames that leave the card must be ones
 * that the kernel may be shown. */
#include <endian.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../unit/net_wire.h"
#include "host/loop.h"
#include "host/state.h"
#include "virtio/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RAM_SIZE = 1 << 20,
    RING_SIZE = 64,
    QUEUES_MAX = 5,
    QUEUE_SPACE = 0x1000, /* one queue's rings */
    DESC_AT = 0,
    AVAIL_AT = 0x800,
    USED_AT = 0xa00,
    STEPS_MAX = 100,
};

/* Bits of the first byte of the input. */
enum {
    CHOICE_STREAM = 1,
    CHOICE_NO_MERGE = 2,
    CHOICE_NO_OFFLOADS = 4,
    CHOICE_NO_MULTIQUEUE = 8,
    CHOICE_EVENT_IDX = 16,
    CHOICE_NO_CONTROL = 32,
    CHOICE_NO_TSO = 64,
};

struct machine {
    struct guest_mem *mem;
    uint8_t *ram;
    struct loop *loop;
    struct virtio_dev *vdev;
    struct net_backend *backend;
    struct wire wire;
    int peer; /* -1: the wire */
    unsigned choices, checked;
    uint16_t next_desc[QUEUES_MAX], added[QUEUES_MAX];
};

struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t take_u8(struct input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

static uint16_t take_u16(struct input *in)
{
    uint16_t low = take_u8(in);

    return (uint16_t)(low | take_u8(in) << 8);
}

static void check(bool claim)
{
    if (!claim)
        abort();
}

/* Handles what is ready, without waiting. */
static void run(struct machine *m)
{
    for (int turns = 0; turns < 3; turns++) {
        loop_stop(m->loop);
        check(loop_run(m->loop) == 0);
    }
}

static struct net_backend *make_backend(struct machine *m)
{
    struct net_backend *backend;
    const uint64_t all = UINT64_C(0x3b83); /* every offload of net.c */
    int ends[2];

    wire_init(&m->wire, all, 2);
    m->peer = -1;
    if (!(m->choices & CHOICE_STREAM))
        return &m->wire.base;
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    m->peer = ends[1];
    check(fcntl(m->peer, F_SETFL, O_NONBLOCK) == 0);
    check(net_stream_from_fd(ends[0], "fuzz", &backend) == 0);
    return backend;
}

static void build(struct machine *m)
{
    struct net_params params = { .name = "fuzz", .mac = { 2 }, .mtu = 1500 };

    check(guest_mem_create(GUEST_MEM_PRIVATE, &m->mem) == 0);
    check(guest_mem_add(m->mem, 0, RAM_SIZE) == 0);
    m->ram = guest_mem_at(m->mem, 0, RAM_SIZE);
    check(loop_create(&m->loop) == 0);
    params.mem = m->mem;
    params.loop = m->loop;
    params.backend = m->backend = make_backend(m);
    check(net_create(&params, &m->vdev) == 0);
}

static void demolish(struct machine *m)
{
    virtio_dev_destroy(m->vdev);
    if (m->backend != &m->wire.base)
        net_backend_destroy(m->backend);
    loop_destroy(m->loop);
    guest_mem_destroy(m->mem);
    if (m->peer >= 0)
        close(m->peer);
    wire_fini(&m->wire);
}

static uint64_t choose_features(const struct machine *m)
{
    const uint64_t tso = UINT64_C(0x3b80);
    uint64_t features = m->vdev->device_features;

    if (m->choices & CHOICE_NO_MERGE)
        features &= ~(UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF);
    if (m->choices & (CHOICE_NO_OFFLOADS | CHOICE_NO_TSO))
        features &= ~tso;
    if (m->choices & CHOICE_NO_OFFLOADS)
        features &= ~UINT64_C(3);
    if (m->choices & CHOICE_NO_MULTIQUEUE)
        features &= ~(UINT64_C(1) << VIRTIO_NET_F_MQ);
    if (m->choices & CHOICE_NO_CONTROL)
        features &= ~(UINT64_C(1) << VIRTIO_NET_F_CTRL_VQ);
    if (!(m->choices & CHOICE_EVENT_IDX))
        features &= ~(UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX);
    return features;
}

static void start(struct machine *m)
{
    struct virtio_dev *vdev = m->vdev;
    uint64_t features = choose_features(m);

    memset(m->ram, 0, QUEUES_MAX * QUEUE_SPACE);
    memset(m->next_desc, 0, sizeof(m->next_desc));
    memset(m->added, 0, sizeof(m->added));
    virtio_dev_write_status(vdev, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    virtio_dev_write_features(vdev, 0, (uint32_t)features);
    virtio_dev_write_features(vdev, 1, (uint32_t)(features >> 32));
    virtio_dev_write_status(vdev, vdev->state.status | VIRTIO_CONFIG_S_FEATURES_OK);
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        struct virtqueue *vq = virtio_dev_writable_queue(vdev, i);

        check(vq != NULL);
        vq->state.size = RING_SIZE;
        vq->state.desc = i * QUEUE_SPACE + DESC_AT;
        vq->state.avail = i * QUEUE_SPACE + AVAIL_AT;
        vq->state.used = i * QUEUE_SPACE + USED_AT;
        virtio_dev_enable_queue(vdev, i);
    }
    virtio_dev_write_status(vdev, vdev->state.status | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* --- the driver's steps --- */

static void publish(struct machine *m, unsigned queue, uint16_t head)
{
    struct vring_avail *avail = (void *)(m->ram + queue * QUEUE_SPACE + AVAIL_AT);

    avail->ring[m->added[queue]++ % RING_SIZE] = htole16(head);
    avail->idx = htole16(m->added[queue]);
}

/* Adds up to 16 buffers, in units of 16 bytes, as one chain. */
static void add_chain(struct machine *m, struct input *in)
{
    unsigned queue = take_u8(in) % m->vdev->queue_count;
    unsigned count = 1 + take_u8(in) % 16;
    struct vring_desc *ring = (void *)(m->ram + queue * QUEUE_SPACE + DESC_AT);
    uint16_t head = m->next_desc[queue];

    for (unsigned i = 0; i < count; i++) {
        struct vring_desc *desc = &ring[m->next_desc[queue]];

        m->next_desc[queue] = (uint16_t)((m->next_desc[queue] + 1) % RING_SIZE);
        desc->addr = htole64((uint64_t)take_u16(in) << 4);
        desc->len = htole32(take_u16(in));
        desc->flags = htole16((uint16_t)((take_u8(in) % 8) | (i < count - 1)));
        if (i == count - 1)
            desc->flags &= (uint16_t)~htole16(VRING_DESC_F_NEXT);
        desc->next = htole16(m->next_desc[queue]);
    }
    publish(m, queue, head);
}

/* Many receive buffers of one size, as a driver has them. */
static void add_buffers(struct machine *m, struct input *in)
{
    unsigned queue = take_u8(in) % m->vdev->queue_count & ~1u;
    unsigned count = take_u8(in) % RING_SIZE;
    uint32_t len = take_u16(in);
    struct vring_desc *ring = (void *)(m->ram + queue * QUEUE_SPACE + DESC_AT);

    for (unsigned i = 0; i < count; i++) {
        uint16_t index = m->next_desc[queue];

        m->next_desc[queue] = (uint16_t)((index + 1) % RING_SIZE);
        ring[index].addr = htole64(0x10000 + index * 0x800);
        ring[index].len = htole32(len);
        ring[index].flags = htole16(VRING_DESC_F_WRITE);
        publish(m, queue, index);
    }
}

/* A frame that is in order but for what the input does to its header. */
static void add_frame(struct machine *m, struct input *in)
{
    unsigned queue = (take_u8(in) % m->vdev->queue_count) | 1;
    struct virtio_net_hdr_v1 header = { 0 };
    uint8_t *bytes = (uint8_t *)&header;
    uint16_t index;
    struct vring_desc *desc;

    if (queue >= m->vdev->queue_count)
        return;
    index = m->next_desc[queue];
    desc = (void *)(m->ram + queue * QUEUE_SPACE + DESC_AT);
    for (size_t i = 0; i < sizeof(header); i++)
        bytes[i] = take_u8(in);
    memcpy(m->ram + 0x8000, &header, sizeof(header));
    desc[index].addr = htole64(0x8000);
    desc[index].len = htole32(take_u16(in));
    desc[index].flags = 0;
    m->next_desc[queue] = (uint16_t)((index + 1) % RING_SIZE);
    publish(m, queue, index);
}

static void write_ram(struct machine *m, struct input *in)
{
    uint32_t at = (uint32_t)take_u16(in) << 4;
    unsigned len = take_u8(in);

    for (unsigned i = 0; i < len && at + i < RAM_SIZE; i++)
        m->ram[at + i] = take_u8(in);
}

static void save_and_load(struct machine *m)
{
    struct state_writer saved = { .data = NULL };

    check(virtio_dev_save(m->vdev, &saved) == 0);
    struct state_reader reader = { saved.data, saved.len, 0 };
    int err = virtio_dev_load(m->vdev, &reader);

    /* A ring that the driver has spoiled may be refused; nothing else. */
    check(err == 0 || err == -EBADMSG);
    state_writer_fini(&saved);
}

/* --- the peer's steps --- */

static void peer_give(struct machine *m, struct input *in)
{
    uint8_t bytes[256];
    unsigned len = take_u8(in);

    for (unsigned i = 0; i < len; i++)
        bytes[i] = take_u8(in);
    if (m->peer >= 0) {
        (void)!send(m->peer, bytes, len, MSG_NOSIGNAL);
    } else if (m->wire.given < WIRE_FRAMES) {
        struct virtio_net_hdr_v1 header;

        memset(&header, 0xff, sizeof(header));
        wire_give(&m->wire, len % 2, &header, bytes, len);
    }
}

/* A whole frame of any length. */
static void peer_give_frame(struct machine *m, struct input *in)
{
    static uint8_t frame[4 + 0x10000];
    const struct virtio_net_hdr_v1 header = { 0 };
    uint32_t len = take_u16(in);
    unsigned pair = take_u8(in) % 2;

    if (m->peer >= 0) {
        frame[0] = frame[1] = 0;
        frame[2] = (uint8_t)(len >> 8);
        frame[3] = (uint8_t)len;
        (void)!send(m->peer, frame, 4 + len, MSG_NOSIGNAL);
    } else if (m->wire.given < WIRE_FRAMES) {
        wire_give(&m->wire, pair, &header, frame, len);
    }
}

static void peer_take(struct machine *m, struct input *in)
{
    static uint8_t bytes[0x40000];
    unsigned len = take_u16(in) * 4u;

    if (m->peer >= 0)
        (void)!recv(m->peer, bytes, len, 0);
    m->wire.full_after = take_u8(in);
    if (m->wire.full_after > 0 && m->peer < 0)
        m->wire.events.can_send(m->wire.events.ctx, len % 2);
}

static void peer_end(struct machine *m)
{
    if (m->peer >= 0)
        (void)shutdown(m->peer, SHUT_RDWR);
    else
        m->wire.events.link_lost(m->wire.events.ctx);
}

/* Frames that left the card. */
static void check_sent(struct machine *m)
{
    struct wire *wire = &m->wire;

    for (; m->checked < wire->sent && m->checked < WIRE_FRAMES; m->checked++) {
        const struct wire_frame *frame = &wire->from_card[m->checked];
        struct virtio_net_hdr_v1 header;

        check(frame->len >= sizeof(header) + NET_FRAME_MIN);
        check(frame->len <= sizeof(header) + NET_FRAME_MAX);
        memcpy(&header, frame->data, sizeof(header));
        size_t len = frame->len - sizeof(header);
        check(!(header.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM));
        if (header.flags)
            check((size_t)le16toh(header.csum_start) + le16toh(header.csum_offset) + 2 <= len);
        if (header.gso_type)
            check(header.flags && header.gso_size && le16toh(header.hdr_len) <= len);
    }
}

static void step(struct machine *m, struct input *in)
{
    switch (take_u8(in) % 16) {
    case 0:
    case 1:
        add_chain(m, in);
        break;
    case 2:
    case 3:
        add_buffers(m, in);
        break;
    case 4:
    case 5:
        add_frame(m, in);
        break;
    case 6:
        write_ram(m, in);
        break;
    case 7:
    case 8:
        virtio_dev_notify(m->vdev, take_u8(in) % m->vdev->queue_count);
        break;
    case 9:
        peer_give(m, in);
        break;
    case 10:
        peer_give_frame(m, in);
        break;
    case 11:
        peer_take(m, in);
        break;
    case 12:
        publish(m, take_u8(in) % m->vdev->queue_count, take_u8(in));
        break;
    case 13:
        save_and_load(m);
        break;
    case 14:
        virtio_dev_write_status(m->vdev, 0);
        m->choices = take_u8(in);
        start(m);
        break;
    default:
        if (take_u8(in) % 16 == 0)
            peer_end(m);
    }
    run(m);
    for (unsigned pair = 0; m->peer < 0 && pair < 2; pair++)
        wire_call(&m->wire, m->vdev, pair);
    check_sent(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machine m;
    struct input in = { data, size };

    memset(&m, 0, sizeof(m));
    m.choices = take_u8(&in);
    build(&m);
    start(&m);
    for (unsigned steps = 0; in.size > 0 && steps < STEPS_MAX; steps++)
        step(&m, &in);
    demolish(&m);
    return 0;
}
