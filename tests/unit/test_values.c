// SPDX-License-Identifier: Apache-2.0
/* Numbers, sizes, times, words and rows of sub-options. */
#include "cli/values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static const uint64_t untouched = 4711;

static void a_plain_size_counts_mib(void **state)
{
    uint64_t size = 0;
    (void)state;

    assert_int_equal(value_size("512", &size), 0);
    assert_int_equal(size, UINT64_C(512) << 20);
}

static void a_suffix_is_a_power_of_1024_in_either_case(void **state)
{
    static const struct {
        const char *text;
        uint64_t size;
    } cases[] = { { "3K", UINT64_C(3) << 10 },
                  { "3M", UINT64_C(3) << 20 },
                  { "3g", UINT64_C(3) << 30 },
                  { "3T", UINT64_C(3) << 40 },
                  { "0K", 0 },
                  { "16383T", UINT64_C(16383) << 40 } };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t size = untouched;
        assert_int_equal(value_size(cases[i].text, &size), 0);
        assert_int_equal(size, cases[i].size);
    }
}

static void refuses_what_is_no_size_and_leaves_the_output(void **state)
{
    static const char *const texts[] = { "",     "K",    "-1",  "+1",  " 1",  "1 ",
                                         "0x10", "1.5G", "1MB", "1KK", "1,5", "one" };
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint64_t size = untouched;
        assert_int_equal(value_size(texts[i], &size), -EINVAL);
        assert_int_equal(size, untouched);
    }
}

static void refuses_sizes_beyond_64_bits(void **state)
{
    uint64_t size = untouched;
    (void)state;

    assert_int_equal(value_size("16777216T", &size), -ERANGE);
    assert_int_equal(value_size("18446744073709551616", &size), -ERANGE);
    assert_int_equal(value_size("18446744073709551615K", &size), -ERANGE);
    assert_int_equal(size, untouched);
}

static void times_take_their_units_and_seconds_without(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } cases[] = { { "1500ms", 1500 }, { "2s", 2000 }, { "3m", 180000 },
                  { "1h", 3600000 },  { "7", 7000 },  { "0", 0 } };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t ms = untouched;
        assert_int_equal(value_time(cases[i].text, &ms), 0);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void refuses_days_fractions_and_more_than_a_year(void **state)
{
    uint64_t ms = untouched;
    (void)state;

    assert_int_equal(value_time("1d", &ms), -EINVAL);
    assert_int_equal(value_time("0.5s", &ms), -EINVAL);
    assert_int_equal(value_time("", &ms), -EINVAL);
    assert_int_equal(value_time("9000h", &ms), -ERANGE);
    assert_int_equal(value_time("18446744073709551615h", &ms), -ERANGE);
    assert_int_equal(ms, untouched);
}

static void numbers_keep_their_bounds(void **state)
{
    uint64_t number = untouched;
    (void)state;

    assert_int_equal(value_number("4", 1, 4, &number), 0);
    assert_int_equal(number, 4);
    assert_int_equal(value_number("5", 1, 4, &number), -ERANGE);
    assert_int_equal(value_number("0", 1, 4, &number), -ERANGE);
    assert_int_equal(value_number("1k", 1, 4, &number), -EINVAL);
    assert_int_equal(value_number("99999999999999999999", 1, 4, &number), -ERANGE);
    assert_int_equal(number, 4);
}

static void truth_has_four_words_each_way(void **state)
{
    static const char *const yes[] = { "yes", "on", "true", "1" };
    static const char *const no[] = { "no", "off", "false", "0" };
    (void)state;

    for (int i = 0; i < 4; i++) {
        bool value = false;
        assert_int_equal(value_bool(yes[i], &value), 0);
        assert_true(value);
        assert_int_equal(value_bool(no[i], &value), 0);
        assert_false(value);
        assert_int_equal(value_bool("YES", &value), -EINVAL);
    }
}

static void keys_are_control_characters(void **state)
{
    int key = 0;
    (void)state;

    assert_int_equal(value_key("^a", &key), 0);
    assert_int_equal(key, 1);
    assert_int_equal(value_key("^Z", &key), 0);
    assert_int_equal(key, 26);
    assert_int_equal(value_key("^]", &key), 0);
    assert_int_equal(key, 29);
    assert_int_equal(value_key("none", &key), 0);
    assert_int_equal(key, -1);
    assert_int_equal(value_key("^@", &key), -EINVAL); /* NUL would be no key to wait for */
    assert_int_equal(value_key("^?", &key), -EINVAL);
    assert_int_equal(value_key("^", &key), -EINVAL);
    assert_int_equal(value_key("^aa", &key), -EINVAL);
    assert_int_equal(value_key("a", &key), -EINVAL);
    assert_int_equal(value_key("", &key), -EINVAL);
}

static void a_mac_has_six_pairs(void **state)
{
    static const uint8_t expected[6] = { 0x02, 0xab, 0, 0, 0xcd, 0xff };
    static const char *const wrong[] = { "",
                                         "02:ab:00:00:cd",
                                         "02:ab:00:00:cd:ff:",
                                         "02:ab:00:00:cd:fg",
                                         "2:ab:00:00:cd:ff",
                                         "02-ab-00-00-cd-ff",
                                         "02:ab:00:00:cd:f" };
    uint8_t mac[6] = { 0 };
    (void)state;

    assert_int_equal(value_mac("02:AB:00:00:cd:ff", mac), 0);
    assert_memory_equal(mac, expected, sizeof(mac));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(value_mac(wrong[i], mac), -EINVAL);
    assert_memory_equal(mac, expected, sizeof(mac));
}

static void a_mac_of_a_group_or_of_zeroes_is_no_cards(void **state)
{
    uint8_t mac[6];
    (void)state;

    assert_int_equal(value_mac("01:00:5e:00:00:01", mac), -EADDRNOTAVAIL);
    assert_int_equal(value_mac("ff:ff:ff:ff:ff:ff", mac), -EADDRNOTAVAIL);
    assert_int_equal(value_mac("00:00:00:00:00:00", mac), -EADDRNOTAVAIL);
}

/* Takes @row apart, and checks the items, which stand in @expected with bars between. */
static void check_items(const char *row, const char *expected)
{
    char *text = strdup(row), *rest = text, joined[80] = "";

    for (char *item; (item = value_next_item(&rest));) {
        strncat(joined, item, sizeof(joined) - strlen(joined) - 1);
        strncat(joined, "|", sizeof(joined) - strlen(joined) - 1);
    }
    assert_string_equal(joined, expected);
    free(text);
}

static void commas_cut_and_two_commas_are_one(void **state)
{
    (void)state;

    check_items("a", "a|");
    check_items("a,b=c,d", "a|b=c|d|");
    check_items("a,,b,c", "a,b|c|");
    check_items("a,,,b", "a,|b|");
    check_items("a,,,,b", "a,,b|");
    check_items(",,", ",|");
}

static void a_comma_at_an_end_makes_an_empty_item(void **state)
{
    (void)state;

    check_items("", "|");
    check_items("a,", "a||");
    check_items(",a", "|a|");
}

static void only_the_first_equals_sign_cuts(void **state)
{
    char pair[] = "serial=a=b", word[] = "readonly";
    (void)state;

    assert_string_equal(value_split(pair), "a=b");
    assert_string_equal(pair, "serial");
    assert_null(value_split(word));
}

static const char *const options[] = { "memory",    "cpus",     "cpu", "net",
                                       "on-reboot", "on-panic", "rng", NULL };

static void suggests_the_nearest_word(void **state)
{
    (void)state;

    assert_string_equal(value_suggest("memroy", options), "memory");
    assert_string_equal(value_suggest("mem0ry", options), "memory");
    assert_string_equal(value_suggest("memor", options), "memory");
    assert_string_equal(value_suggest("cpu", options), "cpu");
    assert_string_equal(value_suggest("nett", options), "net");
    assert_string_equal(value_suggest("onreboot", options), "on-reboot");
}

static void suggests_nothing_that_is_another_word(void **state)
{
    char long_word[200];
    (void)state;

    memset(long_word, 'm', sizeof(long_word) - 1);
    long_word[sizeof(long_word) - 1] = '\0';
    assert_null(value_suggest("frobnicate", options));
    assert_null(value_suggest("", options));
    assert_null(value_suggest("x", options));
    assert_null(value_suggest(long_word, options));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_size_counts_mib),
        cmocka_unit_test(a_suffix_is_a_power_of_1024_in_either_case),
        cmocka_unit_test(refuses_what_is_no_size_and_leaves_the_output),
        cmocka_unit_test(refuses_sizes_beyond_64_bits),
        cmocka_unit_test(times_take_their_units_and_seconds_without),
        cmocka_unit_test(refuses_days_fractions_and_more_than_a_year),
        cmocka_unit_test(numbers_keep_their_bounds),
        cmocka_unit_test(truth_has_four_words_each_way),
        cmocka_unit_test(keys_are_control_characters),
        cmocka_unit_test(a_mac_has_six_pairs),
        cmocka_unit_test(a_mac_of_a_group_or_of_zeroes_is_no_cards),
        cmocka_unit_test(commas_cut_and_two_commas_are_one),
        cmocka_unit_test(a_comma_at_an_end_makes_an_empty_item),
        cmocka_unit_test(only_the_first_equals_sign_cuts),
        cmocka_unit_test(suggests_the_nearest_word),
        cmocka_unit_test(suggests_nothing_that_is_another_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
