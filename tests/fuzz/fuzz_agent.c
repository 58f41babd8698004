// SPDX-License-Identifier: Apache-2.0
/* A hostile guest on the agent's port: any bytes, in pieces of any length, while our stdin has
 * something to say and the guest takes little or nothing. What is sent to it must be whole frames
 * in bounds, within the credit that it gave. */
#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/loop.h"
#include "machine/agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PIECES_MAX = 100, FRAME_MAX = sizeof(struct agent_header) + AGENT_PAYLOAD_MAX };

struct world {
    struct loop *loop;
    pthread_mutex_t guard;
    struct agent *agent;
    int input[2], null;
    size_t room; /* bytes that the guest takes, per turn */
    uint8_t frame[FRAME_MAX];
    size_t frame_len;
    bool was_over;
};

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_frame(struct world *world)
{
    struct agent_header header;

    if (world->frame_len < sizeof(header))
        return;
    memcpy(&header, world->frame, sizeof(header));
    require(le32toh(header.len) <= AGENT_PAYLOAD_MAX);
    require(le16toh(header.type) >= AGENT_JOB && le16toh(header.type) <= AGENT_RESIZE);
    if (world->frame_len == sizeof(header) + le32toh(header.len))
        world->frame_len = 0;
}

static size_t send_to_guest(void *ctx, const uint8_t *data, size_t len)
{
    struct world *world = ctx;

    if (len > world->room)
        len = world->room;
    world->room -= len;
    for (size_t i = 0; i < len; i++) {
        require(world->frame_len < sizeof(world->frame));
        world->frame[world->frame_len++] = data[i];
        check_frame(world);
    }
    return len;
}

static void note_change(void *ctx)
{
    struct world *world = ctx;

    require(!world->was_over);
    world->was_over = agent_result(world->agent)->end != AGENT_END_NONE;
}

static void ignore_failure(void *ctx, int err)
{
    (void)ctx;
    (void)err;
}

static void turn(struct world *world)
{
    loop_stop(world->loop);
    require(loop_run(world->loop) == 0);
}

static void check_result(const struct agent_result *result)
{
    require(strlen(result->text) <= AGENT_TEXT_MAX && strlen(result->release) <= AGENT_RELEASE_MAX);
    require(result->end != AGENT_END_EXIT || result->value <= 255);
    require(result->end != AGENT_END_SIGNAL || (result->value > 0 && result->value <= 64));
    require(result->end != AGENT_END_FAILED || result->value == 123 ||
            (result->value >= 125 && result->value <= 127));
    require(result->end != AGENT_END_BROKEN || result->text[0]);
    require(strlen(result->oops) <= AGENT_TEXT_MAX && strlen(result->oom) <= AGENT_TEXT_MAX);
}

static void step(struct world *world, const uint8_t **data, size_t *size)
{
    uint8_t piece[256];
    size_t len = **data;

    world->room = len * 64;
    *data += 1;
    *size -= 1;
    len = len < *size ? len : *size;
    memcpy(piece, *data, len);
    agent_receive(world->agent, piece, len);
    *data += len;
    *size -= len;
    if (len % 4 == 1)
        agent_send_ready(world->agent);
    if (len % 16 == 2)
        agent_signal(world->agent, (int)len % 70);
    if (len % 16 == 3)
        agent_resize(world->agent, 80, 25);
    turn(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = { .guard = PTHREAD_MUTEX_INITIALIZER };
    struct agent_job job = { 0 };

    agent_job_text(&job, AGENT_RECORD_ARG, "true");
    world.null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    require(world.null >= 0 && pipe2(world.input, O_CLOEXEC) == 0);
    require(write(world.input[1], data, size < 4096 ? size : 4096) >= 0);
    require(close(world.input[1]) == 0);
    require(loop_create(&world.loop) == 0);
    const struct agent_params params = { .loop = world.loop,
                                         .guard = &world.guard,
                                         .input_fd = world.input[0],
                                         .output_fd = world.null,
                                         .error_fd = world.null,
                                         .job = &job,
                                         .send = send_to_guest,
                                         .changed = note_change,
                                         .output_failed = ignore_failure,
                                         .ctx = &world };
    require(agent_create(&params, &world.agent) == 0);
    for (int i = 0; i < PIECES_MAX && size > 0; i++)
        step(&world, &data, &size);
    check_result(agent_result(world.agent));
    agent_destroy(world.agent);
    loop_destroy(world.loop);
    agent_job_fini(&job);
    close(world.input[0]);
    close(world.null);
    return 0;
}
