/* source: the seam between the data set and the formats. A source hands out
 * raw samples as stored; parts, colours, sizes and memory are the data set's.
 */
#ifndef OTP_SOURCE_H
#define OTP_SOURCE_H

#include "core/pool.h"
#include "data/dataset.h"
#include "pictures/image.h"
#include "data/spec.h"

typedef struct otp_source otp_source;

typedef struct otp_source_ops {
	/* Sample `index` as stored; floats are in [-1, 1] for images. Thread-safe. */
	bool (*read)(const otp_source *s, uint64_t index, otp_image *out, otp_error *err);
	void (*close)(otp_source *s);
	/* NULL: the number is the name. */
	const char *(*name)(const otp_source *s, uint64_t index, char *buffer, size_t bytes);
	/* Sets of files: the sample's own, below the set's place. NULL: samples are no files. */
	const char *(*file)(const otp_source *s, uint64_t index);
	/* Called once the size is known (0: as stored) and before anything is read in bulk. NULL: nothing to
	 * do. */
	bool (*prepare)(otp_source *s, int size, otp_error *err);
	/* Called once after prepare, to read in bulk what prepare announced in unloaded_bytes. NULL: nothing.
	 */
	bool (*load)(otp_source *s, otp_error *err);
	/* Read every stored byte that nothing has read yet: sets the digest and, where `scaled`, the range.
	 * Files are read of the `count` samples `chosen`, arrays whole. NULL: opening has set the digest. */
	bool (*scan)(otp_source *s, const int64_t *chosen, int64_t count, otp_pool *pool, otp_error *err);
	/* Of the files' names, sizes and times. NULL: those of the set's one file. */
	uint64_t (*listing)(const otp_source *s);
	/* The digest of kind former_kind; false where it cannot be had. NULL: there was no other kind. */
	bool (*former)(const otp_source *s, uint64_t *digest);
	/* Images: what sample `index` is like. NULL: all are of h, w and c, and deep where `scaled`. */
	otp_image_facts (*facts)(const otp_source *s, uint64_t index);
} otp_source_ops;

typedef struct otp_left_out {
	char *why;	/* "FILE: what is wrong" */
	char *picture;	/* its name, as of outputs */
	int64_t before; /* the number of the sample that it stands before; -1: it belongs to every part */
	bool unsaid;	/* stderr does not name it yet */
} otp_left_out;

/* First member of each format's own struct. */
struct otp_source {
	const otp_source_ops *ops;
	otp_data_kind kind;
	int64_t count;
	/* h = w = 0: mixed sizes; c: 1, 3, 4 or what an array has, alpha of files not counted. Where there
	 * are facts, those of the samples that are taken, by otp_source_settle_form. */
	int h, w, c;
	bool costly;		 /* a read decodes: worth keeping the result */
	uint64_t digest;	 /* of the content, once scanned */
	const char *digest_kind; /* the rule by which it is made */
	const char *former_kind; /* the rule of programs before 0.2, kept for their runs; NULL: the same */
	bool scaled; /* stored as floats or 16-bit numbers: for images, a scan settles what they stand for */
	double low, high;      /* of such images: what stands for -1 and 1, once scanned */
	double least, most;    /* the values there are, once scanned */
	bool channel_axis;     /* arrays: which axis holds channels was a choice */
	char stored[160];      /* of arrays: size, type and order of axes, for people; empty: files */
	char *set, *beside;    /* of containers: the set that is read; others that could be, NULL: none */
	double brightness;     /* brightness unless the spec says otherwise */
	otp_colour_law colour; /* colouring that belongs to the set itself */
	const char *format;
	size_t memory_bytes;   /* that the source holds, or will hold after load; */
	size_t unloaded_bytes; /* of these, what load has still to take */
	otp_left_out *left_out;
	int64_t left_out_count;
	char **folders; /* that were listed to find the set's files */
	int64_t folder_count;
	bool quiet; /* what is left out is not named on stderr */
};

/* Each opens one format, or returns NULL with err set. */
otp_source *otp_folder_open(const otp_spec *spec, otp_error *err);
otp_source *otp_picture_open(const otp_spec *spec, otp_error *err);
otp_source *otp_zip_open(const otp_spec *spec, otp_error *err);
otp_source *otp_idx_open(const otp_spec *spec, otp_error *err);
otp_source *otp_npy_open(const otp_spec *spec, otp_error *err);
otp_source *otp_npz_open(const otp_spec *spec, otp_error *err);
otp_source *otp_hdf5_open(const otp_spec *spec, otp_error *err);
otp_source *otp_synth_open(const otp_spec *spec, uint64_t seed, otp_error *err);

/* Whether the machine refused to read: no fault of the picture, which may be read the next time, so that
 * nothing may be left out for it. */
bool otp_source_refused(const otp_error *trouble);
/* Note a picture that cannot be decoded: on stderr now (unless quiet), in the list for later. */
void otp_source_skip(otp_source *s, const char *name, const char *text);
/* The same in the list alone: whoever calls says it for many at once, or, `unsaid`, otp_source_part does. */
void otp_source_leave_out(otp_source *s, const otp_left_out *what);
/* Forgets what stands before a sample that is not `taken` (count + 1 flags, the last for what stands behind
 * all samples), and names what is left and unsaid. */
void otp_source_part(otp_source *s, const uint8_t *taken);
/* Of all samples (chosen NULL), or of those chosen. */
otp_data_survey otp_source_survey(const otp_source *s, const int64_t *chosen, int64_t count);
/* h, w and c of such samples, where there are facts. */
void otp_source_settle_form(otp_source *s, const otp_data_survey *of);
void otp_source_note_folder(otp_source *s, const char *path);
/* Free what the base holds and the source itself. */
void otp_source_free(otp_source *s);

/* "FILE.ext:name" into file and name (NULL where none is given); both otp_free'd by the caller. */
void otp_source_split_name(const char *place, char **file, char **name);

#endif
