// SPDX-License-Identifier: Apache-2.0
/* Any bytes as rings, and a device that pops and pushes while the driver goes on writing.
 *
 * The input is a struct setup, then a row of struct step, then guest RAM from address 0 on.
 * Checked is what virtqueue.h promises: buffers lie inside RAM, their sums are right, no more
 * chains are in flight than the ring has, a broken ring gives nothing more, and nothing but the
 * used ring is written. */
#include "virtio/virtqueue.h"

#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM_SIZE = 64 * 1024, STEPS_MAX = 64 };

struct setup {
    uint8_t size_log2, features, step_count, padding;
    uint16_t desc, avail, used; /* in units of 16, 2 and 4 bytes */
    uint16_t start;             /* where the indices are */
};

enum operation { POP, UNPOP, PUSH, INTERRUPT, ENABLE, DISABLE, COUNT, WRITE, OPERATIONS };

struct step {
    uint8_t operation, value;
    uint16_t at; /* of WRITE, in units of 2 bytes; of PUSH, the length */
};

struct world {
    struct guest_mem *mem;
    uint8_t *ram;
    struct virtqueue vq;
    struct virtqueue_chain chain;
    uint16_t in_flight[VIRTQUEUE_MAX_SIZE];
    unsigned count;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static uint32_t check_row(const struct world *world, const struct iovec *iov, unsigned count)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < count; i++) {
        size_t offset = (size_t)((uint8_t *)iov[i].iov_base - world->ram);

        require(iov[i].iov_len > 0 && offset < RAM_SIZE && iov[i].iov_len <= RAM_SIZE - offset);
        sum += iov[i].iov_len;
    }
    require(sum <= UINT32_MAX);
    return (uint32_t)sum;
}

static void pop(struct world *world)
{
    struct virtqueue_chain *chain = &world->chain;
    bool was_broken = world->vq.broken;
    int found = virtqueue_pop(&world->vq, chain);

    if (found <= 0) {
        require(found == 0 || world->vq.broken);
        return;
    }
    require(!was_broken && chain->head < world->vq.state.size);
    require(chain->readable_count + chain->writable_count <= VIRTQUEUE_MAX_SEGMENTS);
    require(check_row(world, virtqueue_readable(chain), chain->readable_count) ==
            chain->readable_bytes);
    require(check_row(world, virtqueue_writable(chain), chain->writable_count) ==
            chain->writable_bytes);
    require(world->count < world->vq.state.size);
    world->in_flight[world->count++] = chain->head;
}

static void push(struct world *world, uint8_t which, uint16_t len)
{
    if (world->count == 0)
        return;

    uint16_t *slot = &world->in_flight[which % world->count];
    uint16_t head = *slot;

    *slot = world->in_flight[--world->count];
    virtqueue_push(&world->vq, head, len);
}

static void take_step(struct world *world, const struct step *step)
{
    struct virtqueue *vq = &world->vq;

    switch (step->operation % OPERATIONS) {
    case POP:
        pop(world);
        break;
    case UNPOP:
        if (world->count > 0) {
            world->count--;
            virtqueue_unpop(vq);
        }
        break;
    case PUSH:
        push(world, step->value, step->at);
        break;
    case INTERRUPT:
        (void)virtqueue_wants_interrupt(vq);
        require(!virtqueue_wants_interrupt(vq)); /* nothing was pushed in between */
        break;
    case ENABLE:
        (void)virtqueue_enable_notify(vq);
        break;
    case DISABLE:
        virtqueue_disable_notify(vq);
        break;
    case COUNT:
        require(virtqueue_available(vq) <= vq->state.size);
        break;
    default:
        world->ram[step->at * 2 % RAM_SIZE] = step->value;
        break;
    }
}

/* Nothing outside of the used ring may have changed but by WRITE steps, which are repeated. */
static void check_ram(const struct world *world, const uint8_t *before)
{
    const struct virtqueue_state *state = &world->vq.state;
    size_t len = sizeof(struct vring_used) + state->size * sizeof(struct vring_used_elem) + 2;

    require(memcmp(world->ram, before, state->used) == 0);
    require(memcmp(world->ram + state->used + len, before + state->used + len,
                   RAM_SIZE - state->used - len) == 0);
}

static void run(struct world *world, const struct step *steps, unsigned count, uint8_t *before)
{
    for (unsigned i = 0; i < count; i++) {
        struct step step;

        memcpy(&step, &steps[i], sizeof(step));
        take_step(world, &step);
        if (step.operation % OPERATIONS >= WRITE)
            before[step.at * 2 % RAM_SIZE] = step.value;
    }
    check_ram(world, before);
}

static struct world *make_world(void)
{
    struct world *world = calloc(1, sizeof(*world));

    require(world && guest_mem_create(GUEST_MEM_PRIVATE, &world->mem) == 0 &&
            guest_mem_add(world->mem, 0, RAM_SIZE) == 0);
    world->ram = guest_mem_at(world->mem, 0, RAM_SIZE);
    return world;
}

static bool start(struct world *world, const struct setup *setup)
{
    struct virtqueue_state *state = &world->vq.state;

    virtqueue_init(&world->vq, world->mem, VIRTQUEUE_MAX_SIZE);
    world->count = 0;
    state->size = (uint16_t)(1U << (setup->size_log2 % 16));
    state->event_idx = setup->features & 1;
    state->indirect = setup->features >> 1 & 1;
    state->desc = setup->desc * 16ULL;
    state->avail = setup->avail * 2ULL;
    state->used = setup->used * 4ULL;
    state->next_avail = state->next_used = state->signalled_used = setup->start;
    return virtqueue_start(&world->vq) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world *world;
    static uint8_t before[RAM_SIZE];
    struct setup setup;
    struct step steps[STEPS_MAX];

    if (size < sizeof(setup))
        return 0;
    memcpy(&setup, data, sizeof(setup));
    data += sizeof(setup);
    size -= sizeof(setup);

    size_t steps_len = setup.step_count % (STEPS_MAX + 1) * sizeof(steps[0]);

    if (size < steps_len)
        return 0;
    memcpy(steps, data, steps_len);
    data += steps_len;
    size = size - steps_len < RAM_SIZE ? size - steps_len : RAM_SIZE;

    if (!world)
        world = make_world();
    memset(world->ram, 0, RAM_SIZE);
    memcpy(world->ram, data, size);
    memcpy(before, world->ram, RAM_SIZE);
    if (start(world, &setup))
        run(world, steps, (unsigned)(steps_len / sizeof(steps[0])), before);
    return 0;
}
