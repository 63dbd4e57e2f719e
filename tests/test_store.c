/* store: what is written is what is read, equal content is equal bytes, and
 * damage is an error, never a result. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/file.h"
#include "core/rng.h"
#include "model/store.h"
#include "ot/objective.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[] = "/tmp/otplan-store-XXXXXX";
static const int ROWS[] = {4, 3};

static const char *at(const char *name)
{
	static char buffers[4][512];
	static int next;
	char *buffer = buffers[next++ % 4];
	snprintf(buffer, sizeof buffers[0], "%s/%s", root, name);
	return buffer;
}

/* ---- a small run's content ---------------------------------------------------- */

typedef struct content {
	otp_params *params[OTP_NETWORKS];
	otp_stored facts;
	float *row; /* of the generator */
} content;

static const otp_arch arch = {.vectors = true,
			      .h = 1,
			      .w = 1,
			      .c = 3,
			      .condition_noise = true,
			      .embedding = 4,
			      .residual = true,
			      .width = 8,
			      .blocks = 1,
			      .sharpness = 1,
			      .potential_width = 8,
			      .potential_blocks = 1,
			      .potential_sharpness = 1};

static otp_params *discover(otp_network network)
{
	/* A transport step finds the parameters of both networks. */
	otp_objective objective = {.arch = arch, .tau = 1};
	otp_params *transport = otp_params_new(), *value = otp_params_new();
	otp_step_graph step = otp_transport_step(&objective, transport, value, 1, 1, 0);
	otp_graph_free(step.graph);
	otp_params_free(network == OTP_POTENTIAL ? transport : value);
	return network == OTP_POTENTIAL ? value : transport;
}

static otp_data_facts side(const char *spec, uint64_t digest)
{
	return (otp_data_facts){.spec = otp_strdup(spec),
				.format = otp_strdup("npy"),
				.count = 12,
				.digest_kind = otp_strdup("sampled-blocks-1"),
				.digest = digest};
}

static content make(uint32_t draw)
{
	content c = {.facts = {.step = 41,
			       .time_s = 1.25,
			       .seed = UINT64_C(0xf123456789abcdef),
			       .arch = arch,
			       .sigma = 0.1,
			       .rate_factor = 0.25,
			       .rollbacks = 2,
			       .source = side("a#b", UINT64_C(0xfedcba9876543210)),
			       .target = side("synth:digits", 7),
			       .settings = otp_strdup("width = 8\nsource = \"a#b\"\n")}};
	for (int kind = 0; kind < OTP_STEP_KINDS; kind++) {
		for (int k = 0; k < OTP_GUARD_ROW; k++)
			c.facts.guard[OTP_GUARD_HEAD + kind * OTP_GUARD_ROW + k] = 7 + (float)k / 8;
		c.facts.losses.count[kind] = 3 + kind;
		for (int k = 0; k < OTP_REPORT_COUNT; k++)
			c.facts.losses.sum[kind][k] = 1.0 / (1 + kind * OTP_REPORT_COUNT + k);
	}
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		c.params[n] = discover(n);
		c.facts.elements[n] = c.params[n]->elements;
		int64_t count = c.facts.elements[n] * ROWS[n];
		c.facts.state[n] = otp_calloc((size_t)count, sizeof(float));
		otp_stream stream = otp_stream_make(5, (uint32_t)n, draw);
		for (int64_t i = 0; i < count; i++)
			c.facts.state[n][i] =
			    otp_random_uniform(stream, OTP_PURPOSE_INIT, (uint32_t)i) - 0.5f;
	}
	c.row = c.facts.state[OTP_TRANSPORT];
	return c;
}

static void release(content *c)
{
	otp_params_free(c->params[OTP_TRANSPORT]);
	otp_params_free(c->params[OTP_POTENTIAL]);
	otp_stored_free(&c->facts);
}

static void write_checkpoint(const char *path, const content *c)
{
	otp_error err = {0};
	const otp_params *const params[OTP_NETWORKS] = {c->params[OTP_TRANSPORT], c->params[OTP_POTENTIAL]};
	if (!otp_checkpoint_write(path, &c->facts, params, &err))
		fail_msg("%s", err.text);
}

static void write_model(const char *path, const content *c)
{
	otp_error err = {0};
	if (!otp_model_write(path, &c->facts, c->params[OTP_TRANSPORT], c->row, &err))
		fail_msg("%s", err.text);
}

static void assert_side(const otp_data_facts *a, const otp_data_facts *b)
{
	assert_string_equal(a->spec, b->spec);
	assert_string_equal(a->format, b->format);
	assert_string_equal(a->digest_kind, b->digest_kind);
	assert_true(a->count == b->count && a->digest == b->digest);
}

static void assert_facts(const otp_stored *a, const otp_stored *b)
{
	const otp_arch *p = &a->arch, *q = &b->arch;
	assert_true(a->step == b->step && a->seed == b->seed && a->sigma == b->sigma &&
		    a->smoothing == b->smoothing);
	assert_true(p->vectors == q->vectors && p->h == q->h && p->w == q->w && p->c == q->c);
	assert_true(p->condition_noise == q->condition_noise && p->latent == q->latent &&
		    p->residual == q->residual && p->width == q->width && p->blocks == q->blocks &&
		    p->sharpness == q->sharpness);
	assert_side(&a->source, &b->source);
	assert_side(&a->target, &b->target);
	assert_string_equal(a->settings, b->settings);
}

static bool same_state(const otp_stored *a, const otp_stored *b)
{
	for (int n = 0; n < 2; n++)
		if (a->elements[n] != b->elements[n] ||
		    memcmp(a->state[n], b->state[n], (size_t)(a->elements[n] * ROWS[n]) * sizeof(float)) != 0)
			return false;
	return true;
}

/* Values of the generator's parameters; what pads them is nobody's. */
static bool same_weights(const otp_params *p, const float *a, const float *b)
{
	for (int k = 0; k < p->count; k++) {
		size_t bytes = (size_t)otp_shape_count(p->info[k].shape) * sizeof(float);
		if (memcmp(a + p->info[k].offset, b + p->info[k].offset, bytes) != 0)
			return false;
	}
	return true;
}

/* ---- tests -------------------------------------------------------------------- */

static void checkpoint_comes_back(void **state)
{
	(void)state;
	otp_error err = {0};
	otp_stored back;
	otp_stored_kind kind;
	content c = make(0);
	write_checkpoint(at("a.h5"), &c);
	assert_true(otp_stored_identify(at("a.h5"), &kind, &err));
	assert_int_equal(kind, OTP_STORED_CHECKPOINT);
	assert_true(otp_checkpoint_read(at("a.h5"), &back, &err));
	assert_facts(&back, &c.facts);
	assert_true(back.time_s == c.facts.time_s);
	assert_memory_equal(&back.losses, &c.facts.losses, sizeof back.losses);
	assert_memory_equal(back.guard, c.facts.guard, sizeof back.guard);
	assert_true(back.rate_factor == 0.25 && back.rollbacks == 2);
	assert_true(same_state(&back, &c.facts));
	otp_stored_free(&back);
	release(&c);
}

/* Counts become indices, and one that stopped would never train again. */
static void a_guard_that_cannot_be_is_refused(void **state)
{
	(void)state;
	const struct {
		int at;
		float value;
	} wrong[] = {{OTP_GUARD_STOPPED, 1},
		     {OTP_GUARD_HEAD, 2 * OTP_GUARD_KEPT},
		     {OTP_GUARD_HEAD, -1},
		     {OTP_GUARD_HEAD + OTP_GUARD_ROW, NAN},
		     {OTP_GUARD_VALUES - 1, INFINITY}};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		otp_error err = {0};
		otp_stored back;
		content c = make(0);
		c.facts.guard[wrong[i].at] = wrong[i].value;
		write_checkpoint(at("guard.h5"), &c);
		assert_false(otp_checkpoint_read(at("guard.h5"), &back, &err));
		assert_non_null(strstr(err.text, "set guard"));
		release(&c);
	}
}

static void model_comes_back(void **state)
{
	(void)state;
	otp_error err = {0};
	otp_stored back;
	otp_stored_kind kind;
	content c = make(0);
	write_model(at("m.h5"), &c);
	assert_true(otp_stored_identify(at("m.h5"), &kind, &err));
	assert_int_equal(kind, OTP_STORED_MODEL);
	assert_true(otp_model_read(at("m.h5"), &back, &err));
	assert_facts(&back, &c.facts);
	assert_true(back.sigma == c.facts.sigma);
	assert_true(back.parameters == c.params[OTP_TRANSPORT]->trainable);
	float *row = otp_model_read_weights(at("m.h5"), c.params[OTP_TRANSPORT], &err);
	assert_non_null(row);
	assert_true(same_weights(c.params[OTP_TRANSPORT], row, c.row));
	otp_stored_free(&back);
	otp_free(row);
	release(&c);
}

static char *whole(const char *path, size_t *bytes)
{
	otp_error err = {0};
	char *data = otp_file_read(path, bytes, &err);
	if (!data)
		fail_msg("%s", err.text);
	return data;
}

static void equal_content_is_equal_bytes(void **state)
{
	(void)state;
	static void (*const WRITE[])(const char *path, const content *c) = {write_checkpoint, write_model};
	for (int kind = 0; kind < 2; kind++) {
		char *data[3];
		size_t bytes[3];
		for (int i = 0; i < 3; i++) {
			content c = make(i == 2);
			char *path = otp_strdup(at(i == 0 ? "first.h5" : "second.h5"));
			/* Over an older file too, and not within the same second of the clock. */
			WRITE[kind](path, &c);
			if (i == 0)
				usleep(1100000);
			data[i] = whole(path, &bytes[i]);
			otp_free(path);
			release(&c);
		}
		assert_true(bytes[0] == bytes[1] && memcmp(data[0], data[1], bytes[0]) == 0);
		assert_true(bytes[0] == bytes[2] && memcmp(data[0], data[2], bytes[0]) != 0);
		for (int i = 0; i < 3; i++)
			otp_free(data[i]);
	}
}

/* Reads a file that may be damaged: right, or refused in one line that names it. */
static bool reads_right(const char *path, const content *c, otp_stored_kind kind)
{
	otp_error err = {0};
	otp_stored back;
	bool ok = kind == OTP_STORED_MODEL ? otp_model_read(path, &back, &err)
					   : otp_checkpoint_read(path, &back, &err);
	if (ok) {
		assert_facts(&back, &c->facts);
		if (kind == OTP_STORED_MODEL) {
			float *row = otp_model_read_weights(path, c->params[OTP_TRANSPORT], &err);
			ok = row != NULL;
			assert_true(!ok || same_weights(c->params[OTP_TRANSPORT], row, c->row));
			assert_true(back.sigma == c->facts.sigma);
			otp_free(row);
		} else {
			assert_true(same_state(&back, &c->facts));
			assert_true(back.time_s == c->facts.time_s);
		}
		otp_stored_free(&back);
	}
	if (!ok) {
		assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
		assert_memory_equal(err.text, path, strlen(path));
	}
	return ok;
}

static void put(const char *path, const char *data, size_t bytes)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, bytes, f), bytes);
	fclose(f);
}

static void damage_is_found(void **state)
{
	(void)state;
	content c = make(0);
	for (int kind = 0; kind < 2; kind++) {
		size_t bytes;
		(kind == OTP_STORED_MODEL ? write_model : write_checkpoint)(at("whole.h5"), &c);
		char *data = whole(at("whole.h5"), &bytes);
		char *path = otp_strdup(at("damaged.h5"));
		for (size_t length = 0; length < bytes; length += 1 + length / 16) {
			put(path, data, length);
			assert_false(reads_right(path, &c, (otp_stored_kind)kind));
		}
		/* A stride coprime to every structure's size walks through all of them. */
		int found = 0, tried = 0;
		for (size_t bit = 5; bit < 8 * bytes; bit += 8 * bytes / 1500 + 1, tried++) {
			data[bit / 8] ^= (char)(1 << bit % 8);
			put(path, data, bytes);
			found += !reads_right(path, &c, (otp_stored_kind)kind);
			data[bit / 8] ^= (char)(1 << bit % 8);
		}
		assert_true(found > 0 && found <= tried);
		put(path, data, bytes);
		assert_true(reads_right(path, &c, (otp_stored_kind)kind));
		otp_free(path);
		otp_free(data);
	}
	release(&c);
}

static void strangers_are_refused(void **state)
{
	(void)state;
	otp_error err = {0};
	otp_stored back;
	otp_stored_kind kind;
	content c = make(0);
	write_model(at("m.h5"), &c);
	write_checkpoint(at("c.h5"), &c);
	assert_false(otp_checkpoint_read(at("m.h5"), &back, &err));
	assert_non_null(strstr(err.text, "is a model, expected a checkpoint"));
	err.exit_code = 0;
	assert_false(otp_model_read(at("c.h5"), &back, &err));
	assert_non_null(strstr(err.text, "is a checkpoint, expected a model"));
	err.exit_code = 0;
	assert_false(otp_stored_identify(at("nowhere.h5"), &kind, &err));
	assert_non_null(strstr(err.text, "nowhere.h5"));
	err.exit_code = 0;
	assert_false(otp_stored_identify(root, &kind, &err));
	err.exit_code = 0;
	H5Fclose(H5Fcreate(at("other.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
	assert_false(otp_stored_identify(at("other.h5"), &kind, &err));
	assert_non_null(strstr(err.text, "no model or checkpoint"));

	/* Tomorrow's format says so itself. */
	hid_t file = H5Fopen(at("m.h5"), H5F_ACC_RDWR, H5P_DEFAULT),
	      attr = H5Aopen(file, "version", H5P_DEFAULT);
	int64_t version = 99;
	H5Awrite(attr, H5T_NATIVE_INT64, &version);
	H5Aclose(attr);
	H5Fclose(file);
	err.exit_code = 0;
	assert_false(otp_model_read(at("m.h5"), &back, &err));
	assert_non_null(strstr(err.text, "version 99"));
	release(&c);
}

/* ---- version 2: what a reader ignores, needs and refuses ---- */

static hid_t reopen(const char *path) { return H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT); }

/* What is to stand in an attribute's place. */
typedef struct wrong {
	const char *name; /* "group/attribute" */
	hid_t type;
	int rank;
	hsize_t count; /* values of each dimension */
	const void *value;
} wrong;

static void replace(hid_t file, const wrong *w)
{
	char *group = otp_strdup(w->name), *slash = strrchr(group, '/');
	hsize_t dims[2] = {w->count, w->count};
	size_t values = w->rank == 0 ? 1 : w->rank == 1 ? w->count : w->count * w->count;
	const char *last = slash ? slash + 1 : w->name, *at = slash ? group : ".";
	if (slash)
		*slash = 0;
	H5Adelete_by_name(file, at, last, H5P_DEFAULT);
	hid_t space = w->rank ? H5Screate_simple(w->rank, dims, NULL) : H5Screate(H5S_SCALAR);
	hid_t attr = H5Acreate_by_name(file, at, last, w->type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
	assert_true(attr >= 0);
	void *zeros = otp_calloc(values, H5Tget_size(w->type));
	assert_true(H5Awrite(attr, w->type, w->value ? w->value : zeros) >= 0);
	otp_free(zeros);
	H5Aclose(attr);
	H5Sclose(space);
	otp_free(group);
}

/* In one line that names the file and says `word`. */
static void assert_refused(const content *c, otp_stored_kind kind, const wrong *w, const char *word)
{
	otp_error err = {0};
	otp_stored back;
	const char *path = at("wrong.h5");
	bool model = kind == OTP_STORED_MODEL;
	(model ? write_model : write_checkpoint)(path, c);
	hid_t file = reopen(path);
	replace(file, w);
	H5Fclose(file);
	assert_false((model ? otp_model_read : otp_checkpoint_read)(path, &back, &err));
	assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
	assert_memory_equal(err.text, path, strlen(path));
	assert_null(strchr(err.text, '\n'));
	if (!strstr(err.text, word))
		fail_msg("%s does not say %s", err.text, word);
}

static void wrong_attributes_are_refused(void **state)
{
	(void)state;
	static const int64_t negative = -1, huge = (int64_t)1 << 30;
	static const double nan = NAN;
	hid_t text = H5Tcopy(H5T_C_S1), endless = H5Tcopy(H5T_C_S1);
	hid_t pair = H5Tcreate(H5T_COMPOUND, 16), many[1];
	static const char *const words[] = {"x"};
	static const char stranger[16] = "nobody's word", second[16] = "grey-source x";
	H5Tset_size(text, 16);
	H5Tset_size(endless, H5T_VARIABLE);
	H5Tinsert(pair, "a", 0, H5T_NATIVE_INT64);
	many[0] = H5Tarray_create2(H5T_NATIVE_INT64, 1, (const hsize_t[]){7000});
	const wrong wrongs[] = {
	    {"version", H5T_NATIVE_INT64, 1, 7000, NULL},
	    {"needs", H5T_NATIVE_INT64, 0, 1, NULL},
	    {"needs", text, 0, 1, stranger},
	    {"needs", text, 0, 1, second},
	    {"step", H5T_NATIVE_INT64, 0, 1, &negative},
	    {"step", H5T_NATIVE_DOUBLE, 0, 1, NULL},
	    {"seed", H5T_NATIVE_INT64, 0, 1, NULL},
	    {"preprocessing/height", H5T_NATIVE_INT64, 0, 1, &huge},
	    {"preprocessing/channels", H5T_NATIVE_INT64, 0, 1, &negative},
	    {"preprocessing/samples", text, 0, 1, stranger},
	    {"architecture/width", H5T_NATIVE_INT64, 1, 7000, NULL},
	    {"architecture/width", H5T_NATIVE_INT64, 1, 1, NULL},
	    {"architecture/width", H5T_NATIVE_INT64, 2, 3, NULL},
	    {"architecture/width", text, 0, 1, NULL},
	    {"architecture/width", pair, 0, 1, NULL},
	    {"architecture/width", many[0], 0, 1, NULL},
	    {"architecture/width", H5T_NATIVE_INT64, 0, 1, &huge},
	    {"architecture/blocks", H5T_NATIVE_INT64, 0, 1, &negative},
	    {"architecture/network", endless, 0, 1, words},
	    {"architecture/sharpness", H5T_NATIVE_DOUBLE, 0, 1, &nan},
	    {"smoothing/sigma", H5T_NATIVE_DOUBLE, 0, 1, &nan},
	    {"smoothing/sigma", H5T_NATIVE_DOUBLE, 1, 7000, NULL},
	    {"source/digest_kind", text, 1, 7000, NULL},
	    {"source/count", H5T_NATIVE_INT64, 0, 1, &negative},
	};
	content c = make(0);
	for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++)
		for (int kind = 0; kind < 2; kind++)
			assert_refused(&c, (otp_stored_kind)kind, &wrongs[i],
				       wrongs[i].value == stranger ? "know" : wrongs[i].name);
	H5Tclose(text);
	H5Tclose(endless);
	H5Tclose(pair);
	H5Tclose(many[0]);
	release(&c);
}

static void additions_are_ignored(void **state)
{
	(void)state;
	const wrong extra = {"later", H5T_NATIVE_INT64, 1, 3, NULL},
		    within = {"architecture/later", H5T_NATIVE_DOUBLE, 0, 1, NULL};
	content c = make(0);
	for (int kind = 0; kind < 2; kind++) {
		(kind == OTP_STORED_MODEL ? write_model : write_checkpoint)(at("later.h5"), &c);
		hid_t file = reopen(at("later.h5"));
		H5Gclose(H5Gcreate2(file, "additions", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
		replace(file, &extra);
		replace(file, &within);
		H5Fclose(file);
		assert_true(reads_right(at("later.h5"), &c, (otp_stored_kind)kind));
	}
	release(&c);
}

static void what_is_missing_is_named(void **state)
{
	(void)state;
	static const char *const NAMES[][2] = {
	    {"architecture", "width"}, {"noise", "condition"}, {"smoothing", "sigma"}, {"target", "digest"}};
	content c = make(0);
	for (int i = 0; i < 4; i++) {
		otp_error err = {0};
		otp_stored back;
		char name[64];
		snprintf(name, sizeof name, "has no attribute %s/%s", NAMES[i][0], NAMES[i][1]);
		write_model(at("less.h5"), &c);
		hid_t file = reopen(at("less.h5"));
		assert_true(H5Adelete_by_name(file, NAMES[i][0], NAMES[i][1], H5P_DEFAULT) >= 0);
		H5Fclose(file);
		assert_false(otp_model_read(at("less.h5"), &back, &err));
		assert_non_null(strstr(err.text, name));
	}
	release(&c);
}

/* A set in another's place. */
static void replace_set(hid_t file, const char *name, hid_t type, int rank, const hsize_t *dims,
			H5D_layout_t layout)
{
	H5Ldelete(file, name, H5P_DEFAULT);
	hid_t space = H5Screate_simple(rank, dims, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
	H5Pset_layout(create, layout);
	if (layout == H5D_CHUNKED)
		H5Pset_chunk(create, rank, (const hsize_t[]){1, 1, 1, 1});
	H5Dclose(H5Dcreate2(file, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT));
	H5Pclose(create);
	H5Sclose(space);
}

static void wrong_sets_are_refused(void **state)
{
	(void)state;
	const hsize_t huge[4] = {4, (hsize_t)1 << 40, 1, 1}, small[4] = {4, 16, 1, 1};
	const struct {
		const char *name;
		hid_t type;
		int rank;
		const hsize_t *dims;
		H5D_layout_t layout;
	} sets[] = {
	    {"transport/state", H5T_NATIVE_FLOAT, 2, huge, H5D_CONTIGUOUS}, /* claimed, never written */
	    {"transport/state", H5T_NATIVE_FLOAT, 2, huge, H5D_CHUNKED},
	    {"transport/state", H5T_NATIVE_FLOAT, 3, small, H5D_CONTIGUOUS},
	    {"transport/state", H5T_NATIVE_INT, 2, small, H5D_CONTIGUOUS},
	    {"potential/state", H5T_NATIVE_DOUBLE, 2, small, H5D_CONTIGUOUS},
	    {"losses", H5T_NATIVE_DOUBLE, 1, huge + 1, H5D_CONTIGUOUS},
	    {"settings", H5T_NATIVE_UINT8, 1, huge + 1, H5D_CHUNKED},
	};
	content c = make(0);
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		otp_error err = {0};
		otp_stored back;
		write_checkpoint(at("sets.h5"), &c);
		hid_t file = reopen(at("sets.h5"));
		replace_set(file, sets[i].name, sets[i].type, sets[i].rank, sets[i].dims, sets[i].layout);
		H5Fclose(file);
		assert_false(otp_checkpoint_read(at("sets.h5"), &back, &err));
		assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
		if (!strstr(err.text, sets[i].name))
			fail_msg("%s does not name %s", err.text, sets[i].name);
	}
	/* Nothing is read through a link into another file. */
	otp_error err = {0};
	otp_stored back;
	write_checkpoint(at("linked.h5"), &c);
	hid_t file = reopen(at("sets.h5"));
	H5Ldelete(file, "settings", H5P_DEFAULT);
	H5Lcreate_external(at("linked.h5"), "settings", file, "settings", H5P_DEFAULT, H5P_DEFAULT);
	H5Ldelete(file, "losses", H5P_DEFAULT);
	H5Lcreate_external(at("linked.h5"), "losses", file, "losses", H5P_DEFAULT, H5P_DEFAULT);
	H5Ldelete(file, "transport", H5P_DEFAULT);
	H5Lcreate_external(at("linked.h5"), "transport", file, "transport", H5P_DEFAULT, H5P_DEFAULT);
	H5Fclose(file);
	assert_false(otp_checkpoint_read(at("sets.h5"), &back, &err));
	assert_non_null(strstr(err.text, "has no set transport/state"));
	release(&c);
}

static void other_networks_are_refused(void **state)
{
	(void)state;
	otp_error err = {0};
	content c = make(0);
	write_model(at("m.h5"), &c);
	strcpy(c.params[OTP_TRANSPORT]->info[0].name, "renamed");
	assert_null(otp_model_read_weights(at("m.h5"), c.params[OTP_TRANSPORT], &err));
	assert_non_null(strstr(err.text, "renamed"));
	release(&c);
	c = make(0);
	c.params[OTP_TRANSPORT]->info[0].shape.c += 1;
	err.exit_code = 0;
	assert_null(otp_model_read_weights(at("m.h5"), c.params[OTP_TRANSPORT], &err));
	assert_int_equal(err.exit_code, OTP_EXIT_USAGE);
	release(&c);
}

static void failed_writes_leave_nothing(void **state)
{
	(void)state;
	content c = make(0);
	const otp_params *const params[OTP_NETWORKS] = {c.params[OTP_TRANSPORT], c.params[OTP_POTENTIAL]};
	otp_error err = {0};
	assert_false(otp_checkpoint_write(at("nowhere/c.h5"), &c.facts, params, &err));
	assert_int_equal(err.exit_code, OTP_EXIT_FAILED);
	err.exit_code = 0;
	assert_false(otp_model_write("/proc/m.h5", &c.facts, c.params[OTP_TRANSPORT], c.row, &err));
	assert_int_equal(err.exit_code, OTP_EXIT_FAILED);
	/* A folder in the file's place: the rename fails, and the temporary goes. */
	err.exit_code = 0;
	assert_true(otp_file_make_folder(at("taken.h5"), &err));
	assert_false(otp_model_write(at("taken.h5"), &c.facts, c.params[OTP_TRANSPORT], c.row, &err));
	assert_int_equal(err.exit_code, OTP_EXIT_FAILED);
	char *temporary = otp_file_temporary(at("taken.h5"));
	assert_false(otp_file_exists(temporary));
	otp_free(temporary);
	release(&c);
}

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	(void)state;
	char *command = otp_format("rm -rf '%s'", root);
	int code = system(command);
	otp_free(command);
	return code;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(checkpoint_comes_back),
	    cmocka_unit_test(a_guard_that_cannot_be_is_refused),
	    cmocka_unit_test(model_comes_back),
	    cmocka_unit_test(equal_content_is_equal_bytes),
	    cmocka_unit_test(damage_is_found),
	    cmocka_unit_test(strangers_are_refused),
	    cmocka_unit_test(other_networks_are_refused),
	    cmocka_unit_test(failed_writes_leave_nothing),
	    cmocka_unit_test(wrong_attributes_are_refused),
	    cmocka_unit_test(additions_are_ignored),
	    cmocka_unit_test(what_is_missing_is_named),
	    cmocka_unit_test(wrong_sets_are_refused),
	};
	return cmocka_run_group_tests(tests, make_root, remove_root);
}
