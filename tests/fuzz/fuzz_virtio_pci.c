// SPDX-License-Identifier: Apache-2.0
/* Any row of accesses to a virtio function: its BAR, its configuration space, guest RAM, doorbells,
 * and turns of the loop, with a console, console ports or an entropy source behind it.
 *
 * The input is a byte that chooses the device, then steps: a byte for the operation, then as many
 * bytes as it needs. One of them changes bytes of the saved state and loads it again. Whatever
 * state comes out of all this must be one that can be saved, and loaded into a fresh device. */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#include "devices/bus.h"
#include "host/loop.h"
#include "host/state.h"
#include "virtio/console.h"
#include "virtio/console_ports.h"
#include "virtio/rng.h"
#include "virtio/transport.h"
#include "virtio/virtio_pci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RAM_SIZE = 64 * 1024,
    BAR_SIZE = 0x4000,
    ECAM = 0xe0000000,
    WINDOW = 0xc0000000,
    WINDOW_SIZE = 1 << 20,
    SLOT = 1,
    STEPS_MAX = 400,
};

/* Where start_device() puts the rings of queue N: N * RING_STRIDE plus these. */
enum { RING_SIZE = 16, RING_STRIDE = 0x1000, AVAIL_AT = 0x400, USED_AT = 0x800 };

enum operation {
    BAR_READ,
    BAR_WRITE,
    CONFIG_READ,
    CONFIG_WRITE,
    RAM_WRITE,
    TURN,
    NOTIFY,
    START,
    RECEIVE,
    TRANSMIT_READY,
    RESIZE,
    RESET,
    SPOIL,
    OPERATIONS
};

struct input {
    const uint8_t *data;
    size_t left;
};

struct world {
    struct guest_mem *mem;
    struct loop *loop;
    struct bus *memory_bus;
    struct pci_host *host;
    struct pci_function *fn;
    struct virtio_dev *vdev;
    bool is_console, has_ports;
    uint8_t busy; /* how often the receiver of output is full */
    unsigned transmitted;
    uint64_t connected; /* vectors */
    int doorbells;      /* connected, less disconnected */
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static uint64_t take64(struct input *input, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && input->left > 0; i++, input->left--)
        value |= (uint64_t)*input->data++ << (8 * i);
    return value;
}

/* At most 4 bytes. */
static uint32_t take(struct input *input, unsigned bytes)
{
    return (uint32_t)take64(input, bytes);
}

/* --- the machine around it --- */

static int connect_vector(void *ctx, unsigned vector, const struct msi_message *message)
{
    struct world *world = ctx;
    uint64_t bit = UINT64_C(1) << vector;

    require(vector <= world->vdev->queue_count);
    world->connected = message ? world->connected | bit : world->connected & ~bit;
    return 0;
}

static void raise_vector(void *ctx, unsigned vector)
{
    require(((struct world *)ctx)->connected >> vector & 1);
}

static int connect_doorbell(void *ctx, const struct doorbell *doorbell, int fd)
{
    (void)doorbell;
    require(fd >= 0);
    ((struct world *)ctx)->doorbells++;
    return 0;
}

static void disconnect_doorbell(void *ctx, const struct doorbell *doorbell, int fd)
{
    (void)doorbell;
    require(fd >= 0 && ((struct world *)ctx)->doorbells-- > 0);
}

static bool take_output(void *ctx, const uint8_t *data, size_t len)
{
    struct world *world = ctx;

    require(len > 0 && len <= CONSOLE_PIECE_MAX && data);
    return world->busy == 0 || ++world->transmitted % world->busy != 0;
}

static void make_ports(struct world *world)
{
    const struct console_port_params ports[] = {
        { .name = "one", .transmit = take_output, .ctx = world },
        { .name = "two", .transmit = take_output, .ctx = world },
    };
    const struct console_ports_params params = {
        .mem = world->mem, .loop = world->loop, .ports = ports, .port_count = 2
    };

    require(console_ports_create(&params, &world->vdev) == 0);
}

static void make_device(struct world *world)
{
    const struct console_params console = {
        .mem = world->mem, .loop = world->loop, .transmit = take_output, .ctx = world
    };
    struct virtio_pci_params params = {
        .msi = { connect_vector, raise_vector, world },
        .doorbells = { connect_doorbell, disconnect_doorbell, world },
    };
    const struct pci_host_params host = {
        .memory_bus = world->memory_bus,
        .ecam_base = ECAM,
        .window32_base = WINDOW,
        .window32_size = WINDOW_SIZE,
    };

    require(pci_host_create(&host, &world->host) == 0);
    if (world->is_console)
        require(console_create(&console, &world->vdev) == 0);
    else if (world->has_ports)
        make_ports(world);
    else
        require(rng_create(world->mem, world->loop, &world->vdev) == 0);
    params.vdev = world->vdev;
    require(virtio_pci_create(&params, &world->fn) == 0);
    require(pci_host_add(world->host, SLOT, world->fn) == 0);
}

static void drop_device(struct world *world)
{
    device_destroy(&world->fn->dev);
    pci_host_destroy(world->host);
    require(world->doorbells == 0 && world->connected == 0);
}

/* What is ready in the loop, once. */
static void turn(struct world *world)
{
    loop_stop(world->loop);
    require(loop_run(world->loop) == 0);
}

/* --- steps --- */

static void bar_access(struct world *world, uint32_t offset, unsigned size, bool is_write,
                       uint64_t value)
{
    struct device *dev = &world->fn->dev;

    if (is_write)
        dev->ops->write(dev, offset % BAR_SIZE, size, value);
    else
        (void)dev->ops->read(dev, offset % BAR_SIZE, size);
}

static void config_access(struct world *world, uint32_t offset, unsigned size, bool is_write,
                          uint32_t value)
{
    uint64_t address = ECAM + (SLOT << 15) + offset % PCI_CONFIG_SIZE, ignored;

    if (is_write)
        (void)bus_write(world->memory_bus, address, size, value);
    else
        (void)bus_read(world->memory_bus, address, size, &ignored);
}

static void set_common(struct world *world, unsigned offset, unsigned size, uint32_t value)
{
    bar_access(world, offset, size, true, value);
}

/* All that an honest driver does until its device runs; the rings' content is the fuzzer's. */
static void start_device(struct world *world, uint32_t features)
{
    const uint8_t settled =
        VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;

    config_access(world, PCI_COMMAND, 2, true, PCI_COMMAND_MEMORY);
    set_common(world, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    set_common(world, VIRTIO_PCI_COMMON_STATUS, 1, settled & ~VIRTIO_CONFIG_S_FEATURES_OK);
    set_common(world, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
    set_common(world, VIRTIO_PCI_COMMON_GF, 4,
               (features & (3U << VIRTIO_RING_F_INDIRECT_DESC)) |
                   (world->has_ports ? 1U << VIRTIO_CONSOLE_F_MULTIPORT : 0));
    set_common(world, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    set_common(world, VIRTIO_PCI_COMMON_GF, 4, 1 << (VIRTIO_F_VERSION_1 - 32));
    set_common(world, VIRTIO_PCI_COMMON_STATUS, 1, settled);
    for (unsigned i = 0; i < world->vdev->queue_count; i++) {
        set_common(world, VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
        set_common(world, VIRTIO_PCI_COMMON_Q_SIZE, 2, RING_SIZE);
        set_common(world, VIRTIO_PCI_COMMON_Q_DESCLO, 4, i * RING_STRIDE);
        set_common(world, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, i * RING_STRIDE + AVAIL_AT);
        set_common(world, VIRTIO_PCI_COMMON_Q_USEDLO, 4, i * RING_STRIDE + USED_AT);
        set_common(world, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    }
    set_common(world, VIRTIO_PCI_COMMON_STATUS, 1, settled | VIRTIO_CONFIG_S_DRIVER_OK);
}

static void write_ram(struct world *world, struct input *input)
{
    uint32_t at = take(input, 2), len = 1 + take(input, 1);

    for (uint32_t i = 0; i < len && input->left > 0; i++) {
        uint8_t byte = (uint8_t)take(input, 1);

        (void)guest_mem_write(world->mem, (at + i) % RAM_SIZE, &byte, 1);
    }
}

/* What only the console has. */
static void step_console(struct world *world, enum operation operation, struct input *input)
{
    uint8_t text[256] = { 0 };

    if (operation == RECEIVE)
        require(console_receive(world->vdev, text, 1 + take(input, 1)) <= sizeof(text));
    else if (operation == TRANSMIT_READY)
        console_transmit_ready(world->vdev);
    else
        console_resize(world->vdev, (uint16_t)take(input, 1), 25);
}

/* What only the ports have. */
static void step_ports(struct world *world, enum operation operation, struct input *input)
{
    uint8_t text[256] = { 0 };
    unsigned port = take(input, 1) % 2;

    if (operation == RECEIVE)
        require(console_ports_receive(world->vdev, port, text, 1 + take(input, 1)) <= sizeof(text));
    else if (operation == TRANSMIT_READY)
        console_ports_transmit_ready(world->vdev, port);
    else
        console_ports_set_open(world->vdev, port, take(input, 1) & 1);
}

/* A fresh device goes on with @saved. Returns what loading it says. */
static int load_afresh(struct world *world, const struct state_writer *saved)
{
    struct state_reader in = { saved->data, saved->len, 0 };

    drop_device(world);
    make_device(world);
    return world->fn->dev.ops->load(&world->fn->dev, &in);
}

static void spoil_state(struct world *world, struct input *input)
{
    struct state_writer saved = { 0 };

    require(world->fn->dev.ops->save(&world->fn->dev, &saved) == 0);
    for (uint32_t left = take(input, 1) % 4 + 1; left > 0; left--) {
        uint32_t at = take(input, 2);

        saved.data[at % saved.len] = (uint8_t)take(input, 1);
    }
    if (load_afresh(world, &saved))
        world->fn->dev.ops->reset(&world->fn->dev);
    state_writer_fini(&saved);
}

static void step(struct world *world, struct input *input)
{
    enum operation operation = take(input, 1) % OPERATIONS;
    bool is_write = operation == BAR_WRITE || operation == CONFIG_WRITE;
    uint32_t at;
    unsigned size;

    switch (operation) {
    case BAR_READ:
    case BAR_WRITE:
        at = take(input, 2);
        size = 1U << (at >> 14);
        bar_access(world, at, size, is_write, is_write ? take64(input, size) : 0);
        break;
    case CONFIG_READ:
    case CONFIG_WRITE:
        at = take(input, 2);
        size = 1U << (at >> 14);
        config_access(world, at, size, is_write, is_write ? take(input, 4) : 0);
        break;
    case RAM_WRITE:
        write_ram(world, input);
        break;
    case TURN:
        turn(world);
        break;
    case NOTIFY:
        virtio_dev_notify(world->vdev, take(input, 1));
        turn(world);
        break;
    case START:
        start_device(world, take(input, 1) << 24);
        break;
    case RESET:
        world->fn->dev.ops->reset(&world->fn->dev);
        break;
    case SPOIL:
        spoil_state(world, input);
        break;
    default:
        if (world->is_console)
            step_console(world, operation, input);
        else if (world->has_ports)
            step_ports(world, operation, input);
        break;
    }
}

/* --- one round --- */

static void check_saved_state(struct world *world)
{
    struct state_writer saved = { 0 };

    require(world->fn->dev.ops->save(&world->fn->dev, &saved) == 0);
    require(load_afresh(world, &saved) == 0);
    turn(world);
    state_writer_fini(&saved);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = { 0 };
    struct input input = { data, size };
    uint8_t choice = (uint8_t)take(&input, 1);

    world.is_console = choice & 1;
    world.has_ports = (choice & 3) == 2;
    world.busy = choice >> 5;
    require(guest_mem_create(GUEST_MEM_PRIVATE, &world.mem) == 0 &&
            guest_mem_add(world.mem, 0, RAM_SIZE) == 0 && loop_create(&world.loop) == 0 &&
            bus_create(&world.memory_bus) == 0);
    make_device(&world);
    for (unsigned i = 0; i < STEPS_MAX && input.left > 0; i++)
        step(&world, &input);
    check_saved_state(&world);
    drop_device(&world);
    bus_destroy(world.memory_bus);
    loop_destroy(world.loop);
    guest_mem_destroy(world.mem);
    return 0;
}
