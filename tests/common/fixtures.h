/* fixtures: what PyTorch made in float64 (tests/golden/README.md says how), and
 * how far from it a backend may be.
 *
 * Bounds follow from the fixture. Beside each tensor stands E, the largest
 * error that float32 PyTorch made of it in sixteen runs. An error grows with
 * the unit roundoff u, so an implementation as good as PyTorch's is within
 * E u / 2^-24. Four times that is allowed, since our exponential may be off by
 * 2e-7 = 3.4 roundoffs where the C library's is within one; and the fixture's
 * own rounding to 32 bits is added.
 *
 * In bfloat16 the error of a whole result, as a root mean square, is held to
 * one and a half times that of PyTorch's autocast, also where (on the GPU, and so
 * through the shim) activations are stored in bfloat16 between all ops.
 */
#ifndef OTP_COMMON_FIXTURES_H
#define OTP_COMMON_FIXTURES_H

#include "nn/params.h"

#include <hdf5.h>

/* A group of a fixture file. */
typedef struct fixture {
	hid_t file, group;
	const char *name;
} fixture;

/* From this source tree, or from OTPLAN_GOLDEN: a package is tested where no tree is. */
fixture fixture_open(const char *file, const char *group);
void fixture_close(fixture *f);

/* otp_free what they hold. Something missing, or of another length, fails the test. */
typedef struct values {
	double *v;
	int64_t count;
} values;

values read_values(const fixture *f, const char *name);
float *read_floats(const fixture *f, const char *name, int64_t count);
double read_number(const fixture *f, const char *name);

/* ---- parameters: the fixture's order and ours ---- */

/* One tensor of a network's flat array in the fixture, and where it lies in our rows. */
typedef struct piece {
	const char *name;
	int64_t from, to, count;
} piece;

typedef struct piece_list {
	piece *pieces;
	int count;
	int64_t elements;
} piece_list;

/* Fails unless the fixture's parameters are ours, all of them, in the same shapes. */
piece_list match_params(const fixture *f, const char *names_attribute, const otp_params *p);
void read_params(const fixture *f, const char *name, const piece_list *list, float *row);

/* A row of ours, in the fixture's order. */
void pack(double *row, const piece_list *list);

/* ---- comparing: what is further off than allowed fails the test ---- */

typedef struct judge {
	const char *test, *backend;
	double unit;  /* unit roundoff of what is judged */
	double worst; /* largest error so far, in shares of what is allowed */
	int compared;
	bool bf16;
} judge;

/* `unit`: the judge's, or a coarser one (reports pass through float). */
void compare(judge *j, const char *what, const double *got, const double *want, int64_t count,
	     double float_error, double unit);

/* A network in bfloat16: the root mean square error, against the largest that PyTorch's autocast makes. */
void compare_bf16(judge *j, const fixture *f, const char *what, const double *got, const double *want,
		  int64_t count);
void compare_pieces(judge *j, const char *what, const double *row, const double *want,
		    const double *float_error, const piece_list *list);

/* Prints how much was compared and how far off it was at worst. */
void say(const judge *j);

#endif
