/* examine: a set of pictures read whole, for what is in it. Of each picture some 70 bytes are kept: sizes,
 * digests and a few colours, by which copies are found within a set and between sets.
 */
#ifndef OTP_EXAMINE_H
#define OTP_EXAMINE_H

#include "core/pool.h"
#include "data/dataset.h"

enum {
	OTP_PRINT_BROKEN = 1,	   /* cannot be decoded; nothing else is known */
	OTP_PRINT_DEEP = 2,	   /* more than 8 bits a channel */
	OTP_PRINT_TURNED = 4,	   /* by its EXIF tag */
	OTP_PRINT_ALPHA = 8,	   /* has an alpha channel */
	OTP_PRINT_GREY = 16,	   /* stored in one channel (and alpha) */
	OTP_PRINT_COLOURLESS = 32, /* stored in three, which are equal everywhere */
	OTP_PRINT_FLAT = 64,	   /* hardly any contrast: one colour, for what is seen of it */
	OTP_PRINT_COPY = 128,	   /* an earlier picture of the set has the same size and pixels */
	OTP_PRINT_NEAR_COPY = 256, /* an earlier one looks the same: scaled, compressed again, touched up */
};

enum { OTP_PRINT_THUMB = 27, OTP_EXAMINE_SETS = 4 };

typedef struct otp_print {
	int h, w;			/* as it comes out: turned */
	uint32_t flags;			/* OTP_PRINT_... */
	uint8_t shared, near_shared;	/* bit s: set s has the same, one that looks the same */
	uint8_t thumb[OTP_PRINT_THUMB]; /* means of 3 x 3 fields, RGB */
	uint64_t exact;			/* of size and pixels */
	uint64_t look[2];		/* dHash of rows and of columns */
	int64_t like; /* the number, over all sets, of one that it is a copy of or shared with; -1 */
} otp_print;

typedef struct otp_examined {
	otp_print *prints; /* (count), in the order of the set */
	int64_t count, readable;
	int channels;		   /* that have values below: 1 where all are grey, else 3 */
	int least[3], most[3];	   /* of bytes, alpha laid over white */
	double mean[3], spread[3]; /* over all pixels; standard deviation */
} otp_examined;

/* Reads every sample by the team. Those that cannot be decoded are named and counted (otp_dataset_leave_out).
 * `d` was opened and streamed (otp_dataset_stream). False where the machine refuses to read. */
bool otp_examine(otp_dataset *d, otp_pool *pool, otp_examined *out, otp_error *err);
void otp_examined_free(otp_examined *e);

/* Finds copies within and between the sets, OTP_EXAMINE_SETS at most. Pictures look the same where 4 of 128
 * bits of their dHash differ at most, fewer where they have few edges, and no field's colour by more than 8
 * of 255. */
void otp_examine_compare(otp_examined *const *sets, int count);

/* A small RGB picture (h, w, 3) in bytes: every pixel the mean of what it covers, alpha over white. */
void otp_examine_shrink(const otp_image *image, int h, int w, uint8_t *out);

#endif
