/* doctor: what is found in data sets, between reading them (doctor.c), judging them (doctor_rules.c) and
 * showing it (doctor.c, doctor_page.c).
 */
#ifndef OTP_CLI_DOCTOR_H
#define OTP_CLI_DOCTOR_H

#include "core/size.h"
#include "data/columns.h"
#include "data/examine.h"
#include "ot/dimension.h"

typedef enum otp_gravity {
	OTP_GRAVITY_NOTE,    /* dealt with, or to know */
	OTP_GRAVITY_WARNING, /* training works, but not as well as it could */
	OTP_GRAVITY_WRONG    /* training would fail or learn nothing */
} otp_gravity;

enum { OTP_EXAMPLES = 8, OTP_DOCTOR_SETS = OTP_EXAMINE_SETS, OTP_BETWEEN = -1 };

typedef struct otp_case {
	otp_gravity gravity;
	const char *key;
	int64_t count;
	char *found, *done; /* "12 pictures have alpha", "it is laid over white" */
	int set;	    /* whose samples the examples are; OTP_BETWEEN: none's */
	int64_t examples[OTP_EXAMPLES];
	int example_count;
	int with; /* set of which each example is like a picture, which is shown beside it; -1: none */
} otp_case;

typedef struct otp_examinee {
	const char *spec, *name; /* name: "trainA" of a root, else the spec */
	bool test;		 /* held-out half of a root */
	otp_dataset *set;
	otp_dataset_info info;
	otp_examined pictures; /* of pictures */
	otp_columns columns;   /* of vectors */
	bool has_dimension;
	otp_dimension dimension;
	int64_t usable; /* samples that training would see */
} otp_examinee;

typedef struct otp_doctor {
	otp_examinee sets[OTP_DOCTOR_SETS];
	int set_count;
	otp_size image_size; /* 0: not said */
	otp_case *cases;
	int case_count;
} otp_doctor;

/* Every case of the sets, each alone and between them. */
void otp_doctor_judge(otp_doctor *d);
void otp_doctor_free_cases(otp_doctor *d);
/* Set under which a case is told; OTP_BETWEEN: it lies between two sets. */
int otp_doctor_place(const otp_case *c);
/* What example i of a case is shown beside, and of which set it is; NULL: nothing. */
const otp_examinee *otp_doctor_partner(const otp_doctor *d, const otp_case *c, int i, int64_t *sample);
/* Its page says this near its top, by which a page is known. */
#define OTP_DOCTOR_TITLE "<title>otplan doctor</title>"
/* A self-contained page with small pictures of each case. */
bool otp_doctor_write_page(const otp_doctor *d, const char *path, otp_error *err);
/* Sizes of a set's pictures: least, median and most of the shorter sides. */
typedef struct otp_sides {
	int least, median, most;
} otp_sides;
otp_sides otp_doctor_sides(const otp_examinee *e);
/* How many of a set's readable pictures are of a kind: the same figures in text, JSON, page and cases. */
typedef struct otp_doctor_counts {
	int64_t grey;	/* without colours in any pixel, */
	int64_t single; /* ... stored in one channel */
	int64_t colour; /* the others */
	int64_t alpha, deep;
} otp_doctor_counts;
otp_doctor_counts otp_doctor_count(const otp_examinee *e);

#endif
