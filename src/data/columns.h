/* columns: a set of vectors read whole, for what is in each of their values. */
#ifndef OTP_COLUMNS_H
#define OTP_COLUMNS_H

#include "core/pool.h"
#include "data/dataset.h"

typedef struct otp_column {
	int64_t count;			   /* of finite values, which the rest is of */
	double mean, squares, least, most; /* squares: sum of squared distances from the mean */
} otp_column;

typedef struct otp_columns {
	int64_t count, d;
	int64_t odd;	     /* vectors with a value that is NaN or infinite */
	int64_t first_odd;   /* -1: none */
	uint64_t *exact;     /* (count) digest of each, sorted */
	int64_t copies;	     /* vectors that are equal to an earlier one */
	otp_column *columns; /* (d) */
} otp_columns;

double otp_column_spread(const otp_column *c); /* standard deviation */

/* Reads all vectors of a loaded set (otp_dataset_allow_odd before) by the team. */
bool otp_columns_measure(const otp_dataset *d, otp_pool *pool, otp_columns *out, otp_error *err);
void otp_columns_free(otp_columns *c);
/* How many vectors of b are in a. */
int64_t otp_columns_shared(const otp_columns *a, const otp_columns *b);

#endif
