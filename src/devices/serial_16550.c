// SPDX-License-Identifier: Apache-2.0
/* The 16550A: see devices/serial_16550.h.
 *
 * How this works: sent bytes leave at once, so the transmitter is empty whenever the guest looks,
 * unless the sink has no room; then it is busy, and takes one FIFO full of bytes more, as the
 * chip would. As no time passes either on the receiving side, bytes below the trigger level
 * would be announced by the character timeout: that is signalled without a wait.
 *
 * Every operation changes the state; serial_update() then derives the interrupt line from it. */
#include "devices/serial_16550.h"

#include <assert.h>
#include <errno.h>
#include <linux/serial_reg.h>
#include <stdlib.h>
#include <string.h>

#include "host/state.h"

enum { SERIAL_STATE_VERSION = 1, FIFO_SIZE = 16 };

enum {
    IER_WRITABLE = UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI,
    MCR_WRITABLE = UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 | UART_MCR_LOOP,
    FCR_KEPT = UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK,
    IIR_FIFOS_ENABLED = 0xc0,
    LSR_CHARACTER_ERRORS = UART_LSR_PE | UART_LSR_FE | UART_LSR_BI,
    MSR_LINES = UART_MSR_CTS | UART_MSR_DSR | UART_MSR_RI | UART_MSR_DCD,
    MSR_PEER_IS_READY = UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD,
};

struct serial_state {
    uint8_t ier, lcr, mcr, msr, scratch;
    uint8_t fcr;         /* its FCR_KEPT bits */
    uint8_t divisor[2];  /* low, high */
    uint8_t overrun;     /* UART_LSR_OE or 0 */
    uint8_t thr_emptied; /* the interrupt of that is due */
    uint8_t tx_busy;     /* the sink has no room */
    uint8_t tx_count;    /* not 0 only while busy */
    uint8_t rx_count;
    uint8_t tx[FIFO_SIZE];
    uint8_t rx[FIFO_SIZE];        /* rx[0] is what the guest reads next ... */
    uint8_t rx_errors[FIFO_SIZE]; /* ... with its LSR_CHARACTER_ERRORS */
};

struct serial {
    struct device dev;
    struct serial_state state;
    struct irq_line irq;
    struct serial_sink sink;
    bool irq_is_high;   /* what the wire was last told: most accesses need no system call */
    bool receive_waits; /* sink.receive_ready is owed */
};

static struct serial *serial_of(struct device *dev)
{
    return container_of(dev, struct serial, dev);
}

static bool fifos_enabled(const struct serial_state *state)
{
    return state->fcr & UART_FCR_ENABLE_FIFO;
}

static unsigned fifo_capacity(const struct serial_state *state)
{
    return fifos_enabled(state) ? FIFO_SIZE : 1;
}

static bool loops_back(const struct serial_state *state)
{
    return state->mcr & UART_MCR_LOOP;
}

/* How many received bytes interrupt as such, rather than by the timeout. */
static unsigned rx_trigger(const struct serial_state *state)
{
    static const uint8_t levels[] = { 1, 4, 8, 14 };

    return fifos_enabled(state) ? levels[state->fcr >> 6] : 1;
}

static uint8_t line_errors(const struct serial_state *state)
{
    return state->overrun | (state->rx_count ? state->rx_errors[0] : 0);
}

/* The interrupt that has priority now, as IIR shows it (data sheet, table IV). */
static uint8_t pending_interrupt(const struct serial_state *state)
{
    if ((state->ier & UART_IER_RLSI) && line_errors(state))
        return UART_IIR_RLSI;
    if ((state->ier & UART_IER_RDI) && state->rx_count)
        return state->rx_count >= rx_trigger(state) ? UART_IIR_RDI : UART_IIR_RX_TIMEOUT;
    if ((state->ier & UART_IER_THRI) && state->thr_emptied)
        return UART_IIR_THRI;
    if ((state->ier & UART_IER_MSI) && (state->msr & UART_MSR_ANY_DELTA))
        return UART_IIR_MSI;
    return UART_IIR_NO_INT;
}

static void update_irq(struct serial *serial)
{
    bool is_high = pending_interrupt(&serial->state) != UART_IIR_NO_INT;

    if (is_high != serial->irq_is_high)
        irq_line_set(&serial->irq, is_high);
    serial->irq_is_high = is_high;
}

/* The end of each operation: the last call may come back with more bytes. */
static void serial_update(struct serial *serial)
{
    update_irq(serial);
    if (serial->receive_waits && serial->state.rx_count == 0 && !loops_back(&serial->state)) {
        serial->receive_waits = false;
        if (serial->sink.receive_ready)
            serial->sink.receive_ready(serial->sink.ctx);
    }
}

/* A character arrives. With no room for it a FIFO stays as it is, but a single holding register
 * is overwritten (data sheet, 8.4). */
static void rx_push(struct serial_state *state, uint8_t byte, uint8_t errors)
{
    if (state->rx_count == fifo_capacity(state)) {
        state->overrun = UART_LSR_OE;
        if (fifos_enabled(state))
            return;
        state->rx_count = 0;
    }
    state->rx[state->rx_count] = byte;
    state->rx_errors[state->rx_count] = errors;
    state->rx_count++;
}

static uint8_t rx_pop(struct serial_state *state)
{
    uint8_t byte = state->rx[0];

    if (state->rx_count == 0)
        return 0;
    state->rx_count--;
    memmove(state->rx, state->rx + 1, state->rx_count);
    memmove(state->rx_errors, state->rx_errors + 1, state->rx_count);
    return byte;
}

static void transmit(struct serial *serial, const uint8_t *data, size_t len)
{
    bool has_room = len == 0 || serial->sink.transmit(serial->sink.ctx, data, len);

    serial->state.tx_busy = !has_room;
    serial->state.thr_emptied = has_room;
}

static void write_thr(struct serial *serial, uint8_t byte)
{
    struct serial_state *state = &serial->state;

    if (loops_back(state)) {
        rx_push(state, byte, 0);
        state->thr_emptied = 1;
    } else if (!state->tx_busy) {
        transmit(serial, &byte, 1);
    } else if (state->tx_count < fifo_capacity(state)) {
        state->tx[state->tx_count++] = byte;
        state->thr_emptied = 0;
    }
}

static void write_ier(struct serial_state *state, uint8_t value)
{
    bool enables_thri = value & ~state->ier & UART_IER_THRI;

    state->ier = value & IER_WRITABLE;
    if (enables_thri && !state->tx_busy)
        state->thr_emptied = 1;
}

static void write_fcr(struct serial_state *state, uint8_t value)
{
    bool enable = value & UART_FCR_ENABLE_FIFO;
    bool toggles = enable != fifos_enabled(state);

    if (toggles || (enable && (value & UART_FCR_CLEAR_RCVR)))
        state->rx_count = 0;
    if (toggles || (enable && (value & UART_FCR_CLEAR_XMIT)))
        state->tx_count = 0;
    state->fcr = enable ? value & FCR_KEPT : 0;
}

static void write_lcr(struct serial_state *state, uint8_t value)
{
    bool starts_break = value & ~state->lcr & UART_LCR_SBC;

    state->lcr = value;
    if (starts_break && loops_back(state))
        rx_push(state, 0, UART_LSR_BI);
}

/* The modem lines as the chip sees them: the peer's, or in loopback its own outputs. */
static uint8_t modem_lines(uint8_t mcr)
{
    uint8_t lines = 0;

    if (!(mcr & UART_MCR_LOOP))
        return MSR_PEER_IS_READY;
    if (mcr & UART_MCR_RTS)
        lines |= UART_MSR_CTS;
    if (mcr & UART_MCR_DTR)
        lines |= UART_MSR_DSR;
    if (mcr & UART_MCR_OUT1)
        lines |= UART_MSR_RI;
    if (mcr & UART_MCR_OUT2)
        lines |= UART_MSR_DCD;
    return lines;
}

static void write_mcr(struct serial_state *state, uint8_t value)
{
    uint8_t lines = modem_lines(value & MCR_WRITABLE);
    uint8_t changed = (state->msr ^ lines) & MSR_LINES;

    /* Each line's delta bit lies four below it; that of RI counts only its falling edge. */
    if (lines & UART_MSR_RI)
        changed &= (uint8_t)~UART_MSR_RI;
    state->mcr = value & MCR_WRITABLE;
    state->msr = lines | (state->msr & UART_MSR_ANY_DELTA) | changed >> 4;
}

static uint8_t read_iir(struct serial_state *state)
{
    uint8_t interrupt = pending_interrupt(state);

    if (interrupt == UART_IIR_THRI)
        state->thr_emptied = 0;
    return interrupt | (fifos_enabled(state) ? IIR_FIFOS_ENABLED : 0);
}

static uint8_t read_lsr(struct serial_state *state)
{
    uint8_t lsr = line_errors(state);

    for (unsigned i = 0; i < state->rx_count && fifos_enabled(state); i++)
        lsr |= state->rx_errors[i] ? UART_LSR_FIFOE : 0;
    lsr |= state->rx_count ? UART_LSR_DR : 0;
    lsr |= state->tx_busy ? 0 : UART_LSR_THRE | UART_LSR_TEMT;
    state->overrun = 0;
    state->rx_errors[0] = 0;
    return lsr;
}

static uint8_t read_msr(struct serial_state *state)
{
    uint8_t msr = state->msr;

    state->msr &= MSR_LINES;
    return msr;
}

static uint8_t read_register(struct serial_state *state, uint64_t offset)
{
    bool dlab = state->lcr & UART_LCR_DLAB;

    switch (offset) {
    case UART_RX:
        return dlab ? state->divisor[0] : rx_pop(state);
    case UART_IER:
        return dlab ? state->divisor[1] : state->ier;
    case UART_IIR:
        return read_iir(state);
    case UART_LCR:
        return state->lcr;
    case UART_MCR:
        return state->mcr;
    case UART_LSR:
        return read_lsr(state);
    case UART_MSR:
        return read_msr(state);
    case UART_SCR:
        return state->scratch;
    default:
        return 0;
    }
}

static void write_register(struct serial *serial, uint64_t offset, uint8_t value)
{
    struct serial_state *state = &serial->state;
    bool dlab = state->lcr & UART_LCR_DLAB;

    switch (offset) {
    case UART_TX:
        if (dlab)
            state->divisor[0] = value;
        else
            write_thr(serial, value);
        break;
    case UART_IER:
        if (dlab)
            state->divisor[1] = value;
        else
            write_ier(state, value);
        break;
    case UART_FCR:
        write_fcr(state, value);
        break;
    case UART_LCR:
        write_lcr(state, value);
        break;
    case UART_MCR:
        write_mcr(state, value);
        break;
    case UART_SCR:
        state->scratch = value;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
}

static uint64_t serial_read(struct device *dev, uint64_t offset, unsigned size)
{
    struct serial *serial = serial_of(dev);

    if (size != 1)
        return 0;
    uint8_t value = read_register(&serial->state, offset);
    serial_update(serial);
    return value;
}

static void serial_write(struct device *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct serial *serial = serial_of(dev);

    if (size != 1)
        return;
    write_register(serial, offset, (uint8_t)value);
    serial_update(serial);
}

size_t serial_receive(struct device *dev, const uint8_t *data, size_t len)
{
    struct serial *serial = serial_of(dev);
    struct serial_state *state = &serial->state;
    size_t taken = 0;

    while (taken < len && state->rx_count < fifo_capacity(state) && !loops_back(state))
        rx_push(state, data[taken++], 0);
    serial->receive_waits = taken < len;
    update_irq(serial);
    return taken;
}

void serial_receive_break(struct device *dev)
{
    struct serial *serial = serial_of(dev);

    if (loops_back(&serial->state))
        return;
    rx_push(&serial->state, 0, UART_LSR_BI);
    serial_update(serial);
}

void serial_transmit_ready(struct device *dev)
{
    struct serial *serial = serial_of(dev);
    struct serial_state *state = &serial->state;
    size_t len = state->tx_count;

    if (!state->tx_busy)
        return;
    state->tx_count = 0;
    transmit(serial, state->tx, len);
    serial_update(serial);
}

static void state_init(struct serial_state *state)
{
    *state = (struct serial_state){
        .divisor = { 1, 0 }, /* 115200 baud: some drivers divide by what they find */
        .msr = MSR_PEER_IS_READY,
    };
}

static void serial_reset(struct device *dev)
{
    struct serial *serial = serial_of(dev);
    bool tx_busy = serial->state.tx_busy;

    state_init(&serial->state);
    serial->state.tx_busy = tx_busy; /* the sink does not know of our reset */
    serial_update(serial);
}

static int serial_save(struct device *dev, struct state_writer *out)
{
    struct serial *serial = serial_of(dev);

    return state_save(out, "serial", SERIAL_STATE_VERSION, &serial->state, sizeof(serial->state));
}

/* Whether a chip can have come into this state. */
static bool state_is_valid(const struct serial_state *state)
{
    uint8_t errors = 0;

    for (unsigned i = 0; i < FIFO_SIZE; i++)
        errors |= state->rx_errors[i];
    return !(state->ier & ~IER_WRITABLE) && !(state->mcr & ~MCR_WRITABLE) &&
           !(state->fcr & ~FCR_KEPT) && (fifos_enabled(state) || !state->fcr) &&
           (state->msr & MSR_LINES) == modem_lines(state->mcr) &&
           !(state->overrun & ~UART_LSR_OE) && !(errors & ~LSR_CHARACTER_ERRORS) &&
           state->thr_emptied <= 1 && state->tx_busy <= 1 &&
           state->tx_count <= (state->tx_busy ? fifo_capacity(state) : 0) &&
           state->rx_count <= fifo_capacity(state);
}

static int serial_load(struct device *dev, struct state_reader *in)
{
    struct serial *serial = serial_of(dev);
    struct serial_state state;

    int err = state_load(in, "serial", SERIAL_STATE_VERSION, &state, sizeof(state));
    if (err)
        return err;
    if (!state_is_valid(&state))
        return -EBADMSG;
    serial->state = state;
    serial_transmit_ready(dev); /* this sink has not said that it has no room */
    serial_update(serial);
    return 0;
}

static void serial_destroy(struct device *dev)
{
    device_fini(dev);
    free(serial_of(dev));
}

static const struct device_ops serial_ops = {
    .read = serial_read,
    .write = serial_write,
    .reset = serial_reset,
    .save = serial_save,
    .load = serial_load,
    .destroy = serial_destroy,
};

int serial_create(const struct serial_params *params, struct device **ret)
{
    struct serial *serial = calloc(1, sizeof(*serial));

    if (!serial)
        return -ENOMEM;
    device_init(&serial->dev, params->name, &serial_ops, NULL);
    serial->irq = params->irq;
    serial->sink = params->sink;
    state_init(&serial->state);
    *ret = &serial->dev;
    return 0;
}
