// SPDX-License-Identifier: Apache-2.0
/* The doorbells of a device's queues, as both transports have them. */
#pragma once

#include <stdint.h>

#include "devices/irq.h"
#include "virtio/virtio_dev.h"

struct doorbells {
    struct doorbell_port port; /* zeroed: every notification is an exit */
    uint64_t address;          /* of queue 0; the others follow every @stride bytes */
    unsigned stride;           /* 0: they share it, and 32-bit values tell them apart */
    uint64_t connected;        /* the queues whose doorbells the port knows, a bit each */
};

/* Connects the doorbells of the queues in use, if the device runs; those that cannot be connected
 * are tried again next time. Placing a BAR and probing thus cost no system call. */
void doorbells_connect(struct doorbells *doorbells, const struct virtio_dev *vdev);
/* Disconnects them; to be called before @address changes, and before the device goes. */
void doorbells_disconnect(struct doorbells *doorbells, const struct virtio_dev *vdev);
