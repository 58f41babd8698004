// SPDX-License-Identifier: Apache-2.0
/* Runs a machine that was built: vCPU threads hand each exit to a bus, the calling thread runs the
 * loop, and whoever is first to know how it ended says so with machine_end(). */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "host/clock.h"
#include "host/fd.h"
#include "host/log.h"
#include "host/signals.h"
#include "machine/status.h"
#include "machine_private.h"

enum { VCPU_STACK_SIZE = 128 * 1024 };

/* --- vCPU threads --- */

/* Answers an access, or a row of them by a string instruction, on a bus. */
static void answer_access(struct bus *bus, const struct vcpu_exit *exit)
{
    uint8_t *data = exit->data;

    for (unsigned i = 0; i < exit->count; i++, data += exit->size) {
        uint64_t value = 0;

        if (exit->is_write) {
            memcpy(&value, data, exit->size); /* little-endian, as the guest */
            (void)bus_write(bus, exit->address, exit->size, value);
        } else {
            (void)bus_read(bus, exit->address, exit->size, &value);
            memcpy(data, &value, exit->size);
        }
    }
}

/* A guest that brought it about is down, as after a triple fault: a kernel that does so is a broken
 * kernel. Otherwise nothing is known of the guest: that is our failure, or the host's. */
static void end_with_failure(struct machine *machine, const struct vcpu *vcpu)
{
    bool is_guests = vcpu_failure_is_guests(vcpu);
    char why[512];

    vcpu_describe_failure(vcpu, why, sizeof(why));
    if (is_guests)
        log_error("the guest went down: %s", why);
    else
        log_error("this host's KVM cannot run the guest any further (`hutch doctor` tells what it "
                  "can): %s",
                  why);
    machine_end(machine, is_guests ? OUTCOME_GUEST_DOWN : OUTCOME_TOOL_ERROR, 0);
}

static void answer_exit(struct machine *machine, const struct vcpu *vcpu,
                        const struct vcpu_exit *exit)
{
    switch (exit->reason) {
    case VCPU_EXIT_NONE:
        break;
    case VCPU_EXIT_PORT:
        answer_access(machine->ports, exit);
        break;
    case VCPU_EXIT_MEMORY:
        answer_access(machine->memory, exit);
        break;
    case VCPU_EXIT_GUEST_DOWN:
        machine_end(machine, OUTCOME_GUEST_DOWN, 0);
        break;
    case VCPU_EXIT_GUEST_OFF:
        machine_end(machine, OUTCOME_POWEROFF, 0);
        break;
    case VCPU_EXIT_GUEST_RESET:
        machine_end_by_reset(machine, exit->is_warm);
        break;
    case VCPU_EXIT_FAILED:
        end_with_failure(machine, vcpu);
        break;
    }
}

static void *run_vcpu(void *arg)
{
    struct vcpu_thread *self = arg;
    struct machine *machine = self->machine;
    struct vcpu_exit exit;

    while (!atomic_load(&machine->is_stopping)) {
        int err = vcpu_run(self->vcpu, &exit);

        if (err) {
            log_errno(err, "KVM: running a vCPU");
            machine_end(machine, OUTCOME_TOOL_ERROR, 0);
            break;
        }
        answer_exit(machine, self->vcpu, &exit);
    }
    return NULL;
}

static int start_vcpus(struct machine *machine)
{
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);

    /* Refused where it is too little: on arm64 a signal keeps the vector registers on the stack,
     * which may be large. What threads get by default is then enough. */
    if (!err)
        (void)pthread_attr_setstacksize(&attr, VCPU_STACK_SIZE);
    for (unsigned i = 0; !err && i < machine->vcpu_count; i++) {
        struct vcpu_thread *self = &machine->vcpus[i];
        char name[16]; /* what the kernel keeps of it */

        err = pthread_create(&self->thread, &attr, run_vcpu, self);
        self->is_started = err == 0;
        (void)snprintf(name, sizeof(name), "vcpu %u", i);
        if (!err)
            (void)pthread_setname_np(self->thread, name);
    }
    pthread_attr_destroy(&attr);
    return err ? log_errno(-err, "a thread for each of %u vCPUs", machine->vcpu_count) : 0;
}

static void join_vcpus(struct machine *machine)
{
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        struct vcpu_thread *thread = &machine->vcpus[i];

        if (!thread->is_started)
            continue;
        vcpu_kick(thread->vcpu, thread->thread);
        (void)pthread_join(thread->thread, NULL);
        thread->is_started = false;
    }
}

/* --- signals and timers, on the loop's thread --- */

static void press_power_button(struct machine *machine)
{
    struct device *chip = machine->power_button;

    pthread_mutex_lock(chip->lock);
    platform_press_power_button(chip);
    pthread_mutex_unlock(chip->lock);
}

static void on_stop_signal(struct machine *machine, int signal_number)
{
    if (machine->stop_signal) {
        machine_end(machine, OUTCOME_STOPPED, (uint32_t)machine->stop_signal);
        return;
    }
    machine->stop_signal = signal_number;
    status_tell_number(machine->config->status_fd,
                       clock_since_ns(machine->session->launch_ns) / NS_PER_MS, "stopping",
                       "signal", (uint64_t)signal_number);
    if (!machine->command.vdev)
        press_power_button(machine);
    else if (!machine_signal_command(machine, signal_number))
        machine_end(machine, OUTCOME_STOPPED, (uint32_t)signal_number);
    (void)loop_set_timer(machine->grace_timer, machine->config->grace_ms * NS_PER_MS);
}

static void resize_all(struct machine *machine)
{
    machine_resize_console(machine);
    machine_resize_command(machine);
}

/* What programs are asked for something else than their end by, and what means nothing to a
 * machine: before there is a command it ends us, as ever. */
static const int signals_of_commands[] = { SIGQUIT, SIGUSR1, SIGUSR2 };
enum { COMMAND_SIGNALS = sizeof(signals_of_commands) / sizeof(signals_of_commands[0]) };

static bool is_for_command(int signal_number)
{
    for (int i = 0; i < COMMAND_SIGNALS; i++) {
        if (signals_of_commands[i] == signal_number)
            return true;
    }
    return false;
}

static void on_signal(void *ctx, unsigned events)
{
    struct machine *machine = ctx;
    struct signalfd_siginfo info;

    (void)events;
    if (read(machine->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    int signal_number = (int)info.ssi_signo;
    if (signal_number == SIGWINCH)
        resize_all(machine);
    else if (!is_for_command(signal_number))
        on_stop_signal(machine, signal_number);
    else if (!machine_signal_command(machine, signal_number))
        machine_end(machine, OUTCOME_STOPPED, (uint32_t)signal_number);
}

static void on_grace_over(void *ctx)
{
    struct machine *machine = ctx;

    log_error("the guest did not shut down within %ju ms of signal %d; ended",
              (uintmax_t)machine->config->grace_ms, machine->stop_signal);
    machine_end(machine, OUTCOME_STOPPED, (uint32_t)machine->stop_signal);
}

static void on_timeout(void *ctx)
{
    machine_end(ctx, OUTCOME_TIMEOUT, 0);
}

static int watch_signals(struct machine *machine)
{
    sigset_t signals;

    sigemptyset(&signals);
    signals_add_unless_ignored(&signals, SIGINT);
    signals_add_unless_ignored(&signals, SIGTERM);
    signals_add_unless_ignored(&signals, SIGHUP);
    for (int i = 0; i < COMMAND_SIGNALS && machine->config->command; i++)
        signals_add_unless_ignored(&signals, signals_of_commands[i]);
    sigaddset(&signals, SIGWINCH);
    /* vCPU threads, made later, inherit the mask: these signals come here only. */
    int err = pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (err)
        return -err;
    machine->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (machine->signal_fd < 0)
        return -errno;
    return loop_add_fd(machine->loop, machine->signal_fd, LOOP_READABLE, NULL, on_signal, machine,
                       &machine->signal_source);
}

/* --timeout counts from launch, over reboots. */
static int start_timeout(struct machine *machine)
{
    uint64_t limit_ns = machine->config->timeout_ms * NS_PER_MS;

    if (limit_ns == 0)
        return 0;
    int err = loop_add_timer(machine->loop, NULL, on_timeout, machine, &machine->timeout_timer);
    if (err)
        return err;
    uint64_t gone_ns = clock_since_ns(machine->session->launch_ns);
    return loop_set_timer(machine->timeout_timer, gone_ns < limit_ns ? limit_ns - gone_ns : 0);
}

static int start_watches(struct machine *machine)
{
    int err = watch_signals(machine);

    if (!err)
        err = loop_add_timer(machine->loop, NULL, on_grace_over, machine, &machine->grace_timer);
    if (!err)
        err = start_timeout(machine);
    if (!err)
        err = machine_start_command(machine);
    return err ? log_errno(err, "waiting for signals and timers") : 0;
}

/* Who was asked to stop and reboots has done its part: it is not started again. */
static void end_instead_of_reboot(struct machine *machine)
{
    if (machine->stop_signal && machine->outcome.kind == OUTCOME_REBOOT &&
        machine->config->on_reboot == ON_REBOOT_RESET)
        machine->outcome =
            (struct outcome){ .kind = OUTCOME_STOPPED, .value = (uint32_t)machine->stop_signal };
}

void machine_run_to_end(struct machine *machine)
{
    int err = start_watches(machine);

    if (!err)
        err = start_vcpus(machine);
    if (!err) {
        err = loop_run(machine->loop);
        if (err)
            log_errno(err, "event loop");
    }
    machine_end(machine, OUTCOME_TOOL_ERROR, 0); /* unless it ended otherwise before */
    join_vcpus(machine);
    end_instead_of_reboot(machine);
    loop_remove(machine->signal_source);
    loop_remove(machine->timeout_timer);
    loop_remove(machine->grace_timer);
    fd_close(&machine->signal_fd);
}
