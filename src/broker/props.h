/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * props.h
 *		The text of a setting that is a list of properties.
 *
 * Pure C, malloc only, so that a check hook in the server can use it.
 */
#ifndef SN_PROPS_H
#define SN_PROPS_H

#include <stdbool.h>
#include <stddef.h>

/* Limits of the text and of its properties. */
#define SN_PROPS_MAX_TEXT (128 * 1024)
#define SN_PROPS_MAX 256

/*
 * One property.  With from_file the name has lost its ".file" and the value
 * is the path of the file that holds the secret.
 */
typedef struct SnProp
{
	char	   *name;
	char	   *value;
	bool		from_file;
} SnProp;

typedef struct SnProps
{
	SnProp	   *props;
	int			nprops;
} SnProps;

extern SnProps *sn_props_parse(const char *text,
							   bool (*check) (SnProp *prop, char *err,
											  size_t err_len),
							   char *err, size_t err_len);
extern void sn_props_free(SnProps *props);
extern const char *sn_props_get(const SnProps *props, const char *name);
extern bool sn_prop_check_text(const SnProp *prop, char *err, size_t err_len);
extern bool sn_prop_check_path(const SnProp *prop, char *err, size_t err_len);

#endif							/* SN_PROPS_H */
