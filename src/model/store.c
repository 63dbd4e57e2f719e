#include "model/store.h"
#include "core/file.h"
#include "core/memory.h"
#include "model/fields.h"
#include "model/schema.h"
#include "model/version1.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const FORMATS[] = {"otplan-checkpoint", "otplan-model"};
/* A version is what a reader must know to read a file at all. What is added within one, older readers ignore;
 * where they must not, its word stands in the attribute `needs`, and who does not know a word refuses the
 * file.
 */
enum { FORMAT_VERSION = 2, MOST_NEEDS = 1024 };

/* noise-halvings: who ignores noise/halvings gives the generator another noise than it was trained with.
 * grey-source: who ignores preprocessing/grey_source lets colours of inputs show through. */
enum { NEEDS_HALVINGS, NEEDS_GREY, NEEDS_COUNT };
static const char *const NEEDS[NEEDS_COUNT] = {"noise-halvings", "grey-source"};

static const char *const NETWORKS[OTP_NETWORKS] = {"transport", "potential"};
static const int ROWS[OTP_NETWORKS] = {4, 3};

otp_preprocessing otp_stored_preprocessing(const otp_stored *s)
{
	otp_size sample = {s->arch.h, s->arch.w}, none = {0};
	return (otp_preprocessing){.size = s->crops ? s->load : sample,
				   .crop = s->crops ? sample : none,
				   .aspect = s->aspect,
				   .filter = s->filter,
				   .grey = s->grey && s->arch.c == 3};
}

void otp_stored_set_preprocessing(otp_stored *s, const otp_preprocessing *p)
{
	s->filter = p->filter;
	s->aspect = p->aspect;
	s->grey = p->grey;
	s->crops = p->crop.h > 0;
	s->load = s->crops ? p->size : (otp_size){0};
}

void otp_stored_free(otp_stored *s)
{
	otp_free(s->settings);
	for (int side = 0; side < 2; side++) {
		otp_data_facts *d = side ? &s->target : &s->source;
		otp_free(d->spec);
		otp_free(d->format);
		otp_free(d->test);
		otp_free(d->digest_kind);
	}
	for (otp_network n = 0; n < OTP_NETWORKS; n++)
		otp_free(s->state[n]);
	memset(s, 0, sizeof *s);
}

/* ---- files ---- */

/* A file that was opened, and what it says it is. */
typedef struct opened {
	otp_fields fields;
	otp_stored_kind kind;
	int version;
} opened;

/* Closes after reading. A read that the system refused says nothing about the file. */
static bool close_file(opened *o, bool ok)
{
	H5Fclose(o->fields.file);
	return ok || otp_hdf5_fail(o->fields.path, o->fields.err);
}

/* Refuses what needs more than this program knows. */
static bool check_needs(const otp_fields *f)
{
	char *needs = otp_fields_text(f, "needs", MOST_NEEDS), *rest = NULL;
	bool ok = needs != NULL;
	for (char *word = ok ? strtok_r(needs, " ", &rest) : NULL; ok && word;
	     word = strtok_r(NULL, " ", &rest)) {
		bool known = false;
		for (int i = 0; i < NEEDS_COUNT; i++)
			known = known || strcmp(word, NEEDS[i]) == 0;
		ok = known ||
		     otp_fail(f->err, f->path,
			      "needs `%s', which this program does not know; a newer one reads it", word);
	}
	otp_free(needs);
	return ok;
}

/* Which kind the file says it is. */
static bool identify(opened *o)
{
	const otp_fields *f = &o->fields;
	otp_error ignored = {0};
	otp_fields quiet = {.file = f->file, .path = f->path, .err = &ignored};
	char *format = otp_fields_long_text(&quiet, "format");
	bool known = false;
	for (int k = 0; k < 2; k++)
		if (format && strcmp(format, FORMATS[k]) == 0) {
			o->kind = (otp_stored_kind)k;
			known = true;
		}
	otp_free(format);
	return known || otp_fail(f->err, f->path, "is an HDF5 file, but no model or checkpoint of otplan");
}

static bool check_version(opened *o)
{
	const otp_fields *f = &o->fields;
	int64_t version = 0;
	if (!otp_fields_integer(f, "version", INT64_MIN, INT64_MAX, &version))
		return false;
	if (version < 1 || version > FORMAT_VERSION)
		return otp_fail(f->err, f->path, "has format version %lld, this program reads 1 to %d",
				(long long)version, FORMAT_VERSION);
	o->version = (int)version;
	return version == 1 || check_needs(f);
}

static bool open_file(const char *path, opened *o, otp_error *err)
{
	otp_hdf5_start();
	*o = (opened){.fields = {.file = otp_hdf5_open_file(path), .path = path, .err = err}};
	if (o->fields.file >= 0)
		return identify(o) || close_file(o, false);
	if (otp_hdf5_errno())
		return otp_hdf5_fail(path, err);
	bool hdf5 = otp_file_is_regular(path) && H5Fis_hdf5(path) > 0;
	return hdf5
		   ? otp_fail(err, path, "is damaged or truncated: HDF5 cannot open it")
		   : otp_fail(err, path, "is no HDF5 file, expected a model or checkpoint written by otplan");
}

bool otp_stored_identify(const char *path, otp_stored_kind *kind, otp_error *err)
{
	opened o;
	if (!open_file(path, &o, err))
		return false;
	*kind = o.kind;
	return close_file(&o, true);
}

static bool open_kind(const char *path, otp_stored_kind wanted, opened *o, otp_error *err)
{
	if (!open_file(path, o, err))
		return false;
	if (o->kind != wanted)
		otp_fail(err, path, "is a %s, expected a %s", FORMATS[o->kind] + strlen("otplan-"),
			 FORMATS[wanted] + strlen("otplan-"));
	else if (check_version(o))
		return true;
	return close_file(o, false);
}

static bool write_needs(hid_t file, const otp_stored *s)
{
	const bool needed[NEEDS_COUNT] = {
	    [NEEDS_HALVINGS] = s->arch.noise_halvings > 0, [NEEDS_GREY] = s->grey};
	char words[MOST_NEEDS] = "";
	for (int i = 0; i < NEEDS_COUNT; i++)
		if (needed[i]) {
			size_t used = strlen(words);
			snprintf(words + used, sizeof words - used, "%s%s", used ? " " : "", NEEDS[i]);
		}
	return otp_fields_write_text(file, "needs", words);
}

/* What both kinds hold. */
static bool write_facts(hid_t file, otp_stored_kind kind, const otp_stored *s)
{
	return otp_fields_write_long_text(file, "format", FORMATS[kind]) &&
	       otp_fields_write_integer(file, "version", FORMAT_VERSION) && write_needs(file, s) &&
	       otp_schema_write(file, s) && otp_fields_write_long_text(file, "settings", s->settings);
}

static bool read_facts(const opened *o, otp_stored *s)
{
	s->version = o->version;
	s->rate_factor = 1; /* where the file says nothing */
	s->arch.scale = 1;
	if (o->version == 1)
		return otp_version1_read(&o->fields, o->kind, s);
	if (!otp_schema_read(&o->fields, s))
		return false;
	s->settings = otp_fields_has_set(&o->fields, "settings")
			  ? otp_fields_long_text(&o->fields, "settings")
			  : otp_strdup("");
	return s->settings != NULL;
}

/* Close, and let the finished temporary take the path's name. */
static bool finish(hid_t file, bool ok, char *temporary, const char *path, otp_file_check *check,
		   const void *meant, otp_error *err)
{
	if (file >= 0)
		ok &= otp_hdf5_close_written(file);
	if (file < 0 || !ok) {
		int why = otp_hdf5_errno();
		otp_fail_machine(err, path, "cannot be written: %s", why ? strerror(why) : "HDF5 failed");
		unlink(temporary);
		ok = false;
	} else {
		ok = otp_file_commit(temporary, path, check, meant, err);
	}
	otp_free(temporary);
	return ok;
}

/* ---- checkpoints ---- */

/* In the order of files. */
static char *layout_text(const otp_params *p)
{
	size_t room = (size_t)p->count * 160 + 1, used = 0;
	int64_t offset = 0;
	char *text = otp_calloc(room, 1);
	for (int k = 0; k < p->count; k++) {
		const otp_param_info *i = &p->info[k];
		used += (size_t)snprintf(text + used, room - used, "%s %lld %dx%dx%dx%d\n", i->name,
					 (long long)offset, i->shape.n, i->shape.h, i->shape.w, i->shape.c);
		offset += (int64_t)otp_round_up((size_t)otp_shape_count(i->shape), 16);
	}
	return text;
}

static bool write_network(hid_t file, const otp_stored *s, otp_network network, const otp_params *params)
{
	char name[64];
	int64_t dims[2] = {ROWS[network], s->elements[network]};
	char *layout = layout_text(params);
	bool ok = otp_fields_make_group(file, NETWORKS[network]);
	snprintf(name, sizeof name, "%s/state", NETWORKS[network]);
	otp_params_to_file(params, s->state[network], ROWS[network]); /* there and back: a copy may not fit */
	ok = ok && otp_fields_write_set(file, name, OTP_SET_F32, s->state[network], dims, 2);
	otp_params_from_file(params, s->state[network], ROWS[network]);
	snprintf(name, sizeof name, "%s/layout", NETWORKS[network]);
	ok = ok && otp_fields_write_long_text(file, name, layout);
	otp_free(layout);
	return ok;
}

enum { LOSSES = sizeof(otp_losses) / sizeof(double) };

static bool write_losses(hid_t file, const otp_losses *losses)
{
	int64_t count = LOSSES;
	return otp_fields_write_set(file, "losses", OTP_SET_F64, losses, &count, 1);
}

/* A checkpoint from before they were kept has none: the next record's means begin after it. */
static bool read_losses(const otp_fields *f, otp_losses *losses)
{
	int64_t count = 0;
	if (!otp_fields_has_set(f, "losses"))
		return true;
	if (!otp_fields_look(f, "losses", OTP_SET_F64, 1, &count))
		return false;
	return count == LOSSES ? otp_fields_read_set(f, "losses", OTP_SET_F64, LOSSES, losses)
			       : otp_fail(f->err, f->path, "set losses has %lld values, expected %d",
					  (long long)count, (int)LOSSES);
}

static bool write_guard(hid_t file, const float *guard)
{
	int64_t count = OTP_GUARD_VALUES;
	return otp_fields_write_set(file, "guard", OTP_SET_F32, guard, &count, 1);
}

/* A file may hold anything: counts become indices. */
static bool is_guard(const float *guard)
{
	bool ok = guard[OTP_GUARD_STOPPED] == 0;
	for (int k = 0; k < OTP_GUARD_VALUES; k++)
		ok = ok && isfinite(guard[k]) && guard[k] >= 0;
	for (int kind = 0; kind < OTP_STEP_KINDS; kind++)
		ok = ok && guard[OTP_GUARD_HEAD + kind * OTP_GUARD_ROW] < 2 * OTP_GUARD_KEPT;
	return ok;
}

/* A checkpoint from before there was a guard has none: it begins with the next step. */
static bool read_guard(const otp_fields *f, float *guard)
{
	int64_t count = 0;
	if (!otp_fields_has_set(f, "guard"))
		return true;
	if (!otp_fields_look(f, "guard", OTP_SET_F32, 1, &count))
		return false;
	if (count != OTP_GUARD_VALUES)
		return otp_fail(f->err, f->path, "set guard has %lld values, expected %d", (long long)count,
				(int)OTP_GUARD_VALUES);
	return otp_fields_read_set(f, "guard", OTP_SET_F32, OTP_GUARD_VALUES, guard) &&
	       (is_guard(guard) || otp_fail(f->err, f->path, "set guard holds no norms of gradients"));
}

static const char *const CHECKPOINT_SETS[] = {"format",		 "settings",	    "losses",
					      "guard",		 "transport/state", "transport/layout",
					      "potential/state", "potential/layout"};

/* Facts, and the digest of every set; of version 2, whose files have all of them. */
static bool check_checkpoint(const opened *o, otp_stored *s)
{
	const otp_fields *f = &o->fields;
	bool ok = read_facts(o, s) && otp_fields_real(f, "time_s", 0, 1e15, &s->time_s);
	for (size_t i = 0; ok && i < sizeof CHECKPOINT_SETS / sizeof *CHECKPOINT_SETS; i++) {
		const char *name = CHECKPOINT_SETS[i];
		bool needed = strstr(name, "/state") != NULL || strcmp(name, "format") == 0;
		ok = (!needed && !otp_fields_has_set(f, name)) || otp_fields_check_set(f, name);
	}
	return ok;
}

bool otp_checkpoint_check(const char *path, otp_error *err)
{
	opened o;
	otp_stored s = {0};
	if (!open_kind(path, OTP_STORED_CHECKPOINT, &o, err))
		return false;
	bool ok = close_file(&o, check_checkpoint(&o, &s));
	otp_stored_free(&s);
	return ok;
}

/* A file written a moment ago lacks nothing, and is of the step that was meant. */
static bool check_written_checkpoint(const char *temporary, const void *meant, otp_error *err)
{
	opened o;
	otp_stored s = {0};
	if (!open_kind(temporary, OTP_STORED_CHECKPOINT, &o, err))
		return false;
	bool ok = check_checkpoint(&o, &s);
	for (size_t i = 0; ok && i < sizeof CHECKPOINT_SETS / sizeof *CHECKPOINT_SETS; i++)
		ok = otp_fields_has_set(&o.fields, CHECKPOINT_SETS[i]) ||
		     otp_fail(err, temporary, "has no set %s", CHECKPOINT_SETS[i]);
	ok = ok && (s.step == ((const otp_stored *)meant)->step ||
		    otp_fail(err, temporary, "is of step %lld", (long long)s.step));
	ok = close_file(&o, ok);
	otp_stored_free(&s);
	return ok;
}

bool otp_checkpoint_write(const char *path, const otp_stored *s, const otp_params *const params[OTP_NETWORKS],
			  otp_error *err)
{
	otp_hdf5_start();
	char *temporary = otp_file_temporary(path);
	hid_t file = otp_fields_create(temporary);
	bool ok = file >= 0 && write_facts(file, OTP_STORED_CHECKPOINT, s) &&
		  otp_fields_write_real(file, "time_s", s->time_s) && write_losses(file, &s->losses) &&
		  write_guard(file, s->guard);
	for (otp_network network = 0; ok && network < OTP_NETWORKS; network++)
		ok = write_network(file, s, network, params[network]);
	return finish(file, ok, temporary, path, check_written_checkpoint, s, err);
}

static bool read_network(const otp_fields *f, otp_stored *s, otp_network network)
{
	char name[64];
	int64_t dims[2];
	snprintf(name, sizeof name, "%s/state", NETWORKS[network]);
	if (!otp_fields_look(f, name, OTP_SET_F32, 2, dims))
		return false;
	if (dims[0] != ROWS[network])
		return otp_fail(f->err, f->path, "set %s has %lld rows, expected %d", name,
				(long long)dims[0], ROWS[network]);
	s->elements[network] = dims[1];
	s->state[network] = otp_calloc((size_t)(dims[0] * dims[1]), sizeof(float));
	return otp_fields_read_set(f, name, OTP_SET_F32, dims[0] * dims[1], s->state[network]);
}

/* The generator's state as programs want it; of one that is not this architecture's, whoever goes on tells.
 */
static void arrange(otp_stored *s)
{
	otp_params *params = otp_sample_params(&s->arch);
	if (params->elements == s->elements[OTP_TRANSPORT])
		otp_params_from_file(params, s->state[OTP_TRANSPORT], ROWS[OTP_TRANSPORT]);
	otp_params_free(params);
}

bool otp_checkpoint_read(const char *path, otp_stored *s, otp_error *err)
{
	opened o;
	memset(s, 0, sizeof *s);
	if (!open_kind(path, OTP_STORED_CHECKPOINT, &o, err))
		return false;
	const otp_fields *f = &o.fields;
	bool ok = read_facts(&o, s) && otp_fields_real(f, "time_s", 0, 1e15, &s->time_s) &&
		  read_losses(f, &s->losses) && read_guard(f, s->guard) &&
		  read_network(f, s, OTP_TRANSPORT) && read_network(f, s, OTP_POTENTIAL);
	ok = close_file(&o, ok);
	if (ok)
		arrange(s);
	else
		otp_stored_free(s);
	return ok;
}

/* ---- models ---- */

static void set_name(const otp_param_info *i, char name[128])
{
	snprintf(name, 128, "generator/%s", i->name);
}

static bool has_parameter(const otp_fields *f, const otp_param_info *i)
{
	char name[128];
	int64_t d[4];
	otp_shape s = i->shape;
	set_name(i, name);
	if (!otp_fields_look(f, name, OTP_SET_F32, 4, d))
		return false;
	return (d[0] == s.n && d[1] == s.h && d[2] == s.w && d[3] == s.c) ||
	       otp_fail(f->err, f->path, "set %s is %lldx%lldx%lldx%lld, its architecture has %dx%dx%dx%d",
			name, (long long)d[0], (long long)d[1], (long long)d[2], (long long)d[3], s.n, s.h,
			s.w, s.c);
}

static bool check_parameters(const otp_fields *f, const otp_params *params)
{
	bool ok = true;
	for (int k = 0; ok && k < params->count; k++) {
		char name[128];
		set_name(&params->info[k], name);
		ok = has_parameter(f, &params->info[k]) && otp_fields_check_set(f, name);
	}
	return ok;
}

bool otp_model_check(const char *path, const otp_params *params, otp_error *err)
{
	opened o;
	otp_stored s = {0};
	if (!open_kind(path, OTP_STORED_MODEL, &o, err))
		return false;
	const otp_fields *f = &o.fields;
	bool ok = read_facts(&o, &s) && otp_fields_integer(f, "parameters", 0, INT64_MAX, &s.parameters) &&
		  otp_fields_check_set(f, "format") &&
		  (!otp_fields_has_set(f, "settings") || otp_fields_check_set(f, "settings"));
	otp_params *own = NULL;
	if (ok && !params)
		params = own = otp_sample_params(&s.arch);
	ok = close_file(&o, ok && check_parameters(f, params));
	otp_params_free(own);
	otp_stored_free(&s);
	return ok;
}

static bool check_written_model(const char *temporary, const void *meant, otp_error *err)
{
	return otp_model_check(temporary, meant, err);
}

bool otp_model_write(const char *path, const otp_stored *s, const otp_params *params, const float *row,
		     otp_error *err)
{
	otp_hdf5_start();
	char *temporary = otp_file_temporary(path);
	hid_t file = otp_fields_create(temporary);
	bool ok = file >= 0 && write_facts(file, OTP_STORED_MODEL, s) &&
		  otp_fields_write_integer(file, "parameters", params->trainable) &&
		  otp_fields_make_group(file, "generator");
	for (int k = 0; ok && k < params->count; k++) {
		const otp_param_info *i = &params->info[k];
		char name[128];
		set_name(i, name);
		int64_t dims[4] = {i->shape.n, i->shape.h, i->shape.w, i->shape.c};
		ok = otp_fields_write_set(file, name, OTP_SET_F32, row + i->offset, dims, 4);
	}
	return finish(file, ok, temporary, path, check_written_model, params, err);
}

bool otp_model_read(const char *path, otp_stored *s, otp_error *err)
{
	opened o;
	memset(s, 0, sizeof *s);
	if (!open_kind(path, OTP_STORED_MODEL, &o, err))
		return false;
	bool ok =
	    read_facts(&o, s) && otp_fields_integer(&o.fields, "parameters", 0, INT64_MAX, &s->parameters);
	ok = close_file(&o, ok);
	if (!ok)
		otp_stored_free(s);
	return ok;
}

float *otp_model_read_weights(const char *path, const otp_params *params, otp_error *err)
{
	opened o;
	if (!open_kind(path, OTP_STORED_MODEL, &o, err))
		return NULL;
	bool ok = true;
	/* All before any memory is taken: a file may claim an architecture that it does not hold. */
	for (int k = 0; ok && k < params->count; k++)
		ok = has_parameter(&o.fields, &params->info[k]);
	size_t count = (size_t)params->elements;
	float *row = ok ? otp_try_calloc(count, sizeof *row) : NULL;
	if (ok && !row)
		ok = otp_fail_memory(err, path, count * sizeof *row, "the weights", otp_memory_available());
	for (int k = 0; ok && k < params->count; k++) {
		const otp_param_info *i = &params->info[k];
		char name[128];
		set_name(i, name);
		ok = otp_fields_read_set(&o.fields, name, OTP_SET_F32, otp_shape_count(i->shape),
					 row + i->offset);
	}
	if (close_file(&o, ok))
		return row;
	otp_free(row);
	return NULL;
}
