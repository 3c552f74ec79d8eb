/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * json_number.h
 *		What a stored number looks like, without arithmetic.
 */
#ifndef SN_JSON_NUMBER_H
#define SN_JSON_NUMBER_H

#include "postgres.h"

#include "utils/numeric.h"

extern Size sn_number_text_size(Numeric number);
extern int	sn_number_words(Numeric number);
extern int	sn_number_compare(Numeric a, Numeric b);
extern bool sn_number_is_integral(Numeric number);

#endif							/* SN_JSON_NUMBER_H */
