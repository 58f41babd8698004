// SPDX-License-Identifier: Apache-2.0
/* A driver's view of the entropy device. */
#include "lib/virtio.h"

static struct ring ring;
static struct virtio rng;
static uint8_t buffer[2][32];

static bool fill(uint8_t *to, uint32_t len)
{
    ring_set(&ring, 0, to, len, VRING_DESC_F_WRITE, 0);
    ring_offer(&ring, 0);
    virtio_notify(&rng, 0);
    return ring_wait(&ring);
}

void guest_main(const char *cmdline)
{
    (void)cmdline;
    if (!virtio_find(&rng, VIRTIO_ID_RNG, 0))
        give_up("there is an entropy device");
    check(virtio_bring_up(&rng, 0, &ring), "it comes up");
    check(fill(buffer[0], 32) && fill(buffer[1], 32), "it answers");
    check(ring.used.ring[1].len == 32, "it fills what it was given");
    check(memcmp(buffer[0], buffer[1], 32) != 0, "two answers differ");
    buffer[0][0] = buffer[0][1] = 0;
    check(fill(buffer[0], 1) && buffer[0][1] == 0, "one byte is one byte");
}
