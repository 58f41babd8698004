// SPDX-License-Identifier: Apache-2.0
/* A console of one port, which is hvc0, and the size of its terminal (virtio 1.2, 5.3); how bytes
 * go through its queues is console_port.c's. */
#include "virtio/console.h"

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
    RECEIVE_QUEUE = 0,
    TRANSMIT_QUEUE = 1,
    QUEUE_COUNT = 2,
    QUEUE_SIZE = 64,
};

enum { STATE_VERSION = 1 };

/* As it is saved. */
struct console_state {
    uint16_t columns, rows;
    uint32_t sent; /* bytes of the next output chain that are sent already */
};

struct console {
    struct virtio_dev vdev;
    struct console_port port;
    uint16_t columns, rows;
};

static struct console *from_vdev(struct virtio_dev *vdev)
{
    return container_of(vdev, struct console, vdev);
}

size_t console_receive(struct virtio_dev *vdev, const uint8_t *data, size_t len)
{
    return console_port_receive(&from_vdev(vdev)->port, data, len);
}

void console_transmit_ready(struct virtio_dev *vdev)
{
    console_port_transmit_ready(&from_vdev(vdev)->port);
}

static void console_queue_notify(struct virtio_dev *vdev, unsigned index)
{
    console_port_notify(&from_vdev(vdev)->port, index);
}

static void console_config_read(struct virtio_dev *vdev, uint32_t offset, void *data, uint32_t len)
{
    const struct console *console = from_vdev(vdev);
    const struct virtio_console_config config = {
        .cols = htole16(console->columns),
        .rows = htole16(console->rows),
    };

    memcpy(data, (const uint8_t *)&config + offset, len);
}

void console_resize(struct virtio_dev *vdev, uint16_t columns, uint16_t rows)
{
    struct console *console = from_vdev(vdev);

    if (console->columns == columns && console->rows == rows)
        return;
    console->columns = columns;
    console->rows = rows;
    virtio_dev_config_changed(vdev);
}

static void console_reset(struct virtio_dev *vdev)
{
    from_vdev(vdev)->port.sent = 0;
}

static int console_save(struct virtio_dev *vdev, struct state_writer *out)
{
    const struct console *console = from_vdev(vdev);
    const struct console_state state = { console->columns, console->rows, console->port.sent };

    return state_save(out, "console", STATE_VERSION, &state, sizeof(state));
}

static int console_load(struct virtio_dev *vdev, struct state_reader *in)
{
    struct console *console = from_vdev(vdev);
    struct console_state state;
    int err = state_load(in, "console", STATE_VERSION, &state, sizeof(state));

    if (err)
        return err;
    console->columns = state.columns;
    console->rows = state.rows;
    console->port.sent = state.sent;
    return 0;
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
    console->port = (struct console_port){
        .vdev = &console->vdev,
        .receive_queue = RECEIVE_QUEUE,
        .transmit_queue = TRANSMIT_QUEUE,
        .transmit = params->transmit,
        .receive_ready = params->receive_ready,
        .ctx = params->ctx,
    };

    int err = virtio_dev_init(&console->vdev, &common);

    if (err) {
        console_destroy(&console->vdev);
        return err;
    }
    *ret = &console->vdev;
    return 0;
}
