// SPDX-License-Identifier: Apache-2.0
/* The conversation with the agent: once with a guest that the test plays, once with the real agent,
 * which runs as a process of this machine then. */
#include "machine/agent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "boot/init_programs.h"
#include "host/fd.h"
#include "host/loop.h"
#include "scratch.h"
#include "skip.h"

enum { PATIENCE_MS = 20000, CAPTURE_MAX = 1 << 20, NO_AGENT = 77 };

static const uint8_t card_address[6] = { 2, 0, 0, 0, 0, 7 };

struct capture {
    int fd;
    struct loop_source *source;
    size_t len;
    char data[CAPTURE_MAX];
};

struct fixture {
    struct loop *loop;
    struct loop_source *tick, *port_source;
    pthread_mutex_t guard;
    struct agent *agent;
    struct agent_job job;
    struct capture out, err;
    int input[2], output[2], errors[2]; /* pipes: the agent has input[0], output[1], errors[1] */
    int port[2];                        /* a socket: [0] is ours, [1] the guest's */
    int pid;                            /* of the real agent, or 0 */
    bool has_card;                      /* the real agent gets a network with one card */
    int changes, failures;
    bool is_told; /* of the end */
    char folder[32];
};

static size_t send_to_guest(void *ctx, const uint8_t *data, size_t len)
{
    struct fixture *f = ctx;
    ssize_t put = send(f->port[0], data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (put < 0)
        put = 0;
    if ((size_t)put < len && f->port_source)
        (void)loop_set_events(f->port_source, LOOP_READABLE | LOOP_WRITABLE);
    return (size_t)put;
}

static void on_port(void *ctx, unsigned events)
{
    struct fixture *f = ctx;
    uint8_t data[4096];

    if (events & LOOP_WRITABLE) {
        (void)loop_set_events(f->port_source, LOOP_READABLE);
        agent_send_ready(f->agent);
    }
    ssize_t got = recv(f->port[0], data, sizeof(data), MSG_DONTWAIT);
    if (got > 0)
        agent_receive(f->agent, data, (size_t)got);
    else if (got == 0)
        (void)loop_set_events(f->port_source, 0);
}

static void on_capture(void *ctx, unsigned events)
{
    struct capture *capture = ctx;
    ssize_t got = read(capture->fd, capture->data + capture->len, CAPTURE_MAX - capture->len);

    (void)events;
    if (got > 0)
        capture->len += (size_t)got;
    else
        (void)loop_set_events(capture->source, 0);
}

/* Reads what was written so far. */
static void capture_rest(struct capture *capture)
{
    ssize_t got = 1;

    assert_true(fd_set_nonblocking(capture->fd, 1) == 0 || errno == EBADF);
    while (got > 0) {
        got = read(capture->fd, capture->data + capture->len, CAPTURE_MAX - capture->len);
        capture->len += got > 0 ? (size_t)got : 0;
    }
}

static void note_change(void *ctx)
{
    struct fixture *f = ctx;

    f->changes++;
    f->is_told = agent_result(f->agent)->end != AGENT_END_NONE;
}

static void note_failure(void *ctx, int err)
{
    (void)err;
    ((struct fixture *)ctx)->failures++;
}

static void stop(void *ctx)
{
    loop_stop(((struct fixture *)ctx)->loop);
}

static void run_ms(struct fixture *f, unsigned ms)
{
    assert_int_equal(loop_set_timer(f->tick, ms * UINT64_C(1000000)), 0);
    assert_int_equal(loop_run(f->loop), 0);
}

static bool has_ended(const struct fixture *f)
{
    return agent_result(f->agent)->end != AGENT_END_NONE;
}

static void run_to_end(struct fixture *f)
{
    for (int ms = 0; ms < PATIENCE_MS && !f->is_told; ms += 5)
        run_ms(f, 5);
    assert_true(f->is_told);
    capture_rest(&f->out);
    capture_rest(&f->err);
}

static void capture(struct fixture *f, struct capture *capture, int fd)
{
    capture->fd = fd;
    assert_int_equal(
        loop_add_fd(f->loop, fd, LOOP_READABLE, NULL, on_capture, capture, &capture->source), 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    assert_non_null(f);
    pthread_mutex_init(&f->guard, NULL);
    assert_int_equal(pipe2(f->input, O_CLOEXEC), 0);
    assert_int_equal(pipe2(f->output, O_CLOEXEC), 0);
    assert_int_equal(pipe2(f->errors, O_CLOEXEC), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->port), 0);
    assert_int_equal(loop_create(&f->loop), 0);
    assert_int_equal(loop_add_timer(f->loop, NULL, stop, f, &f->tick), 0);
    capture(f, &f->out, f->output[0]);
    capture(f, &f->err, f->errors[0]);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    agent_destroy(f->agent);
    loop_destroy(f->loop);
    agent_job_fini(&f->job);
    for (int i = 0; i < 2; i++) {
        fd_close(&f->input[i]);
        fd_close(&f->output[i]);
        fd_close(&f->errors[i]);
        fd_close(&f->port[i]);
    }
    if (f->pid)
        (void)waitpid(f->pid, NULL, 0); /* the closed port ends it */
    if (f->folder[0])
        scratch_remove(f->folder);
    free(f);
    return 0;
}

/* A folder, gone with the test also if that is skipped. Returns the path of @name in it. */
static char *path_in_folder(struct fixture *f, const char *name, char path[64])
{
    if (!f->folder[0]) {
        (void)snprintf(f->folder, sizeof(f->folder), "/tmp/hutch-agent.XXXXXX");
        assert_non_null(scratch_make(f->folder));
    }
    (void)snprintf(path, 64, "%s/%s", f->folder, name);
    return path;
}

static void make_agent(struct fixture *f)
{
    const struct agent_params params = { .loop = f->loop,
                                         .guard = &f->guard,
                                         .input_fd = f->input[0],
                                         .output_fd = f->output[1],
                                         .error_fd = f->errors[1],
                                         .job = &f->job,
                                         .send = send_to_guest,
                                         .changed = note_change,
                                         .output_failed = note_failure,
                                         .ctx = f };

    assert_int_equal(f->job.err, 0);
    assert_int_equal(agent_create(&params, &f->agent), 0);
}

/* --- a guest that the test plays --- */

static void say_with(struct fixture *f, uint16_t type, uint16_t stream, const void *data,
                     uint32_t len)
{
    struct agent_header header = { len, type, stream };

    agent_receive(f->agent, (const uint8_t *)&header, sizeof(header));
    agent_receive(f->agent, data, len);
}

static void say(struct fixture *f, uint16_t type)
{
    say_with(f, type, 0, "", 0);
}

static void say_hello(struct fixture *f, uint32_t version)
{
    struct agent_hello hello = { .version = version, .uptime_ns = 5 };
    uint8_t data[sizeof(hello) + 5];

    memcpy(data, &hello, sizeof(hello));
    memcpy(data + sizeof(hello), "6.1.0", 5);
    say_with(f, AGENT_HELLO, 0, data, sizeof(data));
}

/* Takes the next frame that was sent to the guest; its type, or 0 if there is none. */
static uint16_t hear(struct fixture *f, void *data, size_t size, uint16_t *stream)
{
    struct agent_header header;

    if (recv(f->port[1], &header, sizeof(header), MSG_DONTWAIT) != (ssize_t)sizeof(header))
        return 0;
    assert_true(header.len <= AGENT_PAYLOAD_MAX);
    uint8_t payload[AGENT_PAYLOAD_MAX];
    if (header.len > 0)
        assert_int_equal(recv(f->port[1], payload, header.len, MSG_DONTWAIT), header.len);
    if (data)
        memcpy(data, payload, header.len < size ? header.len : size);
    if (stream)
        *stream = header.stream;
    return header.type;
}

static void start_fake(struct fixture *f)
{
    agent_job_text(&f->job, AGENT_RECORD_ARG, "true");
    make_agent(f);
    say_hello(f, AGENT_VERSION);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_JOB);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_RUN);
    say(f, AGENT_STARTED);
}

static void expect_refusal(struct fixture *f, const char *part)
{
    assert_int_equal(agent_result(f->agent)->end, AGENT_END_BROKEN);
    assert_int_equal(agent_result(f->agent)->value, 0);
    assert_non_null(strstr(agent_result(f->agent)->text, part));
}

static void nothing_is_sent_before_hello(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "true");
    make_agent(f);

    agent_signal(f->agent, SIGINT);
    agent_resize(f->agent, 80, 25);
    run_ms(f, 10);

    assert_int_equal(hear(f, NULL, 0, NULL), 0);
}

static void hello_is_answered_by_the_job(void **state)
{
    struct fixture *f = *state;
    struct agent_record record;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "true");
    make_agent(f);

    say_hello(f, AGENT_VERSION);

    assert_int_equal(hear(f, &record, sizeof(record), NULL), AGENT_JOB);
    assert_int_equal(record.type, AGENT_RECORD_ARG);
    assert_int_equal(record.len, 5);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_RUN);
    assert_int_equal(hear(f, NULL, 0, NULL), 0);
    assert_true(agent_result(f->agent)->is_up);
    assert_string_equal(agent_result(f->agent)->release, "6.1.0");
}

static uint64_t now_ns(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void the_guest_is_told_what_time_it_is(void **state)
{
    struct fixture *f = *state;
    struct agent_run run = { 0 };
    agent_job_text(&f->job, AGENT_RECORD_ARG, "true");
    make_agent(f);
    uint64_t before = now_ns();

    say_hello(f, AGENT_VERSION);

    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_JOB);
    assert_int_equal(hear(f, &run, sizeof(run), NULL), AGENT_RUN);
    assert_in_range(run.time_ns, before, now_ns());
}

static void a_long_job_goes_in_pieces(void **state)
{
    struct fixture *f = *state;
    static char text[3 * AGENT_PAYLOAD_MAX];
    memset(text, 'x', sizeof(text) - 1);
    agent_job_text(&f->job, AGENT_RECORD_ENV, text);
    make_agent(f);

    say_hello(f, AGENT_VERSION);

    for (int i = 0; i < 4; i++)
        assert_int_equal(hear(f, NULL, 0, NULL), AGENT_JOB);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_RUN);
}

static void a_job_has_a_limit(void **state)
{
    struct fixture *f = *state;
    static char text[AGENT_JOB_MAX];
    memset(text, 'x', sizeof(text) - 1);

    agent_job_text(&f->job, AGENT_RECORD_ENV, text);
    agent_job_text(&f->job, AGENT_RECORD_ARG, "true");

    assert_int_equal(f->job.err, -E2BIG);
}

static void another_version_is_refused(void **state)
{
    struct fixture *f = *state;
    make_agent(f);

    say_hello(f, AGENT_VERSION + 1);

    expect_refusal(f, "version");
}

static void the_command_gets_credit_for_what_fits(void **state)
{
    struct fixture *f = *state;
    uint32_t credit = 0;
    uint16_t stream;
    start_fake(f);

    assert_int_equal(hear(f, &credit, sizeof(credit), &stream), AGENT_OUTPUT_CREDIT);
    assert_int_equal(stream, AGENT_STDOUT);
    assert_in_range(credit, 4096, 1 << 20);
    assert_int_equal(hear(f, &credit, sizeof(credit), &stream), AGENT_OUTPUT_CREDIT);
    assert_int_equal(stream, AGENT_STDERR);
}

static void output_beyond_the_credit_is_refused(void **state)
{
    struct fixture *f = *state;
    static uint8_t data[AGENT_PAYLOAD_MAX];
    start_fake(f);

    for (int i = 0; i < 100 && !has_ended(f); i++) /* the loop does not run: nothing is written */
        say_with(f, AGENT_OUTPUT, AGENT_STDOUT, data, sizeof(data));

    assert_int_equal(agent_result(f->agent)->end, AGENT_END_BROKEN);
}

static void output_goes_to_its_own_descriptor(void **state)
{
    struct fixture *f = *state;
    start_fake(f);

    say_with(f, AGENT_OUTPUT, AGENT_STDOUT, "out", 3);
    say_with(f, AGENT_OUTPUT, AGENT_STDERR, "err!", 4);
    run_ms(f, 10);

    assert_int_equal(f->out.len, 3);
    assert_memory_equal(f->out.data, "out", 3);
    assert_int_equal(f->err.len, 4);
    assert_memory_equal(f->err.data, "err!", 4);
}

static void input_waits_for_credit(void **state)
{
    struct fixture *f = *state;
    const uint32_t credit = 3;
    char data[8] = "";
    start_fake(f);
    while (hear(f, NULL, 0, NULL) == AGENT_OUTPUT_CREDIT)
        ;
    assert_int_equal(fd_write_full(f->input[1], "hello", 5), 0);
    fd_close(&f->input[1]);
    run_ms(f, 10);
    assert_int_equal(hear(f, NULL, 0, NULL), 0);

    say_with(f, AGENT_INPUT_CREDIT, 0, &credit, sizeof(credit));
    run_ms(f, 10);
    assert_int_equal(hear(f, data, sizeof(data), NULL), AGENT_INPUT);
    assert_string_equal(data, "hel");
    assert_int_equal(hear(f, NULL, 0, NULL), 0);
    say_with(f, AGENT_INPUT_CREDIT, 0, &credit, sizeof(credit));
    run_ms(f, 10);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_INPUT);
    assert_int_equal(hear(f, NULL, 0, NULL), AGENT_INPUT_END);
}

static void signals_and_sizes_reach_the_command(void **state)
{
    struct fixture *f = *state;
    uint32_t number = 0;
    struct agent_window window = { 0, 0 };
    start_fake(f);
    while (hear(f, NULL, 0, NULL) == AGENT_OUTPUT_CREDIT)
        ;

    agent_signal(f->agent, SIGTERM);
    agent_resize(f->agent, 132, 50);

    assert_int_equal(hear(f, &number, sizeof(number), NULL), AGENT_SIGNAL);
    assert_int_equal(number, SIGTERM);
    assert_int_equal(hear(f, &window, sizeof(window), NULL), AGENT_RESIZE);
    assert_int_equal(window.columns, 132);
    assert_int_equal(window.rows, 50);
}

static void an_end_is_told_with_its_status(void **state)
{
    struct fixture *f = *state;
    const struct agent_ended ended = { .status = 7 };
    start_fake(f);
    while (hear(f, NULL, 0, NULL) == AGENT_OUTPUT_CREDIT)
        ;

    say_with(f, AGENT_ENDED, 0, &ended, sizeof(ended));

    assert_int_equal(agent_result(f->agent)->end, AGENT_END_EXIT);
    assert_int_equal(agent_result(f->agent)->value, 7);
    assert_int_equal(hear(f, NULL, 0, NULL), 0);
}

static void the_end_waits_for_a_slow_reader(void **state)
{
    struct fixture *f = *state;
    const struct agent_ended ended = { .status = 0 };
    start_fake(f);
    while (hear(f, NULL, 0, NULL) == AGENT_OUTPUT_CREDIT)
        ;
    int changes = f->changes;

    say_with(f, AGENT_OUTPUT, AGENT_STDOUT, "last", 4);
    say_with(f, AGENT_ENDED, 0, &ended, sizeof(ended));
    assert_int_equal(f->changes, changes);
    assert_int_equal(hear(f, NULL, 0, NULL), 0);

    run_ms(f, 10);
    assert_int_equal(f->changes, changes + 1);
    assert_int_equal(f->out.len, 4);
}

static void a_failure_has_its_status_and_sentence(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "nothing");
    make_agent(f);
    say_hello(f, AGENT_VERSION);

    say_with(f, AGENT_FAILED, 0, "\x7f\0\0\0not here", 12);

    assert_int_equal(agent_result(f->agent)->end, AGENT_END_FAILED);
    assert_int_equal(agent_result(f->agent)->value, 127);
    assert_string_equal(agent_result(f->agent)->text, "not here");
}

static void what_the_guests_kernel_cannot_do_has_its_status(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "nothing");
    make_agent(f);
    say_hello(f, AGENT_VERSION);

    say_with(f, AGENT_FAILED, 0, "\x7b\0\0\0no file system", 18);

    assert_int_equal(agent_result(f->agent)->end, AGENT_END_FAILED);
    assert_int_equal(agent_result(f->agent)->value, 123);
}

static void a_kernels_oops_is_noted(void **state)
{
    struct fixture *f = *state;
    start_fake(f);

    int changes = f->changes;

    say_with(f, AGENT_EVENT, 0, "\1\0\0\0Oops: 1", 11);
    say_with(f, AGENT_EVENT, 0, "\1\0\0\0Oops: 2", 11); /* what follows from the first */

    assert_int_equal(f->changes, changes + 1);
    assert_true(agent_result(f->agent)->has_oops);
    assert_false(agent_result(f->agent)->has_oom);
    assert_string_equal(agent_result(f->agent)->oops, "Oops: 1");
}

/* Each in a conversation of its own, after STARTED. */
static void nonsense_ends_the_conversation(void **state)
{
    static const struct {
        uint16_t type, stream;
        uint32_t len;
    } frames[] = {
        { AGENT_HELLO, 0, 16 },
        { AGENT_STARTED, 0, 0 },
        { AGENT_FAILED, 0, 3 },
        { AGENT_OUTPUT, AGENT_STDIN, 1 },
        { AGENT_OUTPUT, 3, 1 },
        { AGENT_OUTPUT_END, 9, 0 },
        { AGENT_INPUT_CREDIT, 0, 3 },
        { AGENT_EVENT, 0, 1 },
        { AGENT_ENDED, 0, 7 },
        { AGENT_JOB, 0, 8 },
        { 0, 0, 0 },
        { 65535, 0, 0 },
    };
    struct fixture *f = *state;
    const uint8_t data[64] = { 0 };

    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        start_fake(f);
        say_with(f, frames[i].type, frames[i].stream, data, frames[i].len);
        assert_int_equal(agent_result(f->agent)->end, AGENT_END_BROKEN);
        while (hear(f, NULL, 0, NULL))
            ;
        agent_destroy(f->agent);
        f->agent = NULL;
    }
}

static void a_length_beyond_all_bounds_is_refused(void **state)
{
    struct fixture *f = *state;
    struct agent_header header = { UINT32_MAX, AGENT_OUTPUT, AGENT_STDOUT };
    start_fake(f);

    agent_receive(f->agent, (const uint8_t *)&header, sizeof(header));

    expect_refusal(f, "too long");
}

static void credit_without_end_is_refused(void **state)
{
    struct fixture *f = *state;
    const uint32_t credit = AGENT_CREDIT_MAX;
    start_fake(f);

    say_with(f, AGENT_INPUT_CREDIT, 0, &credit, sizeof(credit));
    assert_false(has_ended(f));
    say_with(f, AGENT_INPUT_CREDIT, 0, &credit, sizeof(credit));

    expect_refusal(f, "credit");
}

/* --- the real agent --- */

/* Reads what exec failed with: nothing, if the descriptor was closed by it. */
static int exec_error(int fd)
{
    int err = 0;

    return read(fd, &err, sizeof(err)) == (ssize_t)sizeof(err) ? err : 0;
}

/* In a network of our own: where nothing else is, and nobody is disturbed. The card ends with the
 * process, which keeps its descriptor. */
static bool make_card(void)
{
    struct ifreq request = { .ifr_name = "card0", .ifr_flags = IFF_TAP | IFF_NO_PI };
    int tap;

    if (unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWNET : CLONE_NEWNET) < 0)
        return false;
    tap = open("/dev/net/tun", O_RDWR);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &request) < 0)
        return false;
    request.ifr_hwaddr = (struct sockaddr){ .sa_family = ARPHRD_ETHER };
    memcpy(request.ifr_hwaddr.sa_data, card_address, sizeof(card_address));
    return ioctl(tap, SIOCSIFHWADDR, &request) == 0;
}

/* Skips the test where a program of this architecture runs by an emulator of ours alone. */
static void start_agent_process(struct fixture *f)
{
    int ends[2];
    char *const argv[] = { (char *)"agent", NULL }, *const envp[] = { NULL };
    int fd = memfd_create("agent", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(fd_write_full(fd, agent_bytes, agent_len), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    f->pid = fork();
    assert_true(f->pid >= 0);
    if (f->pid == 0) {
        int report = fcntl(ends[1], F_DUPFD_CLOEXEC, 10), program = fcntl(fd, F_DUPFD_CLOEXEC, 10);
        (void)dup2(f->port[1], 3);
        (void)fcntl(3, F_SETFD, 0);
        (void)signal(SIGPIPE, SIG_DFL);
        int no_card = ENOEXEC;
        if (f->has_card && !make_card())
            _exit(write(report, &no_card, sizeof(no_card)) < 0);
        (void)fexecve(program, argv, envp);
        int err = errno;
        (void)write(report, &err, sizeof(err));
        _exit(NO_AGENT);
    }
    close(fd);
    close(ends[1]);
    int err = exec_error(ends[0]);
    close(ends[0]);
    if (err == ENOEXEC)
        skip_because("a network card needs root and a tun driver");
    assert_int_equal(err, 0);
    fd_close(&f->port[1]);
    assert_int_equal(
        loop_add_fd(f->loop, f->port[0], LOOP_READABLE, &f->guard, on_port, f, &f->port_source), 0);
}

/* Runs @script with a shell, up to its end. */
static void run_script(struct fixture *f, const char *script)
{
    agent_job_text(&f->job, AGENT_RECORD_ARG, "sh");
    agent_job_text(&f->job, AGENT_RECORD_ARG, "-c");
    agent_job_text(&f->job, AGENT_RECORD_ARG, script);
    agent_job_text(&f->job, AGENT_RECORD_ENV, "PATH=/usr/bin:/bin");
    make_agent(f);
    start_agent_process(f);
}

static void wait_for_output(struct fixture *f, const char *text)
{
    for (int ms = 0; ms < PATIENCE_MS && !has_ended(f); ms += 5) {
        if (memmem(f->out.data, f->out.len, text, strlen(text)))
            return;
        run_ms(f, 5);
    }
    fail_msg("no '%s'", text);
}

static void expect_end(struct fixture *f, enum agent_end end, uint32_t value)
{
    run_to_end(f);
    assert_int_equal(agent_result(f->agent)->end, end);
    assert_int_equal(agent_result(f->agent)->value, value);
}

static void expect_output(const struct capture *capture, const char *text)
{
    assert_int_equal(capture->len, strlen(text));
    assert_memory_equal(capture->data, text, strlen(text));
}

static void the_agent_carries_streams_and_status(void **state)
{
    struct fixture *f = *state;

    run_script(f, "echo out; echo err >&2; exit 7");

    expect_end(f, AGENT_END_EXIT, 7);
    expect_output(&f->out, "out\n");
    expect_output(&f->err, "err\n");
    assert_true(agent_result(f->agent)->has_started);
    assert_true(strlen(agent_result(f->agent)->release) > 0);
}

static void the_agent_reports_a_signal(void **state)
{
    struct fixture *f = *state;

    run_script(f, "kill -9 $$");

    expect_end(f, AGENT_END_SIGNAL, SIGKILL);
}

static void the_agent_tells_what_it_cannot_find(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "hutch-has-no-such-program");
    make_agent(f);
    start_agent_process(f);

    expect_end(f, AGENT_END_FAILED, 127);
    assert_string_equal(agent_result(f->agent)->text,
                        "'hutch-has-no-such-program': no such file or directory");
}

static void expect_failure(struct fixture *f, const char *command, uint32_t status, const char *why)
{
    char sentence[AGENT_TEXT_MAX];

    agent_job_text(&f->job, AGENT_RECORD_ARG, command);
    make_agent(f);
    start_agent_process(f);
    expect_end(f, AGENT_END_FAILED, status);
    (void)snprintf(sentence, sizeof(sentence), "'%s': %s", command, why);
    assert_string_equal(agent_result(f->agent)->text, sentence);
}

static void the_agent_tells_what_it_cannot_execute(void **state)
{
    expect_failure(*state, "/etc/passwd", 126, "permission denied");
}

static void the_agent_tells_a_folder_from_a_program(void **state)
{
    expect_failure(*state, "/usr", 126, "is a directory");
}

static void the_agent_tells_that_an_interpreter_is_missing(void **state)
{
    char path[64];
    int fd = open(path_in_folder(*state, "script", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_int_equal(fd_write_full(fd, "#!/no/such/sh\n", 14), 0);
    close(fd);

    expect_failure(*state, path, 126, "the interpreter or loader that it needs is not there");
}

static void the_agent_passes_many_arguments(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_ARG, "/bin/sh");
    agent_job_text(&f->job, AGENT_RECORD_ARG, "-c");
    agent_job_text(&f->job, AGENT_RECORD_ARG, "echo $#");
    for (int i = 0; i < 100001; i++)
        agent_job_text(&f->job, AGENT_RECORD_ARG, "argument");
    make_agent(f);
    start_agent_process(f);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "100000\n");
}

static void the_agent_tells_that_a_variable_is_too_long(void **state)
{
    struct fixture *f = *state;
    static char variable[200000]; /* Linux takes 128 KiB */
    memset(variable, 'x', sizeof(variable) - 1);
    variable[1] = '=';
    agent_job_text(&f->job, AGENT_RECORD_ENV, variable);

    expect_failure(f, "/bin/true", 126, "its arguments or variables are too long");
}

static void the_agent_refuses_too_many_variables(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 262145; i++)
        agent_job_text(&f->job, AGENT_RECORD_ENV, "A=");

    run_script(f, "true");

    expect_end(f, AGENT_END_FAILED, 125);
    assert_string_equal(agent_result(f->agent)->text,
                        "a command has at most 262144 arguments, and as many variables");
}

static void the_agent_changes_to_the_folder(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_FOLDER, "/usr/bin");

    run_script(f, "pwd; exec cat");
    fd_close(&f->input[1]);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "/usr/bin\n");
}

static void the_agent_takes_bits_off_what_the_command_makes(void **state)
{
    struct fixture *f = *state;
    char path[64], script[128];
    agent_job_umask(&f->job, 027);
    (void)snprintf(script, sizeof(script), "echo >%s && stat -c %%a %s",
                   path_in_folder(f, "made", path), path);

    run_script(f, script);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "640\n");
}

static void the_agent_refuses_a_folder_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_FOLDER, "/nowhere");

    run_script(f, "true");

    expect_end(f, AGENT_END_FAILED, 125);
}

static void the_agent_refuses_a_user_that_nobody_knows(void **state)
{
    struct fixture *f = *state;
    agent_job_text(&f->job, AGENT_RECORD_USER_NAME, "hutch-no-such-user");

    run_script(f, "true");

    expect_end(f, AGENT_END_FAILED, 125);
    assert_string_equal(agent_result(f->agent)->text,
                        "user 'hutch-no-such-user': the guest's /etc/passwd does not have it");
}

static void the_agent_finds_a_user_with_groups_and_home(void **state)
{
    struct fixture *f = *state;
    if (getuid() != 0)
        skip_because("only root becomes somebody else");
    agent_job_text(&f->job, AGENT_RECORD_USER_NAME, "nobody");

    run_script(f, "test \"$(id -un)\" = nobody && test \"$(id -gn)\" = \"$(id -gn nobody)\" && "
                  "test \"$HOME\" = \"$(getent passwd nobody | cut -d: -f6)\" && echo yes");

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "yes\n");
}

static void a_home_that_is_named_is_not_the_users(void **state)
{
    struct fixture *f = *state;
    const struct passwd *user = getpwuid(getuid());
    if (!user)
        skip_because("no list knows this user");
    agent_job_text(&f->job, AGENT_RECORD_USER_NAME, user->pw_name);
    agent_job_text(&f->job, AGENT_RECORD_ENV, "HOME=/said");
    agent_job_text(&f->job, AGENT_RECORD_ARG, "/usr/bin/env");
    make_agent(f);
    start_agent_process(f);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "HOME=/said\n");
}

static void the_agent_makes_a_home_for_its_user(void **state)
{
    struct fixture *f = *state;
    char home[64];
    struct stat st;
    (void)path_in_folder(f, "a/b", home);
    agent_job_user(&f->job, getuid() ? getuid() : 1234, getgid() ? getgid() : 1234, NULL, 0);
    agent_job_text(&f->job, AGENT_RECORD_HOME, home);

    run_script(f, "true");

    expect_end(f, AGENT_END_EXIT, 0);
    assert_int_equal(stat(home, &st), 0);
    assert_int_equal(st.st_uid, getuid() ? getuid() : 1234);
}

static void the_agent_gives_a_card_its_addresses(void **state)
{
    struct fixture *f = *state;
    const struct agent_network network = { .prefix_len = 23,
                                           .address = { 10, 0, 3, 15 },
                                           .gateway = { 10, 0, 2, 2 } };
    struct agent_network described = network;
    memcpy(described.mac, card_address, sizeof(card_address));
    agent_job_network(&f->job, &described);
    f->has_card = true;

    run_script(f, "cat /proc/net/route; grep -q 10.0.3.15 /proc/net/fib_trie && "
                  "echo dad $(cat /proc/sys/net/ipv6/conf/card0/accept_dad || echo 0)");

    expect_end(f, AGENT_END_EXIT, 0);
    assert_non_null(strstr(f->out.data, "dad 0\n")); /* or this kernel has no IPv6 */
    assert_non_null(strstr(f->out.data, "card0\t00000000\t0202000A\t0003"));
    assert_non_null(strstr(f->out.data, "card0\t0002000A\t00000000\t0001\t0\t0\t0\t00FEFFFF"));
}

static void the_agent_tells_that_there_is_no_such_card(void **state)
{
    struct fixture *f = *state;
    const struct agent_network network = { .mac = { 2, 1, 1, 1, 1, 1 }, .prefix_len = 24 };
    agent_job_network(&f->job, &network);
    f->has_card = true;

    run_script(f, "true");

    expect_end(f, AGENT_END_FAILED, 123);
    assert_non_null(strstr(agent_result(f->agent)->text, "CONFIG_VIRTIO_NET"));
}

static void the_agent_writes_a_file_in_place_of_a_link(void **state)
{
    struct fixture *f = *state;
    char link[64], target[64], script[256];
    (void)path_in_folder(f, "target", target);
    assert_int_equal(symlink("target", path_in_folder(f, "link", link)), 0);
    agent_job_file(&f->job, link, "one\ntwo\n");
    (void)snprintf(script, sizeof(script), "cat %s", link);

    run_script(f, script);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "one\ntwo\n");
    assert_int_equal(access(target, F_OK), -1);
}

static void the_agent_forwards_signals(void **state)
{
    struct fixture *f = *state;

    run_script(f, "trap 'echo got it; exit 3' INT; echo ready; while :; do sleep 0.01; done");
    wait_for_output(f, "ready\n");
    agent_signal(f->agent, SIGINT);

    expect_end(f, AGENT_END_EXIT, 3);
    expect_output(&f->out, "ready\ngot it\n");
}

static void megabytes_come_back_identical(void **state)
{
    struct fixture *f = *state;
    enum { LEN = 900000 };
    static uint8_t data[LEN];
    size_t sent = 0;
    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(i * 31 + i / 253);
    assert_int_equal(fcntl(f->input[1], F_SETFL, O_NONBLOCK), 0);

    run_script(f, "cat");
    for (int ms = 0; ms < PATIENCE_MS && sent < LEN; ms++) {
        ssize_t put = write(f->input[1], data + sent, LEN - sent);

        sent += put > 0 ? (size_t)put : 0;
        run_ms(f, 1);
    }
    fd_close(&f->input[1]);

    expect_end(f, AGENT_END_EXIT, 0);
    assert_int_equal(f->out.len, LEN);
    assert_memory_equal(f->out.data, data, LEN);
}

/* Runs until the reader of @pipe would have to read for more to come. */
static void wait_until_full(struct fixture *f, const int pipe[2])
{
    struct pollfd room = { .fd = pipe[1], .events = POLLOUT };

    for (int ms = 0; ms < PATIENCE_MS && poll(&room, 1, 0) == 1; ms += 5)
        run_ms(f, 5);
    assert_int_equal(poll(&room, 1, 0), 0);
}

static void a_stuck_stdout_holds_up_neither_stderr_nor_signals(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_set_events(f->out.source, 0), 0); /* nobody reads it */

    run_script(f, "(trap '' TERM; yes | head -c 400000) & echo err >&2; "
                  "trap 'echo term >&2; exit 4' TERM; while :; do sleep 0.01; done");
    for (int ms = 0; ms < PATIENCE_MS && f->err.len < 4; ms++)
        run_ms(f, 1);
    expect_output(&f->err, "err\n");
    wait_until_full(f, f->output);
    run_ms(f, 100); /* more is on its way */
    agent_signal(f->agent, SIGTERM);
    for (int ms = 0; ms < PATIENCE_MS && !memmem(f->err.data, f->err.len, "term\n", 5); ms++)
        run_ms(f, 1);
    assert_non_null(memmem(f->err.data, f->err.len, "term\n", 5));
    assert_false(has_ended(f)); /* what it wrote is not read yet */

    assert_int_equal(loop_set_events(f->out.source, LOOP_READABLE), 0);
    expect_end(f, AGENT_END_EXIT, 4);
}

static void a_reader_that_goes_ends_the_writer(void **state)
{
    struct fixture *f = *state;
    loop_remove(f->out.source);
    fd_close(&f->output[0]);

    run_script(f, "yes; echo $? >&2");

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->err, "141\n");
    assert_int_equal(f->failures, 1);
    assert_int_equal(agent_result(f->agent)->lost_err, 0);
}

static void output_that_cannot_be_written_is_noted(void **state)
{
    struct fixture *f = *state;
    fd_close(&f->output[1]);
    f->output[1] = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(f->output[1] >= 0);

    run_script(f, "echo lost");

    expect_end(f, AGENT_END_EXIT, 0);
    assert_int_equal(agent_result(f->agent)->lost_err, -ENOSPC);
}

static void what_stays_in_the_background_holds_up_no_end(void **state)
{
    struct fixture *f = *state;

    run_script(f, "sleep 3 & echo done");

    run_to_end(f);
    expect_output(&f->out, "done\n");
}

static void what_writes_in_the_background_holds_up_no_end(void **state)
{
    enum { ENOUGH = 8 << 20 }; /* bytes: all pipes and buffers, and then some */
    struct fixture *f = *state;
    char data[16384];
    size_t len = 0;

    assert_int_equal(loop_set_events(f->out.source, 0), 0); /* we are slower than it writes */
    run_script(f, "yes & read line; exit 3");
    wait_until_full(f, f->output);
    assert_int_equal(fd_write_full(f->input[1], "\n", 1), 0);
    while (!f->is_told && len < ENOUGH) {
        ssize_t got = read(f->output[0], data, sizeof(data));

        assert_true(got > 0);
        len += (size_t)got;
        run_ms(f, 1);
    }

    expect_end(f, AGENT_END_EXIT, 3);
}

static void what_was_written_before_the_end_is_not_lost(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(loop_set_events(f->out.source, 0), 0); /* nobody reads it yet */

    run_script(f, "head -c 500000 /dev/zero; sleep 3 & echo end >&2; exit 3");
    wait_until_full(f, f->output);
    assert_int_equal(loop_set_events(f->out.source, LOOP_READABLE), 0);

    expect_end(f, AGENT_END_EXIT, 3);
    assert_int_equal(f->out.len, 500000);
    expect_output(&f->err, "end\n");
}

static void a_terminal_has_its_size(void **state)
{
    struct fixture *f = *state;
    agent_job_tty(&f->job, 132, 50);

    run_script(f, "stty size; trap 'stty size; exit 0' WINCH; echo ready; "
                  "while :; do sleep 0.01; done");
    wait_for_output(f, "ready\r\n");
    agent_resize(f->agent, 80, 25);

    expect_end(f, AGENT_END_EXIT, 0);
    expect_output(&f->out, "50 132\r\nready\r\n25 80\r\n");
    assert_int_equal(f->err.len, 0);
}

static void typed_keys_reach_a_terminal(void **state)
{
    struct fixture *f = *state;
    agent_job_tty(&f->job, 80, 25);

    run_script(f, "stty -echo; echo ready; sleep 10");
    wait_for_output(f, "ready\r\n");
    assert_int_equal(fd_write_full(f->input[1], "\003", 1), 0);

    expect_end(f, AGENT_END_SIGNAL, SIGINT);
}

static void a_terminal_that_nobody_reads_hangs_up(void **state)
{
    struct fixture *f = *state;
    agent_job_tty(&f->job, 80, 25);
    loop_remove(f->out.source);
    fd_close(&f->output[0]);

    run_script(f, "trap 'exit 3' HUP; while :; do echo y; done");

    expect_end(f, AGENT_END_EXIT, 3);
}

static void a_terminals_input_ends_also_in_the_middle_of_a_line(void **state)
{
    struct fixture *f = *state;
    agent_job_tty(&f->job, 80, 25);
    assert_int_equal(fd_write_full(f->input[1], "abc", 3), 0);
    fd_close(&f->input[1]);

    run_script(f, "stty -echo; cat");

    expect_end(f, AGENT_END_EXIT, 0);
    assert_non_null(memmem(f->out.data, f->out.len, "abc", 3));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_sent_before_hello),
        TEST(hello_is_answered_by_the_job),
        TEST(the_guest_is_told_what_time_it_is),
        TEST(a_long_job_goes_in_pieces),
        TEST(a_job_has_a_limit),
        TEST(another_version_is_refused),
        TEST(the_command_gets_credit_for_what_fits),
        TEST(output_beyond_the_credit_is_refused),
        TEST(output_goes_to_its_own_descriptor),
        TEST(input_waits_for_credit),
        TEST(signals_and_sizes_reach_the_command),
        TEST(an_end_is_told_with_its_status),
        TEST(the_end_waits_for_a_slow_reader),
        TEST(a_failure_has_its_status_and_sentence),
        TEST(what_the_guests_kernel_cannot_do_has_its_status),
        TEST(a_kernels_oops_is_noted),
        TEST(nonsense_ends_the_conversation),
        TEST(a_length_beyond_all_bounds_is_refused),
        TEST(credit_without_end_is_refused),
        TEST(the_agent_carries_streams_and_status),
        TEST(the_agent_reports_a_signal),
        TEST(the_agent_tells_what_it_cannot_find),
        TEST(the_agent_tells_what_it_cannot_execute),
        TEST(the_agent_tells_a_folder_from_a_program),
        TEST(the_agent_tells_that_an_interpreter_is_missing),
        TEST(the_agent_passes_many_arguments),
        TEST(the_agent_tells_that_a_variable_is_too_long),
        TEST(the_agent_refuses_too_many_variables),
        TEST(the_agent_changes_to_the_folder),
        TEST(the_agent_takes_bits_off_what_the_command_makes),
        TEST(the_agent_refuses_a_folder_that_is_not_there),
        TEST(the_agent_refuses_a_user_that_nobody_knows),
        TEST(the_agent_finds_a_user_with_groups_and_home),
        TEST(a_home_that_is_named_is_not_the_users),
        TEST(the_agent_makes_a_home_for_its_user),
        TEST(the_agent_gives_a_card_its_addresses),
        TEST(the_agent_tells_that_there_is_no_such_card),
        TEST(the_agent_writes_a_file_in_place_of_a_link),
        TEST(the_agent_forwards_signals),
        TEST(megabytes_come_back_identical),
        TEST(a_stuck_stdout_holds_up_neither_stderr_nor_signals),
        TEST(a_reader_that_goes_ends_the_writer),
        TEST(output_that_cannot_be_written_is_noted),
        TEST(what_stays_in_the_background_holds_up_no_end),
        TEST(what_writes_in_the_background_holds_up_no_end),
        TEST(what_was_written_before_the_end_is_not_lost),
        TEST(a_terminal_has_its_size),
        TEST(typed_keys_reach_a_terminal),
        TEST(a_terminal_that_nobody_reads_hangs_up),
        TEST(a_terminals_input_ends_also_in_the_middle_of_a_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
