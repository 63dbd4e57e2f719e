/* pack: any data set to one HDF5 file of rows in one piece, which training maps where it lies. The samples
 * are decoded by the thread team, a piece at a time, and a piece that is on the disk need not be made again.
 */
#include "cli/args.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "core/file.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/pool.h"
#include "core/tally.h"
#include "core/words.h"
#include "data/dataset.h"
#include "data/outputs.h"
#include "data/pack.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <xxhash.h>

enum { PIECE_BYTES = 32 << 20, MOST_SAMPLES = 1 << 16, NAME_BYTES = 4096, RULE = 2 };
static const uint64_t LARGE = UINT64_C(1) << 30;
static const double PIECE_S = 2; /* of work that an end without warning costs */

typedef struct options {
	otp_size size;
	otp_pick filter, aspect;
	int channels, threads;
	uint64_t seed;
	bool overwrite;
} options;

typedef struct job {
	const char *out;
	const options *o;
	otp_preprocessing how;
	otp_dataset *set;
	otp_dataset_info info;
	otp_pool *pool;
	otp_pack *pack;
	otp_tally *tally;
	size_t row_bytes;
	int64_t undecoded;
} job;

/* Samples from `first` on, decoded side by side. */
typedef struct piece {
	const job *j;
	int64_t first, most;
	double until; /* seconds on the clock */
	atomic_int_fast64_t next;
	atomic_bool refused;
	uint8_t *rows;	   /* (most) */
	char **why;	   /* (most) what is wrong with a sample, or NULL */
	otp_error *errors; /* of each worker, where the machine refused */
} piece;

/* ---- one row ----------------------------------------------------------------------- */

static bool put_row(const job *j, int64_t sample, uint8_t *row, otp_error *err)
{
	const otp_dataset_info *i = &j->info;
	if (i->kind == OTP_DATA_VECTORS)
		return otp_dataset_get(j->set, (uint64_t)sample, 0, (float *)(void *)row, err);
	if (otp_dataset_stored_channels(j->set))
		return otp_dataset_get_bytes(j->set, (uint64_t)sample, row, err);
	float *values = otp_calloc(j->row_bytes, sizeof *values);
	bool ok = otp_dataset_get(j->set, (uint64_t)sample, 0, values, err);
	for (size_t k = 0; ok && k < j->row_bytes; k++)
		row[k] = otp_image_byte(values[k]);
	otp_free(values);
	return ok;
}

/* Samples are taken in order and none that is taken is left, so what is done is a piece without gaps. */
static void decode(void *argument, int worker)
{
	piece *p = argument;
	const job *j = p->j;
	while (!atomic_load(&p->refused) && otp_seconds() < p->until && !otp_interrupt_number()) {
		otp_error trouble = {0};
		int64_t i = atomic_fetch_add(&p->next, 1);
		if (i >= p->most)
			return;
		if (!put_row(j, p->first + i, p->rows + (size_t)i * j->row_bytes, &trouble)) {
			if (trouble.exit_code == OTP_EXIT_FAILED && !trouble.out_of_memory) {
				p->errors[worker] = trouble;
				atomic_store(&p->refused, true);
			}
			p->why[i] = otp_strdup(trouble.text);
		}
		otp_tally_add(j->tally, 1);
	}
}

/* ---- a piece ----------------------------------------------------------------------- */

/* Names what is left out, and closes the gaps. */
static bool add_piece(const job *j, piece *p, int64_t seen, otp_error *err)
{
	otp_pack_left *left = otp_calloc((size_t)seen, sizeof *left);
	int64_t good = 0, bad = 0;
	for (int64_t i = 0; i < seen; i++) {
		if (p->why[i]) {
			otp_dataset_leave_out(j->set, (uint64_t)(p->first + i), p->why[i]);
			left[bad++] = (otp_pack_left){p->first + i, p->why[i]};
		} else {
			if (good < i)
				memcpy(p->rows + (size_t)good * j->row_bytes,
				       p->rows + (size_t)i * j->row_bytes, j->row_bytes);
			good++;
		}
	}
	bool ok = otp_pack_add(j->pack, p->rows, seen, left, bad, err);
	otp_free(left);
	return ok;
}

static bool run_piece(const job *j, piece *p, otp_error *err)
{
	int workers = otp_pool_workers(j->pool);
	int64_t left = j->info.count - otp_pack_seen(j->pack);
	size_t rows = PIECE_BYTES / j->row_bytes;
	rows = rows < (size_t)workers ? (size_t)workers : rows > MOST_SAMPLES ? MOST_SAMPLES : rows;
	*p = (piece){
	    .j = j, .first = otp_pack_seen(j->pack), .most = left < (int64_t)rows ? left : (int64_t)rows};
	p->until = otp_seconds() + PIECE_S;
	p->rows = otp_calloc_for("a piece of rows", (size_t)p->most, j->row_bytes);
	p->why = otp_calloc((size_t)p->most, sizeof *p->why);
	p->errors = otp_calloc((size_t)workers, sizeof *p->errors);
	otp_pool_run(j->pool, decode, p);
	int64_t next = atomic_load(&p->next), seen = next < p->most ? next : p->most;
	bool ok = !atomic_load(&p->refused);
	for (int i = 0; !ok && i < workers && !err->exit_code; i++)
		*err = p->errors[i];
	ok = ok && (seen == 0 || add_piece(j, p, seen, err));
	for (int64_t i = 0; i < p->most; i++)
		otp_free(p->why[i]);
	otp_free(p->rows);
	otp_free(p->why);
	otp_free(p->errors);
	return ok;
}

static bool run_all(const job *j, otp_error *err)
{
	char how_far[96];
	piece p;
	while (otp_pack_seen(j->pack) < j->info.count) {
		if (!run_piece(j, &p, err))
			return false;
		if (!otp_interrupt_number())
			continue;
		snprintf(how_far, sizeof how_far,
			 "after %lld of %lld samples; the same command goes on from there",
			 (long long)otp_pack_seen(j->pack), (long long)j->info.count);
		return otp_interrupt_fail(err, j->out, how_far);
	}
	return true;
}

/* ---- the finished file -------------------------------------------------------------- */

static const char *name_of(const void *context, int64_t sample, char *buffer, size_t bytes)
{
	const otp_dataset *set = context;
	const char *file = otp_dataset_file(set, (uint64_t)sample);
	return file ? file : otp_dataset_name(set, (uint64_t)sample, buffer, bytes);
}

static bool finish(const job *j, otp_error *err)
{
	const otp_dataset_info *i = &j->info;
	static const char *const ASPECTS[] = {"crop", "pad-white", "stretch"};
	const otp_preprocessing *how = &j->how;
	bool plain = how->size.h == how->size.w && !how->filter && !how->aspect;
	char digest[24];
	if (otp_pack_rows(j->pack) == 0) {
		otp_pack_discard(j->pack);
		return otp_fail(err, i->spec, "none of its samples can be decoded");
	}
	if ((uint64_t)otp_pack_rows(j->pack) * j->row_bytes > LARGE)
		otp_log("%s: comparing what was written", j->out);
	if (!otp_dataset_digest(j->set, otp_pool_workers(j->pool), err))
		return false;
	snprintf(digest, sizeof digest, "%016llx", (unsigned long long)otp_dataset_describe(j->set).digest);
	const otp_pack_attribute attributes[] = {
	    {"program", "otplan " OTPLAN_VERSION " pack", 0},
	    {"input", i->spec, 0},
	    {"input_digest", digest, 0},
	    {"input_digest_kind", i->digest_kind, 0},
	    {"resize",
	     !how->size.h ? "none"
	     : plain	  ? "shorter-side-triangle-centre-crop"
			  : "by-filter-and-aspect",
	     0},
	    {"listed", NULL, otp_pack_rows(j->pack) + i->skipped},
	    {"left_out", NULL, i->skipped},
	    {"seed", NULL, (int64_t)j->o->seed},
	    {"filter", OTP_CHOICE_NAME(otp_resize, how->filter), 0},
	    {"aspect", ASPECTS[how->aspect], 0},
	};
	int count = (int)(sizeof attributes / sizeof *attributes) - (plain ? 2 : 0);
	const otp_pack_words words = {attributes, count, name_of, j->set};
	return otp_pack_finish(j->pack, &words, err);
}

/* ---- before ------------------------------------------------------------------------ */

/* Only what was made of the same samples, in the same form, is gone on with. */
static bool identity(const job *j, otp_pack_form *form, otp_error *err)
{
	uint64_t listing, parts[9];
	if (!otp_dataset_listing(j->set, &listing, err))
		return false;
	const uint64_t made_of[9] = {RULE,
				     listing,
				     (uint64_t)j->info.count,
				     j->o->seed,
				     (uint64_t)j->how.size.h << 32 | (uint64_t)j->how.size.w,
				     (uint64_t)j->how.filter << 32 | (uint64_t)j->how.aspect,
				     (uint64_t)form->h << 32 | (uint64_t)form->w,
				     (uint64_t)form->c,
				     form->vectors};
	memcpy(parts, made_of, sizeof parts);
	form->identity = XXH3_64bits(parts, sizeof parts);
	return true;
}

static bool ends_with(const char *text, const char *end)
{
	size_t a = strlen(text), b = strlen(end);
	return a > b && strcasecmp(text + a - b, end) == 0;
}

static bool check_out(const job *j, otp_error *err)
{
	struct stat in, out;
	const char *slash = strrchr(j->out, '/');
	char *folder =
	    slash ? otp_format("%.*s", slash > j->out ? (int)(slash - j->out) : 1, j->out) : otp_strdup(".");
	char *place = otp_dataset_place(j->set);
	bool ok = otp_outputs_outside(folder, j->set, "OUT", err);
	if (ok && stat(j->out, &out) == 0) {
		if (place && stat(place, &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
			ok = otp_fail(err, j->out, "is the input itself");
		else if (!S_ISREG(out.st_mode))
			ok = otp_fail(err, j->out, "is no file, expected one or none");
		else if (!j->o->overwrite)
			ok = otp_fail(err, j->out, "is there already; --overwrite replaces it");
	}
	otp_free(folder);
	otp_free(place);
	return ok;
}

/* As train prepares pictures. */
static bool settle_how(job *j, otp_error *err)
{
	const options *o = j->o;
	if (!o->size.h && (o->filter.chosen >= 0 || o->aspect.chosen >= 0))
		return otp_fail(err, o->filter.chosen >= 0 ? "--resize" : "--aspect",
				"needs --image-size with it");
	j->how.size = o->size;
	if (o->filter.chosen >= 0)
		j->how.filter = (otp_resize)o->filter.chosen;
	if (o->aspect.chosen >= 0)
		j->how.aspect = (otp_aspect)o->aspect.chosen;
	return true;
}

static bool open_set(job *j, const char *input, otp_error *err)
{
	if (!ends_with(j->out, ".h5") && !ends_with(j->out, ".hdf5"))
		return otp_fail(err, j->out, "does not end in .h5, which a packed set is");
	if (j->o->channels == 2)
		return otp_fail(err, "--channels", "is 2, expected 1, 3 or 4");
	if (!settle_how(j, err))
		return false;
	j->set = otp_dataset_open(input, j->o->seed, err);
	if (!j->set || !check_out(j, err))
		return false;
	if (j->how.size.h && otp_dataset_describe(j->set).kind == OTP_DATA_VECTORS)
		return otp_fail(err, "--image-size", "is for pictures, %s holds vectors", input);
	otp_dataset_stream(j->set);
	if (!otp_dataset_prepare(j->set, &j->how, j->o->channels, otp_pool_workers(j->pool), err))
		return false;
	j->info = otp_dataset_describe(j->set);
	return j->info.count > 0 ||
	       otp_fail(err, input, "is generated without end, expected ?limit=N with it");
}

/* What becomes of the values without having been asked for. */
static void say_choices(const job *j)
{
	const otp_dataset_info *i = &j->info;
	bool images = i->kind == OTP_DATA_IMAGES;
	if (images && i->survey.deep)
		otp_log("pictures of more than 8 bits a channel: %lld; rows have 8 bits",
			(long long)i->survey.deep);
	else if (images && !otp_dataset_stored_channels(j->set))
		otp_log("%s: pictures are made as floats; rows have 8 bits", i->spec);
	if (images && i->colour != OTP_COLOUR_NONE)
		otp_log("every picture gets one hue, drawn by --seed; training draws another each time it "
			"sees one");
	if (otp_dataset_alpha(j->set))
		otp_log("pictures with alpha: %lld, laid over white (--channels 4 keeps it)",
			(long long)otp_dataset_alpha(j->set));
}

static void say_space(const job *j, size_t needed)
{
	struct statvfs disk;
	char has[OTP_BYTES_TEXT], wants[OTP_BYTES_TEXT];
	char *partial = otp_format("%s.partial", j->out);
	if (statvfs(partial, &disk) == 0 && needed / disk.f_frsize > disk.f_bavail)
		otp_log("%s: %s more are needed, %s are free; where the disk is full before the end, make "
			"room and "
			"give the same command",
			j->out, otp_bytes_text(needed, wants),
			otp_bytes_text((uint64_t)disk.f_bavail * disk.f_frsize, has));
	otp_free(partial);
}

/* Takes up what an interrupted run left. */
static bool open_pack(job *j, otp_error *err)
{
	const otp_dataset_info *i = &j->info;
	bool vectors = i->kind == OTP_DATA_VECTORS;
	int stored = vectors ? 0 : otp_dataset_stored_channels(j->set);
	otp_pack_form form = {.vectors = vectors, .h = i->h, .w = i->w, .c = stored ? stored : i->c};
	if (!identity(j, &form, err))
		return false;
	j->row_bytes =
	    otp_mul_size((size_t)form.h * (size_t)form.w, (size_t)form.c * (vectors ? sizeof(float) : 1));
	j->pack = otp_file_make_folder_of(j->out, err) ? otp_pack_open(j->out, form, err) : NULL;
	if (!j->pack)
		return false;
	int64_t seen = otp_pack_seen(j->pack), left_count;
	const otp_pack_left *left = otp_pack_left_out(j->pack, &left_count);
	if (seen)
		otp_log("%s: goes on after %lld of %lld samples", j->out, (long long)seen,
			(long long)i->count);
	for (int64_t k = 0; k < left_count; k++)
		otp_dataset_leave_out(j->set, (uint64_t)left[k].sample, left[k].why);
	say_space(j, (size_t)(i->count - seen) * j->row_bytes);
	return true;
}

static void report(const job *j)
{
	const otp_dataset_info *i = &j->info;
	long long rows = (long long)otp_pack_rows(j->pack);
	if (i->kind == OTP_DATA_VECTORS)
		printf("packed %lld vector%s of %d value%s: %s\n", rows, otp_plural(rows), i->c,
		       otp_plural(i->c), j->out);
	else
		printf("packed %lld picture%s of %dx%dx%d (width x height x channels): %s\n", rows,
		       otp_plural(rows), i->w, i->h,
		       otp_dataset_stored_channels(j->set) ? otp_dataset_stored_channels(j->set) : i->c,
		       j->out);
}

static void run(job *j, const char *input, otp_error *err)
{
	j->pool = otp_pool_new(j->o->threads ? j->o->threads : otp_cores());
	if (!otp_pool_start(j->pool))
		otp_fail_machine(err, "--threads", "%d threads cannot be started", otp_pool_workers(j->pool));
	else if (open_set(j, input, err)) {
		say_choices(j);
		otp_interrupt_listen();
		if (open_pack(j, err)) {
			char *what = otp_format("%s: packed", j->out);
			j->tally = otp_tally_new(what, otp_pack_seen(j->pack), j->info.count);
			bool ok = run_all(j, err);
			otp_tally_free(j->tally);
			otp_free(what);
			j->info = otp_dataset_describe(j->set);
			if (ok && finish(j, err))
				report(j);
			j->undecoded = j->info.skipped;
		}
	}
	otp_pack_close(j->pack);
	otp_dataset_close(j->set);
	otp_pool_free(j->pool);
}

int otp_command_pack(int argc, char **argv, otp_error *err)
{
	static const char *const FILTERS[] = OTP_CHOICE_NAMES(otp_resize), *const ASPECTS[] =
									       OTP_CHOICE_NAMES(otp_aspect);
	options o = {.seed = 1, .filter = {-1, FILTERS}, .aspect = {-1, ASPECTS}};
	const otp_arg args[] = {
	    {"image-size", OTP_ARG_SIZE, &o.size, 0, 4096,
	     "bring pictures to N or WIDTHxHEIGHT pixels; default: as they are, which must be of one size"},
	    {"resize", OTP_ARG_PICK, &o.filter, 0, 0,
	     "by which filter: bilinear (default), area, bicubic, lanczos"},
	    {"aspect", OTP_ARG_PICK, &o.aspect, 0, 0,
	     "pictures of another aspect: crop (default), pad (white bars), stretch; all three as in train"},
	    {"channels", OTP_ARG_INT, &o.channels, 1, 4,
	     "1, 3 or 4 (with alpha); default: as they are, without alpha"},
	    {"seed", OTP_ARG_SEED, &o.seed, 0, 0, "of generated sets and drawn hues"},
	    {"threads", OTP_ARG_INT, &o.threads, 0, 1024, "CPU threads, 0: one a core"},
	    {"overwrite", OTP_ARG_FLAG, &o.overwrite, 0, 0, "replace a file that is there"},
	};
	const char *words[2];
	job j = {.o = &o};
	if (otp_args_parse(argc, argv, args, sizeof args / sizeof *args, words, 2,
			   "otplan pack INPUT OUT.h5 [--image-size SIZE] [--aspect A] [--resize F] "
			   "[--channels C] [--overwrite]",
			   err)) {
		j.out = words[1];
		run(&j, words[0], err);
	}
	return otp_exit_undecoded(j.undecoded, err);
}
