// SPDX-License-Identifier: Apache-2.0
/* Two queues: the driver's empty buffers for input, its full ones with output (virtio 1.2, 5.3.6).
 *
 * Output is passed on in pieces. When the receiver is full in the middle of a chain, the chain
 * goes back into its queue, and how much of it was sent is remembered: so whatever waits, waits
 * in the guest's memory, and the guest's driver sees a full queue. Input waits with whoever has
 * it, until the driver has added buffers. */
#include "console_port.h"

enum {
    CHAINS_MAX = 128,      /* handled at a time, whatever is in them */
    BYTES_MAX = 64 * 1024, /* sent at a time */
};

/* --- output --- */

/* Sends from byte @sent of the row on, at most *@budget bytes, which it counts down. */
static void transmit_row(struct console_port *port, struct iovec *iov, size_t count, size_t *budget)
{
    count = iov_skip(&iov, count, port->sent);
    while (count > 0 && *budget > 0 && !port->output_blocked) {
        size_t len = iov->iov_len;

        if (len > CONSOLE_PIECE_MAX)
            len = CONSOLE_PIECE_MAX;
        if (len > *budget)
            len = *budget;
        port->output_blocked = !port->transmit(port->ctx, iov->iov_base, len);
        port->sent += (uint32_t)len;
        *budget -= len;
        count = iov_skip(&iov, count, len);
    }
}

/* Sends what is left of a chain. Returns whether that was all. */
static bool transmit_chain(struct console_port *port, struct virtqueue_chain *chain, size_t *budget)
{
    if (port->sent < chain->readable_bytes)
        transmit_row(port, virtqueue_readable(chain), chain->readable_count, budget);
    return port->sent >= chain->readable_bytes;
}

static void transmit_queue(struct console_port *port)
{
    struct virtio_dev *vdev = port->vdev;
    unsigned queue = port->transmit_queue;
    struct virtqueue_chain chain;
    size_t budget = BYTES_MAX;
    unsigned chains = CHAINS_MAX;

    while (!port->output_blocked && budget > 0 && chains > 0 &&
           virtio_dev_pop(vdev, queue, &chain)) {
        if (!transmit_chain(port, &chain, &budget)) {
            virtqueue_unpop(&vdev->queues[queue]);
            break;
        }
        port->sent = 0;
        virtio_dev_push(vdev, queue, chain.head, 0);
        chains--;
    }
    virtio_dev_flush_interrupt(vdev, queue);
    if (!port->output_blocked && (budget == 0 || chains == 0))
        virtio_dev_notify(vdev, queue); /* the rest when others had their turn */
}

void console_port_transmit_ready(struct console_port *port)
{
    port->output_blocked = false;
    transmit_queue(port);
}

/* --- input --- */

size_t console_port_receive(struct console_port *port, const uint8_t *data, size_t len)
{
    struct virtio_dev *vdev = port->vdev;
    unsigned queue = port->receive_queue;
    struct virtqueue_chain chain;
    unsigned chains = CHAINS_MAX;
    size_t done = 0;

    while (done < len && chains > 0 && virtio_dev_pop(vdev, queue, &chain)) {
        size_t count =
            iov_write(virtqueue_writable(&chain), chain.writable_count, 0, data + done, len - done);

        virtio_dev_push(vdev, queue, chain.head, (uint32_t)count);
        done += count;
        chains--;
    }
    virtio_dev_flush_interrupt(vdev, queue);
    port->input_waits = done < len;
    if (port->input_waits && chains == 0)
        virtio_dev_notify(vdev, queue); /* the driver's buffers have no room */
    return done;
}

void console_port_notify(struct console_port *port, unsigned queue)
{
    if (queue == port->transmit_queue) {
        transmit_queue(port);
    } else if (port->input_waits) {
        port->input_waits = false;
        if (port->receive_ready)
            port->receive_ready(port->ctx);
    }
}
