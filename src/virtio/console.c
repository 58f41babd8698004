// SPDX-License-Identifier: Apache-2.0
/* Two queues: the driver's empty buffers for input, its full ones with output (virtio 1.2, 5.3).
 *
 * Output is passed on in pieces. When the receiver is full in the middle of a chain, the chain
 * goes back into its queue, and how much of it was sent is remembered: so whatever waits, waits
 * in the guest's memory, and the guest's driver sees a full queue. Input waits with whoever has
 * it, until the driver has added buffers. */
#include "virtio/console.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "host/state.h"

enum {
    RECEIVE_QUEUE = 0,
    TRANSMIT_QUEUE = 1,
    QUEUE_COUNT = 2,
    QUEUE_SIZE = 64,
    CHAINS_MAX = 2 * QUEUE_SIZE, /* handled at a time, whatever is in them */
    BYTES_MAX = 64 * 1024,       /* sent at a time */
};

enum { STATE_VERSION = 1 };

struct console_state {
    uint16_t columns, rows;
    uint32_t sent; /* bytes of the next output chain that are sent already */
};

struct console {
    struct virtio_dev vdev;
    struct console_params params;
    struct console_state state;
    bool input_waits;    /* receive_ready() is owed */
    bool output_blocked; /* until console_transmit_ready() */
};

static struct console *from_vdev(struct virtio_dev *vdev)
{
    return container_of(vdev, struct console, vdev);
}

/* --- output --- */

/* Sends from byte @state.sent of the row on, at most *@budget bytes, which it counts down. */
static void transmit_row(struct console *console, struct iovec *iov, size_t count, size_t *budget)
{
    uint32_t *sent = &console->state.sent;

    count = iov_skip(&iov, count, *sent);
    while (count > 0 && *budget > 0 && !console->output_blocked) {
        size_t len = iov->iov_len;

        if (len > CONSOLE_PIECE_MAX)
            len = CONSOLE_PIECE_MAX;
        if (len > *budget)
            len = *budget;
        console->output_blocked =
            !console->params.transmit(console->params.ctx, iov->iov_base, len);
        *sent += (uint32_t)len;
        *budget -= len;
        count = iov_skip(&iov, count, len);
    }
}

/* Sends what is left of a chain. Returns whether that was all. */
static bool transmit_chain(struct console *console, struct virtqueue_chain *chain, size_t *budget)
{
    if (console->state.sent < chain->readable_bytes)
        transmit_row(console, virtqueue_readable(chain), chain->readable_count, budget);
    return console->state.sent >= chain->readable_bytes;
}

static void transmit_queue(struct console *console)
{
    struct virtio_dev *vdev = &console->vdev;
    struct virtqueue_chain chain;
    size_t budget = BYTES_MAX;
    unsigned chains = CHAINS_MAX;

    while (!console->output_blocked && budget > 0 && chains > 0 &&
           virtio_dev_pop(vdev, TRANSMIT_QUEUE, &chain)) {
        if (!transmit_chain(console, &chain, &budget)) {
            virtqueue_unpop(&vdev->queues[TRANSMIT_QUEUE]);
            break;
        }
        console->state.sent = 0;
        virtio_dev_push(vdev, TRANSMIT_QUEUE, chain.head, 0);
        chains--;
    }
    virtio_dev_flush_interrupt(vdev, TRANSMIT_QUEUE);
    if (!console->output_blocked && (budget == 0 || chains == 0))
        virtio_dev_notify(vdev, TRANSMIT_QUEUE); /* the rest when others had their turn */
}

void console_transmit_ready(struct virtio_dev *vdev)
{
    struct console *console = from_vdev(vdev);

    console->output_blocked = false;
    transmit_queue(console);
}

/* --- input --- */

size_t console_receive(struct virtio_dev *vdev, const uint8_t *data, size_t len)
{
    struct console *console = from_vdev(vdev);
    struct virtqueue_chain chain;
    unsigned chains = CHAINS_MAX;
    size_t done = 0;

    while (done < len && chains > 0 && virtio_dev_pop(vdev, RECEIVE_QUEUE, &chain)) {
        size_t count =
            iov_write(virtqueue_writable(&chain), chain.writable_count, 0, data + done, len - done);

        virtio_dev_push(vdev, RECEIVE_QUEUE, chain.head, (uint32_t)count);
        done += count;
        chains--;
    }
    virtio_dev_flush_interrupt(vdev, RECEIVE_QUEUE);
    console->input_waits = done < len;
    if (console->input_waits && chains == 0)
        virtio_dev_notify(vdev, RECEIVE_QUEUE); /* the driver's buffers have no room */
    return done;
}

static void console_queue_notify(struct virtio_dev *vdev, unsigned index)
{
    struct console *console = from_vdev(vdev);

    if (index == TRANSMIT_QUEUE) {
        transmit_queue(console);
    } else if (console->input_waits) {
        console->input_waits = false;
        if (console->params.receive_ready)
            console->params.receive_ready(console->params.ctx);
    }
}

/* --- the rest --- */

static void console_config_read(struct virtio_dev *vdev, uint32_t offset, void *data, uint32_t len)
{
    const struct console_state *state = &from_vdev(vdev)->state;
    const struct virtio_console_config config = {
        .cols = htole16(state->columns),
        .rows = htole16(state->rows),
    };

    memcpy(data, (const uint8_t *)&config + offset, len);
}

void console_resize(struct virtio_dev *vdev, uint16_t columns, uint16_t rows)
{
    struct console_state *state = &from_vdev(vdev)->state;

    if (state->columns == columns && state->rows == rows)
        return;
    state->columns = columns;
    state->rows = rows;
    virtio_dev_config_changed(vdev);
}

static void console_reset(struct virtio_dev *vdev)
{
    from_vdev(vdev)->state.sent = 0;
}

static int console_save(struct virtio_dev *vdev, struct state_writer *out)
{
    const struct console_state *state = &from_vdev(vdev)->state;

    return state_save(out, "console", STATE_VERSION, state, sizeof(*state));
}

static int console_load(struct virtio_dev *vdev, struct state_reader *in)
{
    struct console_state *state = &from_vdev(vdev)->state;

    return state_load(in, "console", STATE_VERSION, state, sizeof(*state));
}

static void console_destroy(struct virtio_dev *vdev)
{
    struct console *console = from_vdev(vdev);

    virtio_dev_fini(vdev);
    free(console);
}

static const struct virtio_dev_ops console_ops = {
    .config_read = console_config_read,
    .queue_notify = console_queue_notify,
    .reset = console_reset,
    .save = console_save,
    .load = console_load,
    .destroy = console_destroy,
};

int console_create(const struct console_params *params, struct virtio_dev **ret)
{
    const struct virtio_dev_params common = {
        .name = "console",
        .device_id = VIRTIO_ID_CONSOLE,
        .config_size = sizeof(struct virtio_console_config),
        .device_features = UINT64_C(1) << VIRTIO_CONSOLE_F_SIZE,
        .queue_count = QUEUE_COUNT,
        .queue_size = QUEUE_SIZE,
        .ops = &console_ops,
        .mem = params->mem,
        .loop = params->loop,
    };
    struct console *console = calloc(1, sizeof(*console));

    if (!console)
        return -ENOMEM;
    console->params = *params;

    int err = virtio_dev_init(&console->vdev, &common);

    if (err) {
        console_destroy(&console->vdev);
        return err;
    }
    *ret = &console->vdev;
    return 0;
}
