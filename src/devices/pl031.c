// SPDX-License-Identifier: Apache-2.0
/* The real-time clock of Arm machines (PL031; Arm DDI 0224): a counter of seconds with an alarm.
 *
 * How this works: the counter is the host's time plus an offset, and is never stopped. The alarm is
 * a timer of the kernel on the host's clock, set for the moment at which the counter will be what
 * the match register says, whether or not the guest wants an interrupt of it. A vCPU sets it at any
 * time; the loop hears of it. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "devices/arm_chips.h"
#include "host/clock.h"
#include "host/fd.h"
#include "host/loop.h"
#include "host/state.h"
#include "primecell.h"

enum { PL031_PART = 0x031, PL031_STATE_VERSION = 1 };

enum pl031_register {
    RTC_DATA = 0x00,
    RTC_MATCH = 0x04,
    RTC_LOAD = 0x08,
    RTC_CONTROL = 0x0c,
    RTC_MASK = 0x10, /* 1: interrupts */
    RTC_RAW = 0x14,
    RTC_MASKED = 0x18,
    RTC_CLEAR = 0x1c,
};

enum { INTERRUPT = 1, CONTROL_STARTED = 1 };

struct pl031_state {
    uint32_t offset_s; /* the guest's time minus the host's, both modulo 2^32 */
    uint32_t match, load;
    uint32_t mask, raw; /* INTERRUPT or 0 */
};

struct pl031 {
    struct device dev;
    struct pl031_state state;
    struct irq_line irq;
    int timer_fd;
    struct loop_source *timer;
};

static struct pl031 *pl031_of(struct device *dev)
{
    return container_of(dev, struct pl031, dev);
}

static time_t host_now(void)
{
    return (time_t)(clock_now_ns(CLOCK_REALTIME) / NS_PER_S);
}

static void update_irq(struct pl031 *rtc)
{
    irq_line_set(&rtc->irq, rtc->state.raw & rtc->state.mask);
}

/* A match in this very second has happened. */
static void set_alarm(struct pl031 *rtc)
{
    time_t now = host_now();
    uint32_t left_s = rtc->state.match - ((uint32_t)now + rtc->state.offset_s);
    struct itimerspec when = { .it_value.tv_sec = left_s ? now + left_s : 0 };

    if (!left_s)
        rtc->state.raw = INTERRUPT;
    (void)timerfd_settime(rtc->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    update_irq(rtc);
}

static void on_alarm(void *ctx, unsigned events)
{
    struct pl031 *rtc = ctx;
    uint64_t count;

    (void)events;
    if (read(rtc->timer_fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
        return; /* set anew since it went off */
    rtc->state.raw = INTERRUPT;
    update_irq(rtc);
}

static uint32_t read_register(const struct pl031 *rtc, uint64_t offset)
{
    const struct pl031_state *state = &rtc->state;

    switch (offset) {
    case RTC_DATA:
        return (uint32_t)host_now() + state->offset_s;
    case RTC_MATCH:
        return state->match;
    case RTC_LOAD:
        return state->load;
    case RTC_CONTROL:
        return CONTROL_STARTED;
    case RTC_MASK:
        return state->mask;
    case RTC_RAW:
        return state->raw;
    case RTC_MASKED:
        return state->raw & state->mask;
    default:
        return offset >= PRIMECELL_ID ? primecell_id(PL031_PART, offset) : 0;
    }
}

static uint64_t pl031_read(struct device *dev, uint64_t offset, unsigned size)
{
    if (!primecell_is_register(offset, size))
        return 0;
    return primecell_cut(read_register(pl031_of(dev), offset), size);
}

static void pl031_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct pl031 *rtc = pl031_of(dev);
    struct pl031_state *state = &rtc->state;

    if (!primecell_is_register(offset, size) || size != 4)
        return;
    switch (offset) {
    case RTC_MATCH:
        state->match = (uint32_t)value;
        set_alarm(rtc);
        break;
    case RTC_LOAD:
        state->load = (uint32_t)value;
        state->offset_s = state->load - (uint32_t)host_now();
        set_alarm(rtc);
        break;
    case RTC_MASK:
        state->mask = value & INTERRUPT;
        update_irq(rtc);
        break;
    case RTC_CLEAR:
        state->raw &= ~(uint32_t)value;
        update_irq(rtc);
        break;
    }
}

static void pl031_reset(struct device *dev)
{
    struct pl031 *rtc = pl031_of(dev);

    rtc->state = (struct pl031_state){ 0 };
    set_alarm(rtc);
}

static int pl031_save(struct device *dev, struct state_writer *out)
{
    struct pl031 *rtc = pl031_of(dev);

    return state_save(out, "pl031", PL031_STATE_VERSION, &rtc->state, sizeof(rtc->state));
}

static int pl031_load(struct device *dev, struct state_reader *in)
{
    struct pl031 *rtc = pl031_of(dev);
    struct pl031_state state;

    int err = state_load(in, "pl031", PL031_STATE_VERSION, &state, sizeof(state));
    if (err)
        return err;
    if (state.mask > INTERRUPT || state.raw > INTERRUPT)
        return -EBADMSG;
    rtc->state = state;
    set_alarm(rtc);
    return 0;
}

static void pl031_destroy(struct device *dev)
{
    struct pl031 *rtc = pl031_of(dev);

    loop_remove(rtc->timer);
    fd_close(&rtc->timer_fd);
    device_fini(dev);
    free(rtc);
}

static const struct device_ops pl031_ops = {
    .read = pl031_read,
    .write = pl031_write,
    .reset = pl031_reset,
    .save = pl031_save,
    .load = pl031_load,
    .destroy = pl031_destroy,
};

static int open_timer(struct pl031 *rtc, struct loop *loop)
{
    rtc->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (rtc->timer_fd < 0)
        return -errno;
    return loop_add_fd(loop, rtc->timer_fd, LOOP_READABLE, rtc->dev.lock, on_alarm, rtc,
                       &rtc->timer);
}

int pl031_create(const struct pl031_params *params, struct device **ret)
{
    struct pl031 *rtc = calloc(1, sizeof(*rtc));

    if (!rtc)
        return -ENOMEM;
    device_init(&rtc->dev, "pl031", &pl031_ops, NULL);
    rtc->irq = params->irq;
    rtc->timer_fd = -1;
    int err = open_timer(rtc, params->loop);
    if (err) {
        pl031_destroy(&rtc->dev);
        return err;
    }
    pl031_reset(&rtc->dev);
    *ret = &rtc->dev;
    return 0;
}
