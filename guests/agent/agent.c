// SPDX-License-Identifier: Apache-2.0
/* The agent in the guest: PID 1, which runs one command for the host and powers off.
 *
 * It is freestanding, without a C library: the one that Debian's gcc links statically is three
 * times as large as the whole agent may be, and one way of building it is one to test, for both
 * architectures. For tests it runs as any process, too: if it is not PID 1, file descriptor 3 is
 * the port, and the machine is left alone.
 *
 * One loop, in which nothing waits but poll(). What goes to the host lies in @out until the port
 * takes it. A stream of the command is read when the host gave credit and @out has room for a
 * frame, beyond a reserve that is for messages alone; input from the host is bounded by the credit
 * that we gave. So a host that is slow stops the command at its next write, and nothing else.
 *
 * The order of the end: the command is reaped; what is in its pipes then is read, and no more, as
 * what it left behind in the background may hold them open, and write, for ever; then OUTPUT_END of
 * each, and, when all files are written, ENDED: then the host ends us. */
#include <asm/errno.h>
#include <asm/ioctls.h>
#include <linux/fcntl.h>

#include "conversation.h"

enum {
    TEST_PORT = 3,
    READS_MAX = 16,       /* of the port, before others have their turn */
    LAST_READS_MAX = 256, /* of the kernel's log, which others may fill for ever */
    GONE_PAUSE_MS = 10,   /* between looks at a port that nobody has open on the host */
    SIGCHLD_NUMBER = 17,
    SIGPIPE_NUMBER = 13,
    SIGNALS_MAX = 64,
    WNOHANG_FLAG = 1,
};

struct window_size { /* as TIOCSWINSZ takes it */
    uint16_t rows, columns, x, y;
};

/* --- to the host --- */

static void send_hello(struct agent *agent)
{
    const long boottime = 7;
    const struct agent_hello hello = { AGENT_VERSION, 0, sys_clock_ns(boottime) };
    char release[AGENT_RELEASE_MAX + 1] = "";
    long len = read_text("/proc/sys/kernel/osrelease", release, sizeof(release));

    out_send_parts(agent, AGENT_HELLO, 0, &hello, sizeof(hello), release,
                   len > 0 ? (size_t)len : 0);
}

static void send_failure(struct agent *agent, const struct failure *failure)
{
    const struct agent_failed failed = { failure->status };

    out_send_parts(agent, AGENT_FAILED, 0, &failed, sizeof(failed), failure->text,
                   strlen(failure->text));
    agent->phase = PHASE_ENDED;
}

/* --- the kernel's log --- */

/* Left out if there is no room: see machine/agent_protocol.h. */
static void send_event(void *ctx, enum agent_event event, const char *text, size_t len)
{
    struct agent *agent = ctx;
    const uint32_t kind = event;

    if (len > AGENT_TEXT_MAX)
        len = AGENT_TEXT_MAX;
    if (out_room(agent) >= OUT_RESERVE / 2) /* the other half is for the rest of the messages */
        out_send_parts(agent, AGENT_EVENT, 0, &kind, sizeof(kind), text, len);
}

/* --- the command --- */

static void set_clock(const struct agent *agent, const uint8_t *data)
{
    struct agent_run run;

    memcpy(&run, data, sizeof(run));
    if (agent->is_init)
        sys_set_time_ns(run.time_ns);
}

static void run_job(struct agent *agent)
{
    struct failure failure = { 0, "" };

    if (!job_prepare(&agent->job, &failure) ||
        !command_start(&agent->command, &agent->job, &failure)) {
        send_failure(agent, &failure);
        return;
    }
    agent->outputs[AGENT_STDOUT].fd = &agent->command.output;
    agent->outputs[AGENT_STDERR].fd = &agent->command.errors;
    agent->outputs[AGENT_STDERR].has_ended = agent->job.has_tty;
    agent->phase = PHASE_RUNNING;
    out_send(agent, AGENT_STARTED, NULL, 0);
    input_give_credit(agent);
}

static void signal_command(const struct agent *agent, int number)
{
    if (agent->phase == PHASE_RUNNING && !agent->is_reaped && number > 0 && number <= SIGNALS_MAX)
        (void)SYS(kill, -agent->command.pid, number);
}

static void resize(const struct agent *agent, const struct agent_window *window)
{
    const struct window_size size = { window->rows, window->columns, 0, 0 };

    if (agent->phase == PHASE_RUNNING && agent->job.has_tty)
        (void)SYS(ioctl, agent->command.output, TIOCSWINSZ, &size);
}

/* Everybody's children come to PID 1 in the end. */
static void reap(struct agent *agent)
{
    uint8_t ignored[128];
    int32_t status = 0;
    long pid;

    (void)SYS(read, agent->signals, ignored, sizeof(ignored));
    while ((pid = SYS(wait4, -1, &status, WNOHANG_FLAG, NULL)) > 0) {
        if (pid != agent->command.pid)
            continue;
        agent->is_reaped = true;
        agent->wait_status = (uint32_t)status;
        outputs_count_left(agent);
        sys_close(&agent->command.input);
    }
}

static void send_ended(struct agent *agent)
{
    uint32_t status = agent->wait_status;
    const struct agent_ended ended = { status & 0x7f, status >> 8 & 0xff };

    if (agent->phase != PHASE_RUNNING || !agent->is_reaped ||
        !agent->outputs[AGENT_STDOUT].has_ended || !agent->outputs[AGENT_STDERR].has_ended)
        return;
    if (agent->is_init)
        (void)SYS(sync, 0);
    /* A fault of the kernel's that the command caused counts, though we had no CPU until now. */
    for (int i = 0; i < LAST_READS_MAX && kernel_log_read(agent->log, send_event, agent); i++)
        ;
    out_send(agent, AGENT_ENDED, &ended, sizeof(ended));
    agent->phase = PHASE_ENDED;
}

/* --- from the host --- */

static uint32_t number_of(const uint8_t *data)
{
    uint32_t number;

    memcpy(&number, data, sizeof(number));
    return number;
}

/* Whether a frame is one that the host may send now. */
static bool is_in_turn(const struct agent *agent, const struct agent_header *header)
{
    switch (header->type) {
    case AGENT_JOB:
        return agent->phase == PHASE_JOB;
    case AGENT_RUN:
        return agent->phase == PHASE_JOB && header->len == sizeof(struct agent_run);
    case AGENT_INPUT_END:
        return header->len == 0 && agent->phase != PHASE_JOB;
    case AGENT_INPUT:
        return true;
    case AGENT_OUTPUT_CREDIT:
        return header->len == 4 &&
               (header->stream == AGENT_STDOUT || header->stream == AGENT_STDERR);
    case AGENT_OUTPUT_CLOSED:
        return header->len == 0 && agent->phase != PHASE_JOB &&
               (header->stream == AGENT_STDOUT || header->stream == AGENT_STDERR);
    case AGENT_SIGNAL:
    case AGENT_RESIZE:
        return header->len == 4;
    default:
        return false;
    }
}

/* Returns false if the frame makes no sense. */
static bool take_frame(struct agent *agent, const struct agent_header *header, const uint8_t *data)
{
    struct agent_window window;

    if (!is_in_turn(agent, header))
        return false;
    switch (header->type) {
    case AGENT_JOB:
        return job_add(&agent->job, data, header->len);
    case AGENT_RUN:
        set_clock(agent, data);
        run_job(agent);
        break;
    case AGENT_INPUT:
        return input_take(agent, data, header->len);
    case AGENT_INPUT_END:
        input_end(agent);
        break;
    case AGENT_OUTPUT_CREDIT:
        agent->outputs[header->stream].credit += number_of(data);
        break;
    case AGENT_OUTPUT_CLOSED:
        if (agent->outputs[header->stream].fd && !agent->outputs[header->stream].has_ended)
            output_end(agent, &agent->outputs[header->stream]);
        break;
    case AGENT_SIGNAL:
        signal_command(agent, (int)number_of(data));
        break;
    default: /* RESIZE */
        memcpy(&window, data, sizeof(window));
        resize(agent, &window);
    }
    return true;
}

static void fail_protocol(struct agent *agent)
{
    struct failure failure = { 125, "the host's messages make no sense to this agent" };

    SAY(failure.text);
    send_failure(agent, &failure);
}

static void take_frames(struct agent *agent)
{
    size_t at = 0;

    while (agent->in_len - at >= sizeof(struct agent_header)) {
        struct agent_header header;

        memcpy(&header, agent->in + at, sizeof(header));
        if (header.len > AGENT_PAYLOAD_MAX) {
            fail_protocol(agent);
            at = agent->in_len;
            break;
        }
        if (agent->in_len - at < sizeof(header) + header.len)
            break;
        if (!take_frame(agent, &header, agent->in + at + sizeof(header)))
            fail_protocol(agent);
        at += sizeof(header) + header.len;
    }
    agent->in_len -= at;
    memmove(agent->in, agent->in + at, agent->in_len);
}

/* A port gives a page at a time: a long frame is many. */
static void read_port(struct agent *agent)
{
    for (int i = 0; i < READS_MAX; i++) {
        size_t room = sizeof(agent->in) - agent->in_len;
        long got = SYS(read, agent->port, agent->in + agent->in_len, room);

        if (got == -EAGAIN || got == -EINTR)
            return;
        if (got <= 0)
            out_leave(agent); /* the host closed its end: nobody waits for us */
        agent->in_len += (size_t)got;
        take_frames(agent);
    }
}

/* --- the loop --- */

static int16_t wants_input_room(const struct agent *agent)
{
    return agent->input_len > 0 ? SYS_POLLOUT : 0;
}

static void turn(struct agent *agent)
{
    struct sys_pollfd polled[] = {
        { agent->port, (int16_t)(SYS_POLLIN | (agent->out_len ? SYS_POLLOUT : 0)), 0 },
        { agent->signals, SYS_POLLIN, 0 },
        { agent->log, SYS_POLLIN, 0 },
        { agent->input_len ? agent->command.input : -1, wants_input_room(agent), 0 },
        { output_wants(agent, AGENT_STDOUT), SYS_POLLIN, 0 },
        { output_wants(agent, AGENT_STDERR), SYS_POLLIN, 0 },
    };

    (void)SYS(ppoll, polled, sizeof(polled) / sizeof(polled[0]), NULL, NULL, SIGNAL_SET_SIZE);
    if (polled[0].revents == SYS_POLLHUP)
        sys_sleep_ms(GONE_PAUSE_MS);
    if (polled[1].revents)
        reap(agent);
    if (polled[2].revents)
        (void)kernel_log_read(agent->log, send_event, agent);
    if (polled[0].revents & (SYS_POLLIN | (agent->is_init ? 0 : SYS_POLLHUP)))
        read_port(agent);
    if (agent->phase == PHASE_RUNNING) {
        input_write(agent);
        for (uint16_t stream = AGENT_STDOUT; stream <= AGENT_STDERR; stream++) {
            output_read(agent, stream);
            output_look_for_end(agent, stream);
        }
        outputs_send_ends(agent);
        send_ended(agent);
    }
    out_write(agent);
}

static void watch_signals(struct agent *agent)
{
    const uint64_t handled = UINT64_C(1) << (SIGCHLD_NUMBER - 1);
    const uint64_t blocked = handled | UINT64_C(1) << (SIGPIPE_NUMBER - 1);

    (void)SYS(rt_sigprocmask, 0, &blocked, NULL, SIGNAL_SET_SIZE);
    agent->signals = (int)SYS(signalfd4, -1, &handled, SIGNAL_SET_SIZE, SYS_CLOEXEC | SYS_NONBLOCK);
}

_Noreturn void agent_main(void);
_Noreturn void agent_main(void)
{
    static struct agent agent;

    agent.is_init = SYS(getpid, 0) == 1;
    agent.log = -1;
    agent.command = (struct command){ .input = -1, .output = -1, .errors = -1 };
    if (agent.is_init)
        machine_set_up();
    watch_signals(&agent);
    agent.port = agent.is_init ? machine_open_port() : TEST_PORT;
    if (agent.is_init)
        agent.log = machine_open_log();
    else
        (void)SYS(fcntl, agent.port, F_SETFL, O_RDWR | O_NONBLOCK);
    send_hello(&agent);
    out_write(&agent);
    for (;;)
        turn(&agent);
}
