/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * json_number.c
 *		What a stored number looks like, without arithmetic.
 *
 * The head of a stored number is laid out as in numeric.c: sign and scale,
 * then the weight, or all of it in one word.  Words of four decimal digits
 * follow, without zero words at either end.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/json_number.h"

#define NUMBER_SIGN			0xC000
#define NUMBER_NEGATIVE		0x4000
#define NUMBER_SHORT		0x8000
#define NUMBER_DSCALE		0x3FFF
#define SHORT_NEGATIVE		0x2000
#define SHORT_DSCALE(h)		(((h) & 0x1F80) >> 7)
#define SHORT_WEIGHT(h)		(((h) & 0x0040 ? ~0x003F : 0) | ((h) & 0x003F))
#define WORD				2	/* bytes */
#define WORD_DIGITS			4	/* decimal digits of a word */

typedef struct Shape
{
	bool		negative;
	int			weight;			/* of the first word */
	int			dscale;
	int			words;
	int			first;			/* word, or 0 */
	const char *digits;			/* the words */
} Shape;

/* word_at: a word of a number, which may lie anywhere */
static uint16
word_at(const char *place)
{
	uint16		word;

	memcpy(&word, place, WORD);
	return word;
}

/* number_shape: read the head */
static void
number_shape(Numeric number, Shape *shape)
{
	const char *head = VARDATA_ANY(number);
	Size		len = VARSIZE_ANY_EXHDR(number);
	uint16		word = word_at(head);
	bool		is_short = (word & NUMBER_SIGN) == NUMBER_SHORT;
	Size		head_size = is_short ? WORD : 2 * WORD;

	if (is_short)
	{
		shape->weight = SHORT_WEIGHT(word);
		shape->dscale = SHORT_DSCALE(word);
		shape->negative = (word & SHORT_NEGATIVE) != 0;
	}
	else
	{
		shape->weight = (int16) word_at(head + WORD);
		shape->dscale = word & NUMBER_DSCALE;
		shape->negative = (word & NUMBER_SIGN) == NUMBER_NEGATIVE;
	}
	shape->words = (len - head_size) / WORD;
	shape->first = shape->words > 0 ? word_at(head + head_size) : 0;
	shape->digits = head + head_size;
}

/* sn_number_text_size: how long a number is as text */
Size
sn_number_text_size(Numeric number)
{
	Shape		shape;
	Size		result = 1;

	number_shape(number, &shape);
	if (shape.weight >= 0 && shape.words > 0)
		result = shape.weight * WORD_DIGITS +
			(shape.first > 999 ? 4 : shape.first > 99 ? 3 : shape.first > 9 ? 2 : 1);
	if (shape.dscale > 0)
		result += 1 + shape.dscale;
	return result + shape.negative;
}

/* sn_number_words: how many words are stored; none for zero */
int
sn_number_words(Numeric number)
{
	Shape		shape;

	number_shape(number, &shape);
	return shape.words;
}

/* sn_number_is_integral: whether there is nothing behind the point, as in 1.0 */
bool
sn_number_is_integral(Numeric number)
{
	Shape		shape;

	number_shape(number, &shape);
	return shape.words == 0 || shape.words <= shape.weight + 1;
}

/* compare_sizes: of two numbers that are not zero, without their signs */
static int
compare_sizes(const Shape *a, const Shape *b)
{
	int			i;

	if (a->weight != b->weight)
		return a->weight > b->weight ? 1 : -1;
	for (i = 0; i < a->words && i < b->words; i++)
	{
		int			difference = (int) word_at(a->digits + i * WORD) -
			(int) word_at(b->digits + i * WORD);

		if (difference != 0)
			return difference;
	}
	return a->words - b->words; /* the last word is never zero */
}

/* sn_number_compare: as numeric_cmp(), for what JSON can have */
int
sn_number_compare(Numeric a, Numeric b)
{
	Shape		x;
	Shape		y;
	int			sign_x;
	int			sign_y;

	number_shape(a, &x);
	number_shape(b, &y);
	sign_x = x.words == 0 ? 0 : x.negative ? -1 : 1;
	sign_y = y.words == 0 ? 0 : y.negative ? -1 : 1;
	if (sign_x != sign_y || sign_x == 0)
		return sign_x - sign_y;
	return compare_sizes(&x, &y) * sign_x;
}
