// SPDX-License-Identifier: Apache-2.0
/* The 16550A, as drivers use it and as they must not. */
#include "devices/serial_16550.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "device_fakes.h"

enum { FIFOS_ON = 0xc0, IIR_SHOWN = 0x0f, ALL_INTERRUPTS = 0x0f };

struct line {
    struct device *serial;
    bool irq;
    unsigned irq_changes;
    uint8_t sent[64];
    size_t sent_len, room;
    unsigned ready_count;
};

static void line_irq(void *ctx, bool high)
{
    struct line *line = ctx;

    line->irq = high;
    line->irq_changes++;
}

static bool line_transmit(void *ctx, const uint8_t *data, size_t len)
{
    struct line *line = ctx;

    assert_true(len > 0 && len <= sizeof(line->sent) - line->sent_len);
    memcpy(line->sent + line->sent_len, data, len);
    line->sent_len += len;
    return line->sent_len < line->room;
}

static void line_receive_ready(void *ctx)
{
    ((struct line *)ctx)->ready_count++;
}

static void line_init(struct line *line)
{
    struct serial_params params = {
        .name = "com1",
        .irq = { line_irq, line },
        .sink = { line_transmit, line_receive_ready, line },
    };

    *line = (struct line){ .room = sizeof(line->sent) };
    assert_int_equal(serial_create(&params, &line->serial), 0);
}

static int setup(void **state)
{
    static struct line line;

    line_init(&line);
    *state = &line;
    return 0;
}

static int teardown(void **state)
{
    device_destroy(((struct line *)*state)->serial);
    return 0;
}

static size_t receive(struct line *line, const char *text)
{
    return serial_receive(line->serial, (const uint8_t *)text, strlen(text));
}

static void enable_fifos(struct line *line, uint8_t trigger)
{
    out8(line->serial, UART_FCR, UART_FCR_ENABLE_FIFO | trigger);
}

/* --- identity --- */

/* The steps of Linux's 8250 driver that tell a 16550A from its relatives. */
static void a_probe_finds_a_16550a(void **state)
{
    struct device *dev = ((struct line *)*state)->serial;

    /* Four bits of IER exist. */
    out8(dev, UART_IER, 0);
    assert_int_equal(in8(dev, UART_IER) & 0x0f, 0);
    out8(dev, UART_IER, 0x0f);
    assert_int_equal(in8(dev, UART_IER) & 0x0f, 0x0f);
    out8(dev, UART_IER, 0);
    /* In loopback the outputs come back as inputs. */
    out8(dev, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
    assert_int_equal(in8(dev, UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
    out8(dev, UART_MCR, 0);
    /* No enhanced feature register; FIFOs of the working kind. */
    out8(dev, UART_LCR, UART_LCR_CONF_MODE_B);
    out8(dev, UART_EFR, 0);
    out8(dev, UART_LCR, 0);
    out8(dev, UART_FCR, UART_FCR_ENABLE_FIFO);
    assert_int_equal(in8(dev, UART_IIR) & FIFOS_ON, FIFOS_ON);
    out8(dev, UART_LCR, UART_LCR_CONF_MODE_A);
    assert_int_not_equal(in8(dev, UART_EFR), 0); /* 0 would be a 16650's */
    out8(dev, UART_LCR, UART_LCR_CONF_MODE_B);
    assert_int_not_equal(in8(dev, UART_EFR), 0);
    /* Not a 16750 with 64-byte FIFOs: bit 5 stays 0. */
    out8(dev, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
    assert_int_equal(in8(dev, UART_IIR) >> 5, 6);
    out8(dev, UART_LCR, 0);
    /* Not an XScale's: no unit enable bit. */
    out8(dev, UART_IER, UART_IER_UUE);
    assert_int_equal(in8(dev, UART_IER), 0);
}

static void without_fifos_it_shows_none(void **state)
{
    struct device *dev = ((struct line *)*state)->serial;

    assert_int_equal(in8(dev, UART_IIR), UART_IIR_NO_INT);
    out8(dev, UART_FCR, UART_FCR_TRIGGER_14); /* ignored without the enable bit */
    assert_int_equal(in8(dev, UART_IIR), UART_IIR_NO_INT);
}

static void the_scratch_register_keeps_any_value(void **state)
{
    struct device *dev = ((struct line *)*state)->serial;

    for (unsigned value = 0; value < 256; value++) {
        out8(dev, UART_SCR, (uint8_t)value);
        assert_int_equal(in8(dev, UART_SCR), value);
    }
}

static void the_divisor_is_behind_dlab_and_starts_usable(void **state)
{
    struct line *line = *state;
    struct device *dev = line->serial;

    out8(dev, UART_LCR, UART_LCR_DLAB);
    assert_int_equal(in8(dev, UART_DLL) | in8(dev, UART_DLM) << 8, 1);
    out8(dev, UART_DLL, 0x34);
    out8(dev, UART_DLM, 0x12);
    out8(dev, UART_LCR, UART_LCR_WLEN8);
    assert_int_equal(in8(dev, UART_IER), 0);
    assert_int_equal(line->sent_len, 0);
    out8(dev, UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
    assert_int_equal(in8(dev, UART_DLL), 0x34);
    assert_int_equal(in8(dev, UART_DLM), 0x12);
    assert_int_equal(in8(dev, UART_LCR), UART_LCR_DLAB | UART_LCR_WLEN8);
}

/* --- sending --- */

static void a_sent_byte_is_gone_at_once(void **state)
{
    struct line *line = *state;

    out8(line->serial, UART_TX, 'h');
    out8(line->serial, UART_TX, 'i');

    assert_int_equal(line->sent_len, 2);
    assert_memory_equal(line->sent, "hi", 2);
    assert_int_equal(in8(line->serial, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
}

static void enabling_the_transmit_interrupt_raises_it_each_time(void **state)
{
    struct line *line = *state;

    for (int i = 0; i < 2; i++) {
        out8(line->serial, UART_IER, UART_IER_THRI);
        assert_true(line->irq);
        assert_int_equal(in8(line->serial, UART_IIR), UART_IIR_THRI);
        assert_false(line->irq);
        assert_int_equal(in8(line->serial, UART_IIR), UART_IIR_NO_INT);
        out8(line->serial, UART_IER, 0);
    }
}

static void a_sent_byte_raises_the_transmit_interrupt_again(void **state)
{
    struct line *line = *state;
    out8(line->serial, UART_IER, UART_IER_THRI);
    (void)in8(line->serial, UART_IIR);
    assert_false(line->irq);

    out8(line->serial, UART_TX, 'x');

    assert_true(line->irq);
    assert_int_equal(in8(line->serial, UART_IIR), UART_IIR_THRI);
}

static void reading_iir_clears_only_the_interrupt_it_shows(void **state)
{
    struct line *line = *state;
    out8(line->serial, UART_IER, UART_IER_THRI | UART_IER_RDI);
    receive(line, "a");

    assert_int_equal(in8(line->serial, UART_IIR), UART_IIR_RDI);
    assert_int_equal(in8(line->serial, UART_RX), 'a');

    assert_true(line->irq);
    assert_int_equal(in8(line->serial, UART_IIR), UART_IIR_THRI);
    assert_false(line->irq);
}

static void a_full_sink_makes_the_transmitter_busy_until_it_is_ready(void **state)
{
    struct line *line = *state;
    enable_fifos(line, 0);
    out8(line->serial, UART_IER, UART_IER_THRI);
    (void)in8(line->serial, UART_IIR);
    line->room = 1;

    out8(line->serial, UART_TX, 'a'); /* taken, but no room for more */
    assert_int_equal(in8(line->serial, UART_LSR), 0);
    assert_false(line->irq);
    out8(line->serial, UART_TX, 'b');
    out8(line->serial, UART_TX, 'c');
    assert_int_equal(line->sent_len, 1);

    line->room = 64;
    serial_transmit_ready(line->serial);
    assert_memory_equal(line->sent, "abc", 3);
    assert_int_equal(in8(line->serial, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_true(line->irq);
    serial_transmit_ready(line->serial); /* says nothing new */
    assert_int_equal(line->sent_len, 3);
}

static void the_sink_may_be_full_again_at_once(void **state)
{
    struct line *line = *state;
    enable_fifos(line, 0);
    line->room = 1;
    out8(line->serial, UART_TX, 'a');
    out8(line->serial, UART_TX, 'b');

    line->room = 2;
    serial_transmit_ready(line->serial);
    assert_int_equal(line->sent_len, 2);
    assert_int_equal(in8(line->serial, UART_LSR), 0);

    line->room = 64;
    serial_transmit_ready(line->serial);
    assert_int_equal(line->sent_len, 2);
    assert_int_equal(in8(line->serial, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
}

static void a_busy_transmitter_takes_one_fifo_full(void **state)
{
    struct line *line = *state;
    enable_fifos(line, 0);
    line->room = 1;
    out8(line->serial, UART_TX, 0);

    for (uint8_t i = 1; i < 40; i++)
        out8(line->serial, UART_TX, i);

    line->room = 64;
    serial_transmit_ready(line->serial);
    assert_int_equal(line->sent_len, 17);
    for (uint8_t i = 0; i < 17; i++)
        assert_int_equal(line->sent[i], i);
}

static void clearing_the_transmit_fifo_drops_what_waits(void **state)
{
    struct line *line = *state;
    enable_fifos(line, 0);
    line->room = 1;
    out8(line->serial, UART_TX, 'a');
    out8(line->serial, UART_TX, 'b');

    out8(line->serial, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_XMIT);

    line->room = 64;
    serial_transmit_ready(line->serial);
    assert_int_equal(line->sent_len, 1);
}

/* --- receiving --- */

static void a_received_byte_raises_the_irq_until_it_is_read(void **state)
{
    struct line *line = *state;
    out8(line->serial, UART_IER, UART_IER_RDI);
    assert_false(line->irq);

    assert_int_equal(receive(line, "x"), 1);
    assert_true(line->irq);
    assert_int_equal(in8(line->serial, UART_LSR) & UART_LSR_DR, UART_LSR_DR);
    assert_int_equal(in8(line->serial, UART_IIR), UART_IIR_RDI);
    assert_true(line->irq);
    assert_int_equal(in8(line->serial, UART_RX), 'x');
    assert_false(line->irq);
    assert_int_equal(in8(line->serial, UART_LSR) & UART_LSR_DR, 0);
    assert_int_equal(in8(line->serial, UART_RX), 0);
}

static void no_interrupt_that_is_not_enabled(void **state)
{
    struct line *line = *state;

    receive(line, "x");
    out8(line->serial, UART_TX, 'y');
    serial_receive_break(line->serial);
    out8(line->serial, UART_MCR, UART_MCR_LOOP);

    assert_false(line->irq);
    assert_int_equal(in8(line->serial, UART_IIR), UART_IIR_NO_INT);
}

static void below_the_trigger_level_the_timeout_is_signalled_at_once(void **state)
{
    static const struct {
        uint8_t fcr, level;
    } triggers[] = {
        { UART_FCR_TRIGGER_1, 1 },
        { UART_FCR_TRIGGER_4, 4 },
        { UART_FCR_TRIGGER_8, 8 },
        { UART_FCR_TRIGGER_14, 14 },
    };
    struct line *line = *state;
    out8(line->serial, UART_IER, UART_IER_RDI);

    for (size_t t = 0; t < sizeof(triggers) / sizeof(triggers[0]); t++) {
        enable_fifos(line, triggers[t].fcr | UART_FCR_CLEAR_RCVR);
        for (uint8_t count = 1; count <= 16; count++) {
            receive(line, "x");
            uint8_t expected = count >= triggers[t].level ? UART_IIR_RDI : UART_IIR_RX_TIMEOUT;
            assert_int_equal(in8(line->serial, UART_IIR) & IIR_SHOWN, expected);
            assert_true(line->irq);
        }
    }
}

static void takes_a_fifo_full_and_asks_for_the_rest_when_it_is_read(void **state)
{
    struct line *line = *state;
    enable_fifos(line, 0);

    assert_int_equal(receive(line, "0123456789abcdefXYZ"), 16);
    for (int i = 0; i < 15; i++)
        assert_int_equal(in8(line->serial, UART_RX), "0123456789abcdef"[i]);
    assert_int_equal(line->ready_count, 0);
    assert_int_equal(in8(line->serial, UART_RX), 'f');
    assert_int_equal(line->ready_count, 1);
    assert_int_equal(receive(line, "XYZ"), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(in8(line->serial, UART_RX), "XYZ"[i]);
    assert_int_equal(line->ready_count, 1); /* nothing was left over this time */
    assert_int_equal(in8(line->serial, UART_LSR) & UART_LSR_OE, 0);
}

static void without_fifos_it_takes_one_byte(void **state)
{
    struct line *line = *state;

    assert_int_equal(receive(line, "ab"), 1);
    assert_int_equal(in8(line->serial, UART_RX), 'a');
    assert_int_equal(line->ready_count, 1);
}

static void clearing_the_receive_fifo_makes_room(void **state)
{
    struct line *line = *state;
    enable_fifos(line, 0);
    assert_int_equal(receive(line, "0123456789abcdefXYZ"), 16);

    out8(line->serial, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);

    assert_int_equal(line->ready_count, 1);
    assert_int_equal(in8(line->serial, UART_LSR) & UART_LSR_DR, 0);
}

static void switching_the_fifos_off_empties_them(void **state)
{
    struct line *line = *state;
    enable_fifos(line, 0);
    receive(line, "abc");

    out8(line->serial, UART_FCR, 0);

    assert_int_equal(in8(line->serial, UART_LSR) & UART_LSR_DR, 0);
    assert_int_equal(in8(line->serial, UART_IIR) & FIFOS_ON, 0);
}

static void a_break_is_an_error_of_the_character_it_comes_as(void **state)
{
    struct line *line = *state;
    enable_fifos(line, 0);
    out8(line->serial, UART_IER, UART_IER_RLSI | UART_IER_RDI);
    receive(line, "a");
    serial_receive_break(line->serial);
    receive(line, "h");

    assert_int_equal(in8(line->serial, UART_LSR),
                     UART_LSR_FIFOE | UART_LSR_DR | UART_LSR_THRE | UART_LSR_TEMT);
    assert_int_equal(in8(line->serial, UART_RX), 'a');
    assert_int_equal(in8(line->serial, UART_IIR) & IIR_SHOWN, UART_IIR_RLSI);
    assert_int_equal(in8(line->serial, UART_LSR) & (UART_LSR_BI | UART_LSR_DR),
                     UART_LSR_BI | UART_LSR_DR);
    assert_int_equal(in8(line->serial, UART_IIR) & IIR_SHOWN, UART_IIR_RDI);
    assert_int_equal(in8(line->serial, UART_RX), 0);
    assert_int_equal(in8(line->serial, UART_RX), 'h');
    assert_int_equal(in8(line->serial, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
    assert_false(line->irq);
}

/* --- loopback --- */

static void loopback_brings_sent_bytes_back_and_sends_nothing(void **state)
{
    struct line *line = *state;
    enable_fifos(line, 0);
    out8(line->serial, UART_MCR, UART_MCR_LOOP);

    out8(line->serial, UART_TX, 'a');
    out8(line->serial, UART_TX, 'b');

    assert_int_equal(line->sent_len, 0);
    assert_int_equal(in8(line->serial, UART_RX), 'a');
    assert_int_equal(in8(line->serial, UART_RX), 'b');
}

static void loopback_can_overrun_and_keeps_the_fifo(void **state)
{
    struct line *line = *state;
    enable_fifos(line, 0);
    out8(line->serial, UART_IER, UART_IER_RLSI);
    out8(line->serial, UART_MCR, UART_MCR_LOOP);

    for (uint8_t i = 0; i < 17; i++)
        out8(line->serial, UART_TX, i);

    assert_true(line->irq);
    assert_int_equal(in8(line->serial, UART_IIR) & IIR_SHOWN, UART_IIR_RLSI);
    assert_int_equal(in8(line->serial, UART_LSR) & UART_LSR_OE, UART_LSR_OE);
    assert_int_equal(in8(line->serial, UART_LSR) & UART_LSR_OE, 0);
    assert_false(line->irq);
    for (uint8_t i = 0; i < 16; i++)
        assert_int_equal(in8(line->serial, UART_RX), i);
}

static void a_holding_register_is_overwritten_by_an_overrun(void **state)
{
    struct device *dev = ((struct line *)*state)->serial;
    out8(dev, UART_MCR, UART_MCR_LOOP);

    out8(dev, UART_TX, 'a');
    out8(dev, UART_TX, 'b');

    assert_int_equal(in8(dev, UART_LSR) & (UART_LSR_OE | UART_LSR_DR), UART_LSR_OE | UART_LSR_DR);
    assert_int_equal(in8(dev, UART_RX), 'b');
    assert_int_equal(in8(dev, UART_LSR) & UART_LSR_DR, 0);
}

static void loopback_returns_a_break(void **state)
{
    struct device *dev = ((struct line *)*state)->serial;
    out8(dev, UART_LCR, UART_LCR_SBC); /* not heard outside */
    assert_int_equal(in8(dev, UART_LSR) & UART_LSR_BI, 0);
    out8(dev, UART_LCR, 0);

    out8(dev, UART_MCR, UART_MCR_LOOP);
    out8(dev, UART_LCR, UART_LCR_SBC);

    assert_int_equal(in8(dev, UART_LSR) & UART_LSR_BI, UART_LSR_BI);
    assert_int_equal(in8(dev, UART_RX), 0);
}

static void input_waits_while_in_loopback(void **state)
{
    struct line *line = *state;
    out8(line->serial, UART_MCR, UART_MCR_LOOP);

    assert_int_equal(receive(line, "a"), 0);
    serial_receive_break(line->serial);
    assert_int_equal(in8(line->serial, UART_LSR) & UART_LSR_DR, 0);
    assert_int_equal(line->ready_count, 0);
    out8(line->serial, UART_MCR, 0);

    assert_int_equal(line->ready_count, 1);
    assert_int_equal(receive(line, "a"), 1);
}

static void modem_lines_show_a_peer_that_is_always_ready(void **state)
{
    struct line *line = *state;

    assert_int_equal(in8(line->serial, UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
    out8(line->serial, UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
    assert_int_equal(in8(line->serial, UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
    assert_int_equal(in8(line->serial, UART_MCR), UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
}

static void changes_of_modem_lines_interrupt_until_read(void **state)
{
    struct line *line = *state;
    out8(line->serial, UART_IER, UART_IER_MSI);
    out8(line->serial, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1 | UART_MCR_OUT2);

    assert_true(line->irq);
    assert_int_equal(in8(line->serial, UART_IIR), UART_IIR_MSI);
    assert_int_equal(in8(line->serial, UART_MSR),
                     UART_MSR_RI | UART_MSR_DCD | UART_MSR_DDSR | UART_MSR_DCTS);
    assert_false(line->irq);
    out8(line->serial, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2);
    assert_int_equal(in8(line->serial, UART_MSR), UART_MSR_DCD | UART_MSR_TERI);
}

/* --- whole chip --- */

static void interrupts_come_in_order_of_priority(void **state)
{
    struct line *line = *state;
    struct device *dev = line->serial;
    enable_fifos(line, UART_FCR_TRIGGER_4);
    out8(dev, UART_IER, ALL_INTERRUPTS);
    out8(dev, UART_MCR, UART_MCR_LOOP);
    out8(dev, UART_MCR, 0);
    serial_receive_break(dev);
    receive(line, "abcd");

    assert_int_equal(in8(dev, UART_IIR) & IIR_SHOWN, UART_IIR_RLSI);
    (void)in8(dev, UART_LSR);
    assert_int_equal(in8(dev, UART_IIR) & IIR_SHOWN, UART_IIR_RDI);
    (void)in8(dev, UART_RX);
    (void)in8(dev, UART_RX);
    assert_int_equal(in8(dev, UART_IIR) & IIR_SHOWN, UART_IIR_RX_TIMEOUT);
    for (int i = 0; i < 3; i++)
        (void)in8(dev, UART_RX);
    assert_int_equal(in8(dev, UART_IIR) & IIR_SHOWN, UART_IIR_THRI);
    assert_int_equal(in8(dev, UART_IIR) & IIR_SHOWN, UART_IIR_MSI);
    (void)in8(dev, UART_MSR);
    assert_int_equal(in8(dev, UART_IIR) & IIR_SHOWN, UART_IIR_NO_INT);
    assert_false(line->irq);
}

static void the_wire_is_set_only_when_it_changes(void **state)
{
    struct line *line = *state;
    out8(line->serial, UART_IER, UART_IER_RDI);

    for (int i = 0; i < 10; i++) {
        out8(line->serial, UART_TX, 'x');
        (void)in8(line->serial, UART_LSR);
    }
    assert_int_equal(line->irq_changes, 0);
    receive(line, "a");
    (void)in8(line->serial, UART_LSR);
    assert_int_equal(line->irq_changes, 1);
    (void)in8(line->serial, UART_RX);
    assert_int_equal(line->irq_changes, 2);
}

static void accesses_that_are_not_bytes_mean_nothing(void **state)
{
    struct line *line = *state;

    write_reg(line->serial, UART_TX, 2, 0x4142);
    write_reg(line->serial, UART_SCR, 4, 0x41424344);

    assert_int_equal(line->sent_len, 0);
    assert_int_equal(read_reg(line->serial, UART_LSR, 2), 0);
    assert_int_equal(in8(line->serial, UART_SCR), 0);
}

static void reset_gives_a_new_chip(void **state)
{
    struct line *line = *state;
    struct device *dev = line->serial;
    enable_fifos(line, 0);
    receive(line, "abc");
    out8(dev, UART_IER, ALL_INTERRUPTS);
    out8(dev, UART_MCR, UART_MCR_LOOP);
    out8(dev, UART_LCR, UART_LCR_WLEN8);
    assert_true(line->irq);

    dev->ops->reset(dev);

    assert_false(line->irq);
    assert_int_equal(in8(dev, UART_IER), 0);
    assert_int_equal(in8(dev, UART_IIR), UART_IIR_NO_INT);
    assert_int_equal(in8(dev, UART_LCR), 0);
    assert_int_equal(in8(dev, UART_MCR), 0);
    assert_int_equal(in8(dev, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
}

static void a_full_sink_is_remembered_across_a_reset(void **state)
{
    struct line *line = *state;
    line->room = 1;
    out8(line->serial, UART_TX, 'a');

    line->serial->ops->reset(line->serial);

    assert_int_equal(in8(line->serial, UART_LSR), 0);
    serial_transmit_ready(line->serial);
    assert_int_equal(in8(line->serial, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
}

static void a_loaded_chip_goes_on_where_the_saved_one_was(void **state)
{
    struct line *line = *state;
    struct line copy;
    line_init(&copy);
    enable_fifos(line, UART_FCR_TRIGGER_14);
    out8(line->serial, UART_IER, UART_IER_RDI | UART_IER_THRI);
    receive(line, "abc");
    serial_receive_break(line->serial);
    out8(line->serial, UART_SCR, 0x5a);
    line->room = 1;
    out8(line->serial, UART_TX, '1');
    out8(line->serial, UART_TX, '2');

    assert_int_equal(carry_over(line->serial, copy.serial), 0);

    assert_true(copy.irq);
    assert_memory_equal(copy.sent, "2", 1); /* what the full sink had not taken */
    assert_int_equal(in8(copy.serial, UART_SCR), 0x5a);
    assert_int_equal(in8(copy.serial, UART_IIR), FIFOS_ON | UART_IIR_RX_TIMEOUT);
    for (int i = 0; i < 3; i++)
        assert_int_equal(in8(copy.serial, UART_RX), "abc"[i]);
    assert_int_equal(in8(copy.serial, UART_LSR) & UART_LSR_BI, UART_LSR_BI);
    (void)in8(copy.serial, UART_RX);
    assert_int_equal(in8(copy.serial, UART_IIR), FIFOS_ON | UART_IIR_THRI);
    device_destroy(copy.serial);
}

/* Flips each bit of a saved state in turn: what is loaded must not make the chip misbehave. */
static void a_corrupt_state_is_refused_or_harmless(void **state)
{
    struct line *line = *state;
    struct state_writer out = { .data = NULL };
    unsigned refused = 0;
    enable_fifos(line, 0);
    receive(line, "abcdefgh");
    assert_int_equal(line->serial->ops->save(line->serial, &out), 0);

    for (size_t bit = 0; bit < out.len * 8; bit++) {
        struct line copy;
        line_init(&copy);
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        struct state_reader in = { .data = out.data, .len = out.len };
        if (copy.serial->ops->load(copy.serial, &in)) {
            refused++;
            copy.serial->ops->reset(copy.serial);
        }
        for (int i = 0; i < 20; i++)
            (void)in8(copy.serial, UART_RX);
        (void)receive(&copy, "0123456789abcdefgh");
        device_destroy(copy.serial);
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(refused >= 48 * 8); /* at least all of the record's header */
    state_writer_fini(&out);
}

#define serial_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        serial_test(a_probe_finds_a_16550a),
        serial_test(without_fifos_it_shows_none),
        serial_test(the_scratch_register_keeps_any_value),
        serial_test(the_divisor_is_behind_dlab_and_starts_usable),
        serial_test(a_sent_byte_is_gone_at_once),
        serial_test(enabling_the_transmit_interrupt_raises_it_each_time),
        serial_test(a_sent_byte_raises_the_transmit_interrupt_again),
        serial_test(reading_iir_clears_only_the_interrupt_it_shows),
        serial_test(a_full_sink_makes_the_transmitter_busy_until_it_is_ready),
        serial_test(the_sink_may_be_full_again_at_once),
        serial_test(a_busy_transmitter_takes_one_fifo_full),
        serial_test(clearing_the_transmit_fifo_drops_what_waits),
        serial_test(a_received_byte_raises_the_irq_until_it_is_read),
        serial_test(no_interrupt_that_is_not_enabled),
        serial_test(below_the_trigger_level_the_timeout_is_signalled_at_once),
        serial_test(takes_a_fifo_full_and_asks_for_the_rest_when_it_is_read),
        serial_test(without_fifos_it_takes_one_byte),
        serial_test(clearing_the_receive_fifo_makes_room),
        serial_test(switching_the_fifos_off_empties_them),
        serial_test(a_break_is_an_error_of_the_character_it_comes_as),
        serial_test(loopback_brings_sent_bytes_back_and_sends_nothing),
        serial_test(loopback_can_overrun_and_keeps_the_fifo),
        serial_test(a_holding_register_is_overwritten_by_an_overrun),
        serial_test(loopback_returns_a_break),
        serial_test(input_waits_while_in_loopback),
        serial_test(modem_lines_show_a_peer_that_is_always_ready),
        serial_test(changes_of_modem_lines_interrupt_until_read),
        serial_test(interrupts_come_in_order_of_priority),
        serial_test(the_wire_is_set_only_when_it_changes),
        serial_test(accesses_that_are_not_bytes_mean_nothing),
        serial_test(reset_gives_a_new_chip),
        serial_test(a_full_sink_is_remembered_across_a_reset),
        serial_test(a_loaded_chip_goes_on_where_the_saved_one_was),
        serial_test(a_corrupt_state_is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
