// SPDX-License-Identifier: Apache-2.0
/* Plays the agent of a COMMAND, badly, in the way that `how=` on the command line says.
 *
 * It has the port's two queues only: what a driver and the host say about ports is not needed for
 * bytes to flow. */
#include <linux/virtio_console.h>

#include "lib/virtio.h"
#include "machine/agent_protocol.h"

enum {
    RECEIVE_QUEUE,
    TRANSMIT_QUEUE,
    BUFFERS = 8,
    BUFFER_SIZE = 4096,
    PORT_SLEEP_CONTROL = 0x600,
    SLEEP_S5 = 5 << 2 | 1 << 5,
};

static struct virtio port;
static struct ring input, output;
static uint8_t buffers[BUFFERS][BUFFER_SIZE];
static uint8_t frame[sizeof(struct agent_header) + AGENT_PAYLOAD_MAX + 1];

/* --- the port --- */

/* The console that has ports is the agent's. */
static bool find_port(void)
{
    for (unsigned i = 0; virtio_find(&port, VIRTIO_ID_CONSOLE, i); i++) {
        if (virtio_features(&port) & FEATURE(VIRTIO_CONSOLE_F_MULTIPORT))
            return true;
    }
    return false;
}

static void open_port(void)
{
    if (!find_port() || !virtio_negotiate(&port, FEATURE(VIRTIO_CONSOLE_F_MULTIPORT)))
        give_up("there is a port");
    virtio_set_queue(&port, RECEIVE_QUEUE, &input);
    virtio_set_queue(&port, TRANSMIT_QUEUE, &output);
    virtio_start(&port);
    for (uint16_t i = 0; i < BUFFERS; i++) {
        ring_set(&input, i, buffers[i], BUFFER_SIZE, VRING_DESC_F_WRITE, 0);
        ring_offer(&input, i);
    }
}

static void send_bytes(const void *data, size_t len)
{
    ring_set(&output, 0, data, (uint32_t)len, 0, 0);
    ring_offer(&output, 0);
    virtio_notify(&port, TRANSMIT_QUEUE);
    (void)ring_wait(&output);
}

/* Waits for the next frame, of which only the beginning is looked at. Returns its type, or 0. */
static unsigned receive(void)
{
    struct agent_header header;

    if (!ring_wait(&input))
        return 0;
    memcpy(&header, buffers[input.used.ring[(input.seen - 1) % RING_SIZE].id], sizeof(header));
    return header.type;
}

static void receive_until(enum agent_message type)
{
    for (unsigned got = 0; got != type;) {
        got = receive();
        if (!got)
            give_up("the host answers");
    }
}

/* --- what an agent says --- */

static void send(enum agent_message type, enum agent_stream stream, const void *data, size_t len)
{
    const struct agent_header header = { (uint32_t)len, (uint16_t)type, (uint16_t)stream };

    memcpy(frame, &header, sizeof(header));
    memcpy(frame + sizeof(header), data, len);
    send_bytes(frame, sizeof(header) + len);
}

static void say_hello(uint32_t version)
{
    const struct agent_hello hello = { .version = version };

    send(AGENT_HELLO, 0, &hello, sizeof(hello));
}

/* Hello, and what was asked for is running. */
static void start(void)
{
    say_hello(AGENT_VERSION);
    receive_until(AGENT_RUN);
    send(AGENT_STARTED, 0, NULL, 0);
}

static void end(uint32_t status)
{
    const struct agent_ended ended = { 0, status };

    send(AGENT_ENDED, 0, &ended, sizeof(ended));
}

/* --- and badly --- */

static void send_garbage(void)
{
    memset(frame, 0xff, sizeof(frame));
    for (;;)
        send_bytes(frame, sizeof(frame));
}

static void say_nothing(void)
{
}

static void say_half_of_hello(void)
{
    const struct agent_header header = { sizeof(struct agent_hello), AGENT_HELLO, 0 };

    send_bytes(&header, sizeof(header));
}

static void speak_another_version(void)
{
    say_hello(AGENT_VERSION + 1);
}

static void send_a_frame_that_is_too_long(void)
{
    say_hello(AGENT_VERSION);
    send(AGENT_EVENT, 0, frame, AGENT_PAYLOAD_MAX + 1);
}

static void start_without_a_job(void)
{
    send(AGENT_STARTED, 0, NULL, 0);
}

static void say_hello_again(void)
{
    start();
    say_hello(AGENT_VERSION);
}

static void end_twice(void)
{
    start();
    end(3);
    end(0);
}

static void end_as_nobody_does(void)
{
    start();
    end(300);
}

static void go_on_after_the_end_of_output(void)
{
    start();
    send(AGENT_OUTPUT_END, AGENT_STDOUT, NULL, 0);
    send(AGENT_OUTPUT, AGENT_STDOUT, "more", 4);
}

/* Whatever its credit is, and fast: half a MiB at a time, which is one frame again and again. */
static void flood(void)
{
    const struct agent_header header = { AGENT_PAYLOAD_MAX, AGENT_OUTPUT, AGENT_STDOUT };

    start();
    memcpy(frame, &header, sizeof(header));
    for (uint16_t i = 0; i < RING_SIZE; i++)
        ring_set(&output, i, frame, sizeof(header) + header.len,
                 i < RING_SIZE - 1 ? VRING_DESC_F_NEXT : 0, i + 1);
    for (;;) {
        ring_offer(&output, 0);
        virtio_notify(&port, TRANSMIT_QUEUE);
        (void)ring_wait(&output);
    }
}

static void flood_with_nothing(void)
{
    const uint32_t event = AGENT_EVENT_OOM;

    start();
    for (;;) {
        send(AGENT_OUTPUT, AGENT_STDOUT, NULL, 0);
        send(AGENT_EVENT, 0, &event, sizeof(event));
    }
}

static void go_on_after_the_end(void)
{
    start();
    end(4);
    for (;;)
        send(AGENT_OUTPUT, AGENT_STDOUT, "more", 4);
}

static void fail_with_keys_for_the_terminal(void)
{
    static const char text[] = "\7\0\0\0bad\33]0;title\7\33[2J\nhutch: fine";

    say_hello(AGENT_VERSION);
    send(AGENT_FAILED, 0, text, sizeof(text) - 1);
}

static void go_amid_output(void)
{
    start();
    send(AGENT_OUTPUT, AGENT_STDOUT, "half a", 6);
    out8(PORT_SLEEP_CONTROL, SLEEP_S5);
}

static const struct {
    const char *name;
    void (*act)(void);
} acts[] = {
    { "garbage", send_garbage },
    { "silence", say_nothing },
    { "half-a-hello", say_half_of_hello },
    { "another-version", speak_another_version },
    { "too-long", send_a_frame_that_is_too_long },
    { "no-job", start_without_a_job },
    { "hello-again", say_hello_again },
    { "two-ends", end_twice },
    { "no-such-end", end_as_nobody_does },
    { "more-than-the-end", go_on_after_the_end_of_output },
    { "flood", flood },
    { "flood-of-nothing", flood_with_nothing },
    { "flood-after-the-end", go_on_after_the_end },
    { "escapes", fail_with_keys_for_the_terminal },
    { "gone", go_amid_output },
};

void guest_main(const char *cmdline)
{
    char how[32];

    option(cmdline, "how", how, sizeof(how));
    open_port();
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        if (strcmp(how, acts[i].name) == 0)
            acts[i].act();
    }
    halt_for_ever();
}
