/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * between.h
 *		assert_between(): cmocka 2 calls assert_in_range() deprecated, and cmocka 1
 *		does not have what it wants instead.
 */
#ifndef SN_TEST_BETWEEN_H
#define SN_TEST_BETWEEN_H

#define assert_between(value, lowest, highest) \
	do { \
		int64_t		between_value = (value); \
		assert_true(between_value >= (lowest) && between_value <= (highest)); \
	} while (0)

#endif
