// SPDX-License-Identifier: Apache-2.0
/* A queue's doorbell leads to the eventfd that wakes the device for it. */
#include "doorbells.h"

static struct doorbell queue_doorbell(const struct doorbells *doorbells, unsigned queue)
{
    if (doorbells->stride == 0)
        return (struct doorbell){ doorbells->address, sizeof(uint32_t), true, queue };
    return (struct doorbell){ .address = doorbells->address + (uint64_t)queue * doorbells->stride };
}

void doorbells_connect(struct doorbells *doorbells, const struct virtio_dev *vdev)
{
    const struct doorbell_port *port = &doorbells->port;

    if (!port->connect || !virtio_dev_is_running(vdev))
        return;
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        struct doorbell doorbell = queue_doorbell(doorbells, i);
        uint64_t bit = UINT64_C(1) << i;

        if (vdev->queues[i].state.ready && !(doorbells->connected & bit) &&
            !port->connect(port->ctx, &doorbell, vdev->notifiers[i].fd))
            doorbells->connected |= bit;
    }
}

void doorbells_disconnect(struct doorbells *doorbells, const struct virtio_dev *vdev)
{
    const struct doorbell_port *port = &doorbells->port;

    for (unsigned i = 0; i < vdev->queue_count; i++) {
        struct doorbell doorbell = queue_doorbell(doorbells, i);

        if (doorbells->connected & (UINT64_C(1) << i))
            port->disconnect(port->ctx, &doorbell, vdev->notifiers[i].fd);
    }
    doorbells->connected = 0;
}
