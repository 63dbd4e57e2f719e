/* schema: the fields by which a model or checkpoint describes itself, in one
 * table: name, type, range, and for which files it is needed. Writing, reading,
 * checking and `otplan info` walk over the table. A reader ignores what the
 * table does not name.
 */
#ifndef OTP_SCHEMA_H
#define OTP_SCHEMA_H

#include "model/fields.h"
#include "model/store.h"

/* The groups and attributes of version 2. */
bool otp_schema_write(hid_t file, const otp_stored *s);
bool otp_schema_read(const otp_fields *f, otp_stored *s);
/* Ranges, and whether the sizes fit each other; for what came from elsewhere. */
bool otp_schema_check(const char *path, const otp_stored *s, otp_error *err);

/* One field of what was read, for printing. */
typedef struct otp_fact {
	const char *name; /* "group/attribute" */
	enum { OTP_FACT_NUMBER, OTP_FACT_DIGEST, OTP_FACT_TEXT, OTP_FACT_LIST } kind;
	double number;
	uint64_t bits;
	const char *text; /* of a field or in `word` */
	char word[48];
	const int *list;
	int count;
} otp_fact;

/* The i-th field of the table; false past its end. A field that this file lacks comes with a NULL name. */
bool otp_schema_fact(const otp_stored *s, int i, otp_fact *out);

#endif
