/* dataset: a law to draw from, whatever it is stored as.
 *
 * A spec is a folder or a zip of images, one image, FILE.h5[:/set], an IDX image
 * file (.gz or not), FILE.npy, FILE.npz[:name], or synth:NAME, each with
 * ?modifier&modifier... (datasets/README.md lists both).
 * Images come out as floats in [-1, 1], (h, w, c); vectors as they are, (1, 1, d).
 */
#ifndef OTP_DATASET_H
#define OTP_DATASET_H

#include "core/base.h"
#include "laws/colour.h"
#include "pictures/image.h"
#include "pictures/preprocessing.h"

typedef enum otp_data_kind { OTP_DATA_IMAGES, OTP_DATA_VECTORS } otp_data_kind;

typedef struct otp_dataset otp_dataset;

/* What the stored samples are like, for those who explain a set (doctor, info). */
typedef struct otp_data_survey {
	int64_t grey, colour; /* images of 1 or 2, of 3 or 4 channels as stored */
	int64_t alpha, deep;  /* with an alpha channel; with more than 8 bits a channel */
	int h_min, h_max, w_min, w_max;
	int64_t pixels; /* of all images together */
} otp_data_survey;

typedef struct otp_dataset_info {
	otp_data_kind kind;
	int64_t count;	  /* samples; 0: generated, as many as asked for */
	int64_t withheld; /* samples beside these, numbered from count on (otp_dataset_withhold) */
	int64_t listed;	  /* both, as they were found, damaged ones too; 0: generated */
	bool fresh;	  /* samples of numbers far from all that training draws can be had */
	int h, w, c;	  /* of one sample; h = w = 0 before prepare where sizes differ */
	bool grey;	  /* images without colours: stored so, or made so, */
	bool greyed;	  /* ... and made so by the preprocessing: as the spec names them they have colours */
	int64_t skipped;  /* pictures that cannot be decoded, each named on stderr once */
	uint64_t digest;  /* of modifiers and content, by the rule digest_kind; 0 before otp_dataset_digest */
	const char *digest_kind;
	otp_colour_law colour; /* OTP_COLOUR_NONE: samples keep the colours they are stored with */
	const char *spec;
	bool one_size;	    /* every sample has the same h, w as stored */
	const char *format; /* "folder", "picture", "zip", "IDX", "npy", "npz", "HDF5", "synth" */
	const char *stored; /* arrays: size, type, order of axes, for people; NULL: files or generated */
	const char *set,
	    *beside; /* the set of a file of several that is read, and those that are not; NULL: none */
	/* Of images stored as floats or 16-bit numbers, once loaded or digested: what becomes -1 and 1 (0, 0:
	 * other sets) and the values that there are. What lies outside is cut off. */
	double low, high, least, most;
	size_t memory_bytes;	/* held by the set once it is loaded; */
	size_t unloaded_bytes;	/* of these, not taken yet */
	otp_data_survey survey; /* of the `count` samples */
} otp_dataset_info;

/* Whether something lies where the spec says; generated sets do. What it is, opening tells. */
bool otp_dataset_exists(const char *spec);
/* Open and look: finds files, reads headers, decodes nothing big. */
otp_dataset *otp_dataset_open(const char *spec, uint64_t seed, otp_error *err);
/* The same; pictures of more than `most_pixels` are left out, unless the spec has a limit of its own. */
otp_dataset *otp_dataset_open_up_to(const char *spec, uint64_t seed, int64_t most_pixels, otp_error *err);
/* Fix the form in which samples come out (images: by `p`; channels: 1 or 3 from
 * anything, grey repeated, alpha laid over white), and decide what will be held
 * in memory. Reads no sample. With p->grey they come out as with the modifier
 * `grey', and colours that the set draws become their luminance too. */
bool otp_dataset_shape(otp_dataset *d, const otp_preprocessing *p, int channels, otp_error *err);
/* Before shape, for who reads every sample once: nothing is kept in memory, and, as after otp_dataset_sieve,
 * none stands in for another. A sample that cannot be decoded is an error of otp_dataset_get and the like;
 * who meets it has it left out. */
void otp_dataset_stream(otp_dataset *d);
/* Before load, for who counts them: vectors with values that are not finite are no error. */
void otp_dataset_allow_odd(otp_dataset *d);
/* Names and counts a sample that cannot be decoded, once. Thread-safe. */
void otp_dataset_leave_out(const otp_dataset *d, uint64_t index, const char *why);
/* Load into memory what was decided, with `threads` threads. Floats are all looked at: NaN and infinity are
 * refused, and images' range is settled. Says on stderr which set, axes and range were chosen, where another
 * choice was possible. Once is enough. */
bool otp_dataset_load(otp_dataset *d, int threads, otp_error *err);
/* Digest of all bytes of the set's samples, with `threads` threads. What load has read is not read again;
 * before load everything is read, and nothing kept. */
bool otp_dataset_digest(otp_dataset *d, int threads, otp_error *err);
/* Both. */
bool otp_dataset_prepare(otp_dataset *d, const otp_preprocessing *p, int channels, int threads,
			 otp_error *err);
/* For inference, after load: decodes what is not kept in memory once, and leaves out the samples that cannot
 * be decoded. From then on count, names and rows are those of samples that can be, and none stands in for
 * another: a file that breaks later is an error of otp_dataset_get. */
bool otp_dataset_sieve(otp_dataset *d, int threads, otp_error *err);
/* The other way to prepare, for pictures that keep their sizes (generated ones are made for `p`). Nothing is
 * kept in memory, the description's h and w are 0 where sizes differ, and samples come by otp_dataset_take,
 * not by otp_dataset_get. */
bool otp_dataset_prepare_own(otp_dataset *d, const otp_preprocessing *p, int channels, int threads,
			     otp_error *err);
void otp_dataset_close(otp_dataset *d);

/* Takes `count` samples, fewer than there are, away from training: from then on the set's count is that of
 * the others, and these are numbered after them. Which ones is a function of (seed, count, number of
 * samples), so rows of two sets that belong together are withheld together. Of a generated set none is lost:
 * it becomes fresh. Before otp_dataset_shape. */
void otp_dataset_withhold(otp_dataset *d, uint64_t seed, int64_t count);
/* After that: leaves nothing but the withheld samples, of which there are some. */
void otp_dataset_only_withheld(otp_dataset *d);

/* Kind and larger side of a set, 0 where a set has no pictures, from headers alone: of a folder the first
 * files, of arrays no data. Where sizes differ, the geometric mean of the least and the largest side. Names
 * no damaged file; opening the set does. */
bool otp_dataset_look(const char *spec, otp_data_kind *kind, int *size, otp_error *err);
otp_dataset_info otp_dataset_describe(const otp_dataset *d);

/* Sample `index` into out, h * w * c floats. `draw` refreshes what is random
 * in the law itself (hues): 0 in evaluation, the draw's number in training.
 * In training (before otp_dataset_sieve), a file that turns out broken when it is
 * decoded is named once and the next sample stands in for it.
 * Thread-safe; a function of (seed, index, draw) alone. index < count, or
 * anything where count is 0 or the set is generated; withheld ones follow count. */
bool otp_dataset_get(const otp_dataset *d, uint64_t index, uint32_t draw, float *out, otp_error *err);
/* The same, for training: where samples are windows of pictures, two random numbers say which; NULL: the
 * middle one. */
bool otp_dataset_get_window(const otp_dataset *d, uint64_t index, uint32_t draw, const uint32_t *place,
			    float *out, otp_error *err);
/* Whether samples are windows that have room to move in. */
bool otp_dataset_has_windows(const otp_dataset *d);

/* The two stages of a sample, for who does something between them; after otp_dataset_sieve, pictures only.
 * Take: sample `index` in the set's size and settled channels, or, prepared by otp_dataset_prepare_own, just
 * as stored (alpha too). The pixels may belong to the set; otp_image_free frees what does not.
 * Finish: a part of sample `index` in settled channels becomes what otp_dataset_get gives, part->h * part->w
 * * c floats, draw 0. */
bool otp_dataset_take(const otp_dataset *d, uint64_t index, otp_image *out, otp_error *err);
int otp_dataset_settled_channels(const otp_dataset *d);
void otp_dataset_finish(const otp_dataset *d, uint64_t index, const otp_image *part, float *out);
/* How many pictures of the whole source have an alpha channel that samples do not. */
int64_t otp_dataset_alpha(const otp_dataset *d);

/* Where samples are a fixed function of stored bytes (a set with an end of 8-bit
 * images, nothing drawn, at full brightness, all of each): the channels of those bytes, which
 * are the samples' or 1 (grey, repeated). 0 for any other set. After prepare. */
int otp_dataset_stored_channels(const otp_dataset *d);
/* The bytes of such a sample, h * w * stored channels: byte / 127.5 - 1 is what otp_dataset_get gives. */
bool otp_dataset_get_bytes(const otp_dataset *d, uint64_t index, uint8_t *out, otp_error *err);

/* Whether the same files lie there as before, by their names, sizes and times (a single file's, a folder's
 * all), with the modifiers. Reads no sample: two sets may differ where this does not. */
bool otp_dataset_listing(const otp_dataset *d, uint64_t *digest, otp_error *err);

/* How digests of a set's content are made. Whoever keeps a digest keeps its kind with it; a rule that
 * changes gets another name. Each is hashed with the modifiers of the spec (otp_spec_modifiers). All are
 * XXH3. */
#define OTP_DIGEST_FILES "names-and-bytes-2"   /* of the chosen files: names and all bytes */
#define OTP_DIGEST_SAMPLES "every-sample-2"    /* of arrays: shape, type and all bytes of all samples */
#define OTP_DIGEST_GENERATED "name-and-seed-1" /* generated sets */
/* Of runs made before 0.2, still compared by these: */
#define OTP_DIGEST_HEADS "names-sizes-heads-1" /* of files: each name, size and first 4096 bytes */
#define OTP_DIGEST_BLOCKS "sampled-blocks-1"   /* shape and bytes; over 4 MiB 1024 blocks of 4096 bytes */
#define OTP_DIGEST_FIRST                                                                                     \
	"first-256-samples-1" /* packed HDF5: shape and first samples, by sampled-blocks-1                   \
			       */

typedef enum otp_digest_verdict {
	OTP_DIGEST_EQUAL,
	OTP_DIGEST_DIFFERS,
	OTP_DIGEST_UNKNOWN
} otp_digest_verdict;
/* Is this the set that had this digest? UNKNOWN: this program has no rule of that kind. kind NULL: kept by
 * format version 1, by the former rule of each format. After otp_dataset_digest. */
otp_digest_verdict otp_dataset_compare(const otp_dataset *d, const char *kind, uint64_t digest);

/* "FILE: what is wrong" of the i-th skipped file, i < skipped. Each was on stderr once. */
const char *otp_dataset_skipped(const otp_dataset *d, int64_t i);

/* The name that its outputs would carry. */
const char *otp_dataset_skipped_picture(const otp_dataset *d, int64_t i);

/* The name a sample's outputs carry: path below the folder without extension,
 * or "000123". Valid until the set is closed; `buffer` may hold it. */
const char *otp_dataset_name(const otp_dataset *d, uint64_t index, char *buffer, size_t bytes);
/* In a set of files (folder, zip, picture) the sample's file, below the set's place; NULL in others. */
const char *otp_dataset_file(const otp_dataset *d, uint64_t index);
/* The i-th folder that was listed to find the set's files, through links too; NULL after the last. */
const char *otp_dataset_folder(const otp_dataset *d, int64_t i);
/* Where the set lies, without modifiers and a name within the file; NULL for generated sets. otp_free it. */
char *otp_dataset_place(const otp_dataset *d);

#endif
