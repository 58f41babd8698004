// SPDX-License-Identifier: Apache-2.0
/* The real-time clock of a PC (Motorola MC146818A data sheet) with 128 bytes of CMOS RAM.
 *
 * How this works: the time is the host's plus an offset, and is put into registers only when the
 * guest reads one. While register B's SET bit stops the clock, the time registers are bytes like
 * the rest; they are read back into an offset when the clock goes on.
 *
 * A real clock warns of its update by UIP, 244 us ahead, so that a driver does not read half of
 * an old time and half of a new one. A virtual CPU may be held up for longer at any point, so we
 * do it the other way round: UIP is never set, and registers that are read one after the other
 * show the same moment. A new moment begins when a register is read again, when register A is
 * read, and after a second or two. */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "devices/pc_chips.h"
#include "host/clock.h"
#include "host/state.h"

enum { RTC_STATE_VERSION = 1, CMOS_SIZE = 128 };

enum { PORT_INDEX, PORT_DATA };

enum rtc_register {
    RTC_SECONDS = 0x00,
    RTC_MINUTES = 0x02,
    RTC_HOURS = 0x04,
    RTC_WEEKDAY = 0x06, /* 1 is Sunday */
    RTC_DAY = 0x07,
    RTC_MONTH = 0x08,
    RTC_YEAR = 0x09,
    RTC_A = 0x0a,
    RTC_B = 0x0b,
    RTC_C = 0x0c,
    RTC_D = 0x0d,
    RTC_CENTURY = 0x32, /* where PCs have it; ACPI's FADT tells */
};

enum {
    A_UIP = 0x80,
    A_POWER_ON = 0x26, /* 32768 Hz crystal, 1024 Hz rate */
    B_SET = 0x80,
    B_BINARY = 0x04,
    B_24H = 0x02,
    D_VALID = 0x80, /* the battery is good */
    HOURS_PM = 0x80,
};

/* The farthest a guest can set its clock away from ours, over 10000 years and to spare. */
#define OFFSET_MAX_S (INT64_C(20000) * 366 * 86400)

struct rtc_state {
    int64_t offset_s;        /* the guest's time minus the host's */
    uint8_t cmos[CMOS_SIZE]; /* time registers are meant only while the clock is stopped */
    uint8_t index;
    uint8_t reserved[7]; /* 0 */
};

struct rtc {
    struct device dev;
    struct rtc_state state;
    /* The moment that is being read; not worth saving. */
    int64_t shown_s;
    uint64_t shown_registers; /* those that were read of it, a bit each */
};

static struct rtc *rtc_of(struct device *dev)
{
    return container_of(dev, struct rtc, dev);
}

static bool is_time_register(unsigned reg)
{
    return reg == RTC_SECONDS || reg == RTC_MINUTES || reg == RTC_HOURS ||
           (reg >= RTC_WEEKDAY && reg <= RTC_YEAR) || reg == RTC_CENTURY;
}

static bool is_stopped(const struct rtc_state *state)
{
    return state->cmos[RTC_B] & B_SET;
}

static int64_t rtc_now(const struct rtc *rtc)
{
    return (int64_t)(clock_now_ns(CLOCK_REALTIME) / NS_PER_S) + rtc->state.offset_s;
}

static uint8_t encode(const struct rtc_state *state, int value)
{
    return (uint8_t)(state->cmos[RTC_B] & B_BINARY ? value : value / 10 * 16 + value % 10);
}

/* Returns the number, or -1 if it is none. */
static int decode(const struct rtc_state *state, uint8_t value)
{
    if (state->cmos[RTC_B] & B_BINARY)
        return value;
    return (value & 0xf) > 9 || value >> 4 > 9 ? -1 : (value >> 4) * 10 + (value & 0xf);
}

static uint8_t encode_hours(const struct rtc_state *state, int hours)
{
    if (state->cmos[RTC_B] & B_24H)
        return encode(state, hours);
    return encode(state, hours % 12 ? hours % 12 : 12) | (hours >= 12 ? HOURS_PM : 0);
}

static int decode_hours(const struct rtc_state *state, uint8_t value)
{
    if (state->cmos[RTC_B] & B_24H)
        return decode(state, value);
    int hours = decode(state, value & (uint8_t)~HOURS_PM);
    if (hours < 1 || hours > 12)
        return -1;
    return hours % 12 + (value & HOURS_PM ? 12 : 0);
}

/* What time register @reg shows at @time_s. */
static uint8_t encode_register(const struct rtc_state *state, unsigned reg, int64_t time_s)
{
    time_t time = time_s;
    struct tm tm;

    if (!gmtime_r(&time, &tm))
        return 0;
    switch (reg) {
    case RTC_SECONDS:
        return encode(state, tm.tm_sec);
    case RTC_MINUTES:
        return encode(state, tm.tm_min);
    case RTC_HOURS:
        return encode_hours(state, tm.tm_hour);
    case RTC_WEEKDAY:
        return encode(state, tm.tm_wday + 1);
    case RTC_DAY:
        return encode(state, tm.tm_mday);
    case RTC_MONTH:
        return encode(state, tm.tm_mon + 1);
    case RTC_YEAR:
        return encode(state, (tm.tm_year + 1900) % 100);
    default:
        return encode(state, (tm.tm_year + 1900) / 100 % 100);
    }
}

static bool in_range(int value, int min, int max)
{
    return value >= min && value <= max;
}

/* Reads the time out of the registers. Returns false if they show none. */
static bool decode_registers(const struct rtc_state *state, int64_t *time_s)
{
    const uint8_t *cmos = state->cmos;
    int year = decode(state, cmos[RTC_YEAR]);
    int century = decode(state, cmos[RTC_CENTURY]);
    struct tm tm = {
        .tm_sec = decode(state, cmos[RTC_SECONDS]),
        .tm_min = decode(state, cmos[RTC_MINUTES]),
        .tm_hour = decode_hours(state, cmos[RTC_HOURS]),
        .tm_mday = decode(state, cmos[RTC_DAY]),
        .tm_mon = decode(state, cmos[RTC_MONTH]) - 1,
        .tm_year = century * 100 + year - 1900,
    };

    if (!in_range(tm.tm_sec, 0, 59) || !in_range(tm.tm_min, 0, 59) ||
        !in_range(tm.tm_hour, 0, 23) || !in_range(tm.tm_mday, 1, 31) ||
        !in_range(tm.tm_mon, 0, 11) || !in_range(year, 0, 99) || !in_range(century, 0, 99))
        return false;
    *time_s = timegm(&tm);
    return true;
}

static void stop_clock(struct rtc *rtc)
{
    int64_t now_s = rtc_now(rtc);

    for (unsigned reg = 0; reg < CMOS_SIZE; reg++) {
        if (is_time_register(reg))
            rtc->state.cmos[reg] = encode_register(&rtc->state, reg, now_s);
    }
}

/* Goes on from the time in the registers; as if never stopped, if that is none. */
static void start_clock(struct rtc *rtc)
{
    int64_t time_s;

    if (decode_registers(&rtc->state, &time_s))
        rtc->state.offset_s += time_s - rtc_now(rtc);
}

static void begin_moment(struct rtc *rtc)
{
    rtc->shown_s = rtc_now(rtc);
    rtc->shown_registers = 0;
}

static uint8_t read_time(struct rtc *rtc, unsigned reg)
{
    uint64_t bit = UINT64_C(1) << reg;
    int64_t age_s = rtc_now(rtc) - rtc->shown_s;

    if (is_stopped(&rtc->state))
        return rtc->state.cmos[reg];
    if ((rtc->shown_registers & bit) || age_s < 0 || age_s > 1)
        begin_moment(rtc);
    rtc->shown_registers |= bit;
    return encode_register(&rtc->state, reg, rtc->shown_s);
}

static uint8_t read_data(struct rtc *rtc)
{
    unsigned reg = rtc->state.index;

    if (is_time_register(reg))
        return read_time(rtc, reg);
    if (reg == RTC_A)
        begin_moment(rtc);
    return rtc->state.cmos[reg];
}

static void write_b(struct rtc *rtc, uint8_t value)
{
    bool was_stopped = is_stopped(&rtc->state);

    if (!was_stopped && (value & B_SET))
        stop_clock(rtc);
    rtc->state.cmos[RTC_B] = value;
    if (was_stopped && !(value & B_SET))
        start_clock(rtc);
}

static void write_time(struct rtc *rtc, unsigned reg, uint8_t value)
{
    bool was_stopped = is_stopped(&rtc->state);

    if (!was_stopped)
        stop_clock(rtc);
    rtc->state.cmos[reg] = value;
    if (!was_stopped)
        start_clock(rtc);
}

static void write_data(struct rtc *rtc, uint8_t value)
{
    unsigned reg = rtc->state.index;

    if (is_time_register(reg)) {
        write_time(rtc, reg, value);
        begin_moment(rtc);
    } else if (reg == RTC_B) {
        write_b(rtc, value);
        begin_moment(rtc);
    } else if (reg == RTC_A) {
        rtc->state.cmos[RTC_A] = value & (uint8_t)~A_UIP;
    } else if (reg != RTC_C && reg != RTC_D) {
        rtc->state.cmos[reg] = value;
    }
}

static uint64_t rtc_read(struct device *dev, uint64_t offset, unsigned size)
{
    return size == 1 && offset == PORT_DATA ? read_data(rtc_of(dev)) : 0;
}

static void rtc_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    if (size != 1)
        return;
    if (offset == PORT_INDEX)
        rtc_of(dev)->state.index = value & 0x7f; /* bit 7 gates the NMI, of which there is none */
    else if (offset == PORT_DATA)
        write_data(rtc_of(dev), (uint8_t)value);
}

static void rtc_reset(struct device *dev)
{
    struct rtc *rtc = rtc_of(dev);

    rtc->state = (struct rtc_state){
        .cmos = { [RTC_A] = A_POWER_ON, [RTC_B] = B_24H, [RTC_D] = D_VALID },
    };
    begin_moment(rtc);
}

static int rtc_save(struct device *dev, struct state_writer *out)
{
    struct rtc *rtc = rtc_of(dev);

    return state_save(out, "rtc", RTC_STATE_VERSION, &rtc->state, sizeof(rtc->state));
}

static bool state_is_valid(const struct rtc_state *state)
{
    for (size_t i = 0; i < sizeof(state->reserved); i++) {
        if (state->reserved[i])
            return false;
    }
    return state->offset_s >= -OFFSET_MAX_S && state->offset_s <= OFFSET_MAX_S &&
           state->index < CMOS_SIZE && !(state->cmos[RTC_A] & A_UIP) && state->cmos[RTC_C] == 0 &&
           state->cmos[RTC_D] == D_VALID;
}

static int rtc_load(struct device *dev, struct state_reader *in)
{
    struct rtc *rtc = rtc_of(dev);
    struct rtc_state state;

    int err = state_load(in, "rtc", RTC_STATE_VERSION, &state, sizeof(state));
    if (err)
        return err;
    if (!state_is_valid(&state))
        return -EBADMSG;
    rtc->state = state;
    begin_moment(rtc);
    return 0;
}

static void rtc_destroy(struct device *dev)
{
    device_fini(dev);
    free(rtc_of(dev));
}

static const struct device_ops rtc_ops = {
    .read = rtc_read,
    .write = rtc_write,
    .reset = rtc_reset,
    .save = rtc_save,
    .load = rtc_load,
    .destroy = rtc_destroy,
};

int rtc_create(struct device **ret)
{
    struct rtc *rtc = calloc(1, sizeof(*rtc));

    if (!rtc)
        return -ENOMEM;
    device_init(&rtc->dev, "rtc", &rtc_ops, NULL);
    rtc_reset(&rtc->dev);
    *ret = &rtc->dev;
    return 0;
}
