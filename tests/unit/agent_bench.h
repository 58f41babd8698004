// SPDX-License-Identifier: Apache-2.0
/* A conversation with an agent: with one that the test plays, or with the real one, which runs as a
 * process of this machine then.
 * Included after cmocka.h. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot/init_programs.h"
#include "host/fd.h"
#include "host/loop.h"
#include "machine/agent.h"
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

static inline size_t send_to_guest(void *ctx, const uint8_t *data, size_t len)
{
    struct fixture *f = ctx;
    ssize_t put = send(f->port[0], data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (put < 0)
        put = 0;
    if ((size_t)put < len && f->port_source)
        (void)loop_set_events(f->port_source, LOOP_READABLE | LOOP_WRITABLE);
    return (size_t)put;
}

static inline void on_port(void *ctx, unsigned events)
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

static inline void on_capture(void *ctx, unsigned events)
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
static inline void capture_rest(struct capture *capture)
{
    ssize_t got = 1;

    assert_true(fd_set_nonblocking(capture->fd, 1) == 0 || errno == EBADF);
    while (got > 0) {
        got = read(capture->fd, capture->data + capture->len, CAPTURE_MAX - capture->len);
        capture->len += got > 0 ? (size_t)got : 0;
    }
}

static inline void note_change(void *ctx)
{
    struct fixture *f = ctx;

    f->changes++;
    f->is_told = agent_result(f->agent)->end != AGENT_END_NONE;
}

static inline void note_failure(void *ctx, int err)
{
    (void)err;
    ((struct fixture *)ctx)->failures++;
}

static inline void stop(void *ctx)
{
    loop_stop(((struct fixture *)ctx)->loop);
}

static inline void run_ms(struct fixture *f, unsigned ms)
{
    assert_int_equal(loop_set_timer(f->tick, ms * UINT64_C(1000000)), 0);
    assert_int_equal(loop_run(f->loop), 0);
}

static inline bool has_ended(const struct fixture *f)
{
    return agent_result(f->agent)->end != AGENT_END_NONE;
}

static inline void run_to_end(struct fixture *f)
{
    for (int ms = 0; ms < PATIENCE_MS && !f->is_told; ms += 5)
        run_ms(f, 5);
    assert_true(f->is_told);
    capture_rest(&f->out);
    capture_rest(&f->err);
}

static inline void capture(struct fixture *f, struct capture *capture, int fd)
{
    capture->fd = fd;
    assert_int_equal(
        loop_add_fd(f->loop, fd, LOOP_READABLE, NULL, on_capture, capture, &capture->source), 0);
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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

static inline void make_agent(struct fixture *f)
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

/* Reads what exec failed with: nothing, if the descriptor was closed by it. */
static inline int exec_error(int fd)
{
    int err = 0;

    return read(fd, &err, sizeof(err)) == (ssize_t)sizeof(err) ? err : 0;
}

/* In a network of our own: where nothing else is, and nobody is disturbed. The card ends with the
 * process, which keeps its descriptor. */
static inline bool make_card(void)
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
static inline void start_agent_process(struct fixture *f)
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
static inline void run_script(struct fixture *f, const char *script)
{
    agent_job_text(&f->job, AGENT_RECORD_ARG, "sh");
    agent_job_text(&f->job, AGENT_RECORD_ARG, "-c");
    agent_job_text(&f->job, AGENT_RECORD_ARG, script);
    agent_job_text(&f->job, AGENT_RECORD_ENV, "PATH=/usr/bin:/bin");
    make_agent(f);
    start_agent_process(f);
}

static inline void expect_end(struct fixture *f, enum agent_end end, uint32_t value)
{
    run_to_end(f);
    assert_int_equal(agent_result(f->agent)->end, end);
    assert_int_equal(agent_result(f->agent)->value, value);
}

static inline void expect_output(const struct capture *capture, const char *text)
{
    assert_int_equal(capture->len, strlen(text));
    assert_memory_equal(capture->data, text, strlen(text));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
