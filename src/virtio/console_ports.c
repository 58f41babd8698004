// SPDX-License-Identifier: Apache-2.0
/* Console ports: two queues for each port, and two for control messages (virtio 1.2, 5.3).
 *
 * Why these, and not vsock: both drivers are modules of every distribution's kernel, but a port
 * needs no addresses, connections or credits of its own (a full queue is the back-pressure), no
 * network namespace that the guest's programs could interfere with, and its stream is there as soon
 * as the driver is; what a stream lacks in half-closing, the protocol above it has in a frame.
 *
 * Messages to the driver are not queued: of each port it is noted which of them are due, and what
 * they say is what is true when the driver has a buffer for them. So there are at most three for
 * each port, whatever a driver sends that asks for answers. Messages of the driver are always taken
 * at once: Linux spins until they are. */
#include "virtio/console_ports.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "console_port.h"
#include "devices/device.h"
#include "host/state.h"

enum {
    CONTROL_RECEIVE_QUEUE = 2,
    CONTROL_TRANSMIT_QUEUE = 3,
    QUEUE_SIZE = 64,
    MESSAGES_MAX = 128, /* handled at a time */
    MESSAGE_SIZE_MAX = sizeof(struct virtio_console_control) + CONSOLE_PORT_NAME_MAX,
};

enum { STATE_VERSION = 1 };

/* Messages that are due, in the order in which they are sent. */
enum due { DUE_ADD = 1, DUE_NAME = 2, DUE_OPEN = 4, DUE_ALL = 7 };

/* What the guest can see of a port, and what is saved. */
struct port_state {
    uint32_t sent; /* bytes of the next output chain that are sent already */
    uint8_t due;   /* enum due */
    uint8_t is_ready, guest_open, host_open;
};

struct port {
    struct console_port queues;
    const char *name;
    void (*opened)(void *ctx, bool is_open);
    struct port_state state;
};

struct console_ports {
    struct virtio_dev vdev;
    unsigned port_count;
    struct port ports[CONSOLE_PORTS_MAX];
};

static struct console_ports *from_vdev(struct virtio_dev *vdev)
{
    return container_of(vdev, struct console_ports, vdev);
}

/* Queues 0 and 1 are the first port's, 2 and 3 for control, and so on (5.3.2). */
static unsigned first_queue(unsigned port)
{
    return port == 0 ? 0 : 2 + 2 * port;
}

static unsigned port_of_queue(unsigned queue)
{
    return queue < CONTROL_RECEIVE_QUEUE ? 0 : queue / 2 - 1;
}

/* --- control messages to the driver --- */

static size_t make_message(const struct console_ports *self, unsigned index, enum due due,
                           uint8_t *message)
{
    const struct port *port = &self->ports[index];
    struct virtio_console_control control = { .id = htole32(index), .value = htole16(1) };
    size_t name_len = 0;

    if (due == DUE_ADD) {
        control.event = htole16(VIRTIO_CONSOLE_PORT_ADD);
    } else if (due == DUE_NAME) {
        control.event = htole16(VIRTIO_CONSOLE_PORT_NAME);
        name_len = strlen(port->name);
    } else {
        control.event = htole16(VIRTIO_CONSOLE_PORT_OPEN);
        control.value = htole16(port->state.host_open);
    }
    memcpy(message, &control, sizeof(control));
    memcpy(message + sizeof(control), port->name, name_len);
    return sizeof(control) + name_len;
}

/* Sends one message, if the driver has a buffer; one that is too small gets what fits. */
static bool send_message(struct console_ports *self, unsigned index, enum due due)
{
    uint8_t message[MESSAGE_SIZE_MAX];
    struct virtqueue_chain chain;

    if (!virtio_dev_pop(&self->vdev, CONTROL_RECEIVE_QUEUE, &chain))
        return false;
    size_t len = make_message(self, index, due, message);
    len = iov_write(virtqueue_writable(&chain), chain.writable_count, 0, message, len);
    virtio_dev_push(&self->vdev, CONTROL_RECEIVE_QUEUE, chain.head, (uint32_t)len);
    return true;
}

static bool send_due_of(struct console_ports *self, unsigned index)
{
    struct port_state *state = &self->ports[index].state;

    for (unsigned due = DUE_ADD; due <= DUE_OPEN; due <<= 1) {
        if (!(state->due & due))
            continue;
        if (!send_message(self, index, (enum due)due))
            return false;
        state->due &= (uint8_t)~due;
    }
    return true;
}

static void send_due(struct console_ports *self)
{
    bool has_buffers = true;

    for (unsigned i = 0; has_buffers && i < self->port_count; i++)
        has_buffers = send_due_of(self, i);
    virtio_dev_flush_interrupt(&self->vdev, CONTROL_RECEIVE_QUEUE);
}

/* --- control messages of the driver --- */

static void set_guest_open(struct port *port, bool is_open)
{
    if (port->state.guest_open == is_open)
        return;
    port->state.guest_open = is_open;
    if (port->opened)
        port->opened(port->queues.ctx, is_open);
}

/* 5.3.6.2; what is out of place is ignored. */
static void take_message(struct console_ports *self, const struct virtio_console_control *control)
{
    uint16_t event = le16toh(control->event);
    uint32_t id = le32toh(control->id);
    bool value = le16toh(control->value) != 0;

    if (event == VIRTIO_CONSOLE_DEVICE_READY && value) {
        for (unsigned i = 0; i < self->port_count; i++)
            self->ports[i].state.due |= DUE_ADD;
    }
    if (id >= self->port_count)
        return;
    struct port *port = &self->ports[id];
    if (event == VIRTIO_CONSOLE_PORT_READY) {
        port->state.is_ready = value;
        if (value)
            port->state.due |= DUE_NAME | DUE_OPEN;
    } else if (event == VIRTIO_CONSOLE_PORT_OPEN && port->state.is_ready) {
        set_guest_open(port, value);
    }
}

static void take_messages(struct console_ports *self)
{
    struct virtio_dev *vdev = &self->vdev;
    struct virtqueue_chain chain;
    unsigned messages = MESSAGES_MAX;

    while (messages > 0 && virtio_dev_pop(vdev, CONTROL_TRANSMIT_QUEUE, &chain)) {
        struct virtio_console_control control;

        if (iov_read(virtqueue_readable(&chain), chain.readable_count, 0, &control,
                     sizeof(control)) == sizeof(control))
            take_message(self, &control);
        virtio_dev_push(vdev, CONTROL_TRANSMIT_QUEUE, chain.head, 0);
        messages--;
    }
    virtio_dev_flush_interrupt(vdev, CONTROL_TRANSMIT_QUEUE);
    if (messages == 0)
        virtio_dev_notify(vdev, CONTROL_TRANSMIT_QUEUE);
}

static void console_ports_queue_notify(struct virtio_dev *vdev, unsigned index)
{
    struct console_ports *self = from_vdev(vdev);

    if (index == CONTROL_TRANSMIT_QUEUE)
        take_messages(self);
    if (index == CONTROL_TRANSMIT_QUEUE || index == CONTROL_RECEIVE_QUEUE)
        send_due(self);
    else
        console_port_notify(&self->ports[port_of_queue(index)].queues, index);
}

/* --- the host's ends --- */

static struct port *port_at(struct virtio_dev *vdev, unsigned index)
{
    struct console_ports *self = from_vdev(vdev);

    assert(index < self->port_count);
    return &self->ports[index];
}

size_t console_ports_receive(struct virtio_dev *vdev, unsigned port, const uint8_t *data,
                             size_t len)
{
    return console_port_receive(&port_at(vdev, port)->queues, data, len);
}

void console_ports_transmit_ready(struct virtio_dev *vdev, unsigned port)
{
    console_port_transmit_ready(&port_at(vdev, port)->queues);
}

void console_ports_set_open(struct virtio_dev *vdev, unsigned port, bool is_open)
{
    struct port_state *state = &port_at(vdev, port)->state;

    if (state->host_open == is_open)
        return;
    state->host_open = is_open;
    if (state->is_ready) {
        state->due |= DUE_OPEN;
        send_due(from_vdev(vdev));
    }
}

/* --- the rest --- */

static void console_ports_config_read(struct virtio_dev *vdev, uint32_t offset, void *data,
                                      uint32_t len)
{
    const struct virtio_console_config config = {
        .max_nr_ports = htole32(from_vdev(vdev)->port_count),
    };

    memcpy(data, (const uint8_t *)&config + offset, len);
}

/* A driver without MULTIPORT would take port 0 for a console. */
static int console_ports_activate(struct virtio_dev *vdev)
{
    return virtio_dev_has_feature(vdev, VIRTIO_CONSOLE_F_MULTIPORT) ? 0 : -ENOTSUP;
}

static void console_ports_reset(struct virtio_dev *vdev)
{
    struct console_ports *self = from_vdev(vdev);

    for (unsigned i = 0; i < self->port_count; i++) {
        struct port *port = &self->ports[i];

        set_guest_open(port, false);
        port->queues.sent = 0;
        port->state.due = 0;
        port->state.is_ready = false;
    }
}

static int console_ports_save(struct virtio_dev *vdev, struct state_writer *out)
{
    struct console_ports *self = from_vdev(vdev);
    struct port_state states[CONSOLE_PORTS_MAX] = { 0 };

    for (unsigned i = 0; i < self->port_count; i++) {
        states[i] = self->ports[i].state;
        states[i].sent = self->ports[i].queues.sent;
    }
    return state_save(out, "console-ports", STATE_VERSION, states, sizeof(states));
}

static bool state_is_valid(const struct port_state *state)
{
    return state->due <= DUE_ALL && state->is_ready <= 1 && state->host_open <= 1 &&
           state->guest_open <= state->is_ready;
}

static int console_ports_load(struct virtio_dev *vdev, struct state_reader *in)
{
    struct console_ports *self = from_vdev(vdev);
    struct port_state states[CONSOLE_PORTS_MAX];
    int err = state_load(in, "console-ports", STATE_VERSION, states, sizeof(states));

    for (unsigned i = 0; !err && i < self->port_count; i++)
        err = state_is_valid(&states[i]) ? 0 : -EBADMSG;
    for (unsigned i = 0; !err && i < self->port_count; i++) {
        self->ports[i].state = states[i];
        self->ports[i].queues.sent = states[i].sent;
    }
    return err;
}

static void console_ports_destroy(struct virtio_dev *vdev)
{
    struct console_ports *self = from_vdev(vdev);

    virtio_dev_fini(vdev);
    free(self);
}

static const struct virtio_dev_ops console_ports_ops = {
    .config_read = console_ports_config_read,
    .activate = console_ports_activate,
    .queue_notify = console_ports_queue_notify,
    .reset = console_ports_reset,
    .save = console_ports_save,
    .load = console_ports_load,
    .destroy = console_ports_destroy,
};

static void init_port(struct console_ports *self, unsigned index,
                      const struct console_port_params *params)
{
    assert(strlen(params->name) <= CONSOLE_PORT_NAME_MAX);
    self->ports[index] = (struct port){
        .queues = { .vdev = &self->vdev,
                    .receive_queue = first_queue(index),
                    .transmit_queue = first_queue(index) + 1,
                    .transmit = params->transmit,
                    .receive_ready = params->receive_ready,
                    .ctx = params->ctx },
        .name = params->name,
        .opened = params->opened,
        .state = { .host_open = true },
    };
}

int console_ports_create(const struct console_ports_params *params, struct virtio_dev **ret)
{
    const struct virtio_dev_params common = {
        .name = "ports",
        .device_id = VIRTIO_ID_CONSOLE,
        .config_size = sizeof(struct virtio_console_config),
        .device_features = UINT64_C(1) << VIRTIO_CONSOLE_F_MULTIPORT,
        .queue_count = 2 + 2 * params->port_count,
        .queue_size = QUEUE_SIZE,
        .ops = &console_ports_ops,
        .mem = params->mem,
        .loop = params->loop,
    };
    struct console_ports *self = calloc(1, sizeof(*self));

    if (!self)
        return -ENOMEM;
    self->port_count = params->port_count;
    for (unsigned i = 0; i < params->port_count; i++)
        init_port(self, i, &params->ports[i]);

    int err = virtio_dev_init(&self->vdev, &common);

    if (err) {
        console_ports_destroy(&self->vdev);
        return err;
    }
    *ret = &self->vdev;
    return 0;
}
