// SPDX-License-Identifier: Apache-2.0
/* ttyS0 and hvc0: between the guest's device and the user's terminal, pipe or file stands a
 * stream; bytes typed at a terminal pass the escape key's filter first. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "devices/serial_16550.h"
#include "host/clock.h"
#include "host/fd.h"
#include "host/log.h"
#include "host/terminal.h"
#include "machine_private.h"
#include "mem/layout.h"
#include "virtio/console.h"

enum { WAIT_SILENTLY_MS = 1000 };

void console_say_help(int key, bool has_break)
{
    char name = (char)tolower(key + '@'), line_break[24] = "";

    if (has_break)
        (void)snprintf(line_break, sizeof(line_break), "^%c b sends a break, ", name);
    log_error("^%c x ends the machine, %s^%c ^%c sends ^%c, ^%c h shows this", name, line_break,
              name, name, name, name);
}

static size_t console_take_input(void *ctx, const uint8_t *data, size_t len)
{
    struct console *console = ctx;

    if (console->serial)
        return serial_receive(console->serial, data, len);
    return console_receive(console->vdev, data, len);
}

static void console_resume_output(void *ctx)
{
    struct console *console = ctx;

    if (console->serial)
        serial_transmit_ready(console->serial);
    else
        console_transmit_ready(console->vdev);
}

/* Whether a message can go out now; it may have the same reader as a console that is stuck. */
static bool can_log(void)
{
    struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };

    return poll(&room, 1, 0) > 0;
}

/* A reader who has gone knows that himself; a full disk is told of. */
static void console_output_failed(void *ctx, int err)
{
    const struct console *console = ctx;
    const char *name = console->serial ? "serial port" : "console";

    if (err == -ETIME && can_log())
        log_error("%s: its reader takes nothing; the guest's last words are lost", name);
    else if (err != -ETIME && err != -EPIPE)
        (void)log_errno(err, "%s: what the guest says from now on is lost", name);
}

static void console_filter_input(void *ctx, uint8_t *data, size_t *len)
{
    struct console *console = ctx;

    switch (escape_filter(&console->escape, data, len)) {
    case ESCAPE_QUIT:
        machine_end(console->machine, OUTCOME_STOPPED, SIGINT);
        break;
    case ESCAPE_BREAK:
        if (console->serial)
            serial_receive_break(console->serial);
        break;
    case ESCAPE_HELP:
        console_say_help(console->escape.key, console->serial != NULL);
        break;
    case ESCAPE_NONE:
        break;
    }
}

static bool console_transmit(void *ctx, const uint8_t *data, size_t len)
{
    struct console *console = ctx;
    bool is_tail = console->serial && console->machine->config->serial.kind == CONSOLE_TAIL;

    if (is_tail)
        tail_add(&console->tail, data, len);
    return is_tail || stream_write(console->stream, data, len);
}

static void console_receive_ready(void *ctx)
{
    struct console *console = ctx;

    stream_receive_ready(console->stream);
}

/* Connects a console's device, whose lock is @guard, with the outside. */
static int open_stream(struct console *console, enum console_index index, pthread_mutex_t *guard)
{
    struct session *session = console->machine->session;
    int key = session->escape_is_active[index] ? console->machine->config->escape_key : -1;
    struct stream_params params = { .loop = console->machine->loop,
                                    .guard = guard,
                                    .input_fd = session->console_input[index],
                                    .output_fd = session->console_output[index],
                                    .filter = key >= 0 ? console_filter_input : NULL,
                                    .receive = console_take_input,
                                    .transmit_ready = console_resume_output,
                                    .output_failed = console_output_failed,
                                    .ctx = console };

    console->escape.key = key;
    return stream_create(&params, &console->stream);
}

int add_serial(struct machine *machine)
{
    struct console *console = &machine->consoles[CONSOLE_SERIAL];
    struct serial_params params = {
        .name = "ttyS0",
        .irq = machine_pin(&machine->pins[LAYOUT_GSI_SERIAL], machine->vm, LAYOUT_GSI_SERIAL),
        .sink = { console_transmit, console_receive_ready, console },
    };
    struct device *serial;
    int err = serial_create(&params, &serial);

    if (!err)
        err = machine_own(machine, serial);
    if (!err)
        err = platform_place_serial(machine, serial);
    if (err)
        return log_errno(err, "serial port");
    console->machine = machine;
    console->serial = serial;
    err = open_stream(console, CONSOLE_SERIAL, serial->lock);
    return err ? log_errno(err, "serial port") : 0;
}

int add_console(struct machine *machine)
{
    struct console *console = &machine->consoles[CONSOLE_VIRTIO];
    struct console_params params = { .mem = machine->mem,
                                     .loop = machine->loop,
                                     .transmit = console_transmit,
                                     .receive_ready = console_receive_ready,
                                     .ctx = console };
    struct virtio_dev *vdev;
    int err;

    if (machine->config->console.kind == CONSOLE_NONE)
        return 0;
    err = console_create(&params, &vdev);
    if (!err)
        err = machine_place_virtio(machine, vdev);
    if (err)
        return log_errno(err, "console");
    console->machine = machine;
    console->vdev = vdev;
    machine_resize_console(machine);
    err = open_stream(console, CONSOLE_VIRTIO, &vdev->lock);
    return err ? log_errno(err, "console") : 0;
}

void machine_resize_console(struct machine *machine)
{
    struct virtio_dev *vdev = machine->consoles[CONSOLE_VIRTIO].vdev;
    uint16_t columns, rows;

    if (!vdev || !terminal_size(machine->session->console_output[CONSOLE_VIRTIO], &columns, &rows))
        return;
    pthread_mutex_lock(&vdev->lock);
    console_resize(vdev, columns, rows);
    pthread_mutex_unlock(&vdev->lock);
}

void machine_stop_consoles(struct machine *machine)
{
    for (size_t i = 0; i < CONSOLE_COUNT; i++) {
        stream_destroy(machine->consoles[i].stream);
        machine->consoles[i].stream = NULL;
    }
}

static void open_terminal(struct session *session, enum console_index index)
{
    session->console_output[index] = STDOUT_FILENO;
    if (!session->config->has_stdin)
        return;
    if (isatty(STDIN_FILENO) && !terminal_is_ours(STDIN_FILENO))
        return;
    session->console_input[index] = STDIN_FILENO;
    if (terminal_make_raw(STDIN_FILENO) == 0)
        session->escape_is_active[index] = true;
}

/* A pipe opens when it has a reader: we wait for one, as everybody does, and say so if it takes
 * long. Nothing is changed yet, so that every signal ends us; --timeout counts already. Returns a
 * descriptor, -ETIME when that is over, or -errno. */
static int open_pipe(const struct session *session, const char *path)
{
    const struct timespec pause = { .tv_nsec = 20 * NS_PER_MS };
    uint64_t limit_ns = session->config->timeout_ms * NS_PER_MS;
    bool has_told = false;

    for (;;) {
        AUTO_CLOSE int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        int err = fd < 0 ? -errno : fd_set_nonblocking(fd, 0);
        uint64_t age_ns = clock_since_ns(session->launch_ns);

        if (err != -ENXIO)
            return err ? err : take_fd(&fd);
        if (limit_ns && age_ns >= limit_ns)
            return -ETIME;
        if (!has_told && age_ns >= WAIT_SILENTLY_MS * NS_PER_MS) {
            log_warn("'%s' is a pipe that nobody reads yet: waiting for a reader", path);
            has_told = true;
        }
        (void)nanosleep(&pause, NULL);
    }
}

static int open_file(struct session *session, enum console_index index, const char *path)
{
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY;
    const mode_t mode = S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH;
    struct stat st;
    bool is_pipe = !stat(path, &st) && S_ISFIFO(st.st_mode);
    int fd = is_pipe ? open_pipe(session, path) : open(path, flags, mode);
    if (fd == -ETIME) {
        log_error("console file '%s': nobody has read this pipe within --timeout", path);
        return fd;
    }
    if (fd < 0)
        return log_errno(is_pipe ? fd : -errno, "console file '%s': open", path);
    session->console_output[index] = fd;
    session->closes_console[index] = true;
    return 0;
}

int session_open_consoles(struct session *session)
{
    const struct console_config *const configs[CONSOLE_COUNT] = {
        [CONSOLE_SERIAL] = &session->config->serial,
        [CONSOLE_VIRTIO] = &session->config->console,
    };
    int err = 0;

    /* Files first: a pipe may be waited for, and in a raw terminal ^C would not help. */
    for (size_t i = 0; !err && i < CONSOLE_COUNT; i++) {
        if (configs[i]->kind == CONSOLE_FILE)
            err = open_file(session, (enum console_index)i, configs[i]->path);
    }
    for (size_t i = 0; !err && i < CONSOLE_COUNT; i++) {
        if (configs[i]->kind == CONSOLE_TTY)
            open_terminal(session, (enum console_index)i);
    }
    return err;
}

void session_close_consoles(struct session *session)
{
    terminal_restore();
    for (size_t i = 0; i < CONSOLE_COUNT; i++) {
        if (session->closes_console[i])
            fd_close(&session->console_output[i]);
    }
}
