// SPDX-License-Identifier: Apache-2.0
/* virtio-rng (virtio 1.2, 5.4): the host's random numbers (getrandom) for the guest. */
#pragma once

#include "virtio/virtio_dev.h"

int rng_create(const struct guest_mem *mem, struct loop *loop, struct virtio_dev **ret);
