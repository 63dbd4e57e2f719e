/* One program for all targets, because they share the library: OTP_FUZZ names the one. */
#include "fuzz.h"

#include "cli/options.h"
#include "config/config.h"
#include "core/base.h"
#include "core/file.h"
#include "core/log.h"
#include "data/dataset.h"
#include "pictures/image.h"
#include "data/outputs.h"
#include "data/spec.h"
#include "model/store.h"
#include "report/metrics.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct target {
	const char *name;
	void (*run)(const uint8_t *data, size_t bytes);
} target;

static char folder[256]; /* of this process, for parsers that read files */

/* ---- inputs as files and as text --------------------------------------------------- */

static void remove_folder(void)
{
	static const char *const FILES[] = {"in.npy", "in.npz", "in-idx3-ubyte", "in-idx3-ubyte.gz",
					    "in.h5",  "in.png", "in.jsonl",	 ".otplan-outputs.jsonl"};
	char path[400];
	for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, FILES[i]);
		unlink(path);
	}
	rmdir(folder);
}

static const char *as_file(const char *name, const uint8_t *data, size_t bytes)
{
	static char path[400];
	if (!folder[0]) {
		const char *top = getenv("TMPDIR");
		snprintf(folder, sizeof folder, "%.200s/otplan-fuzz-XXXXXX", top ? top : "/tmp");
		if (!mkdtemp(folder))
			abort();
		atexit(remove_folder);
	}
	snprintf(path, sizeof path, "%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes || close(fd) != 0)
		abort();
	return path;
}

static char *as_text(const uint8_t *data, size_t bytes)
{
	char *text = otp_calloc(bytes + 1, 1);
	memcpy(text, data, bytes);
	return text;
}

static void silent(void *context, const char *line)
{
	(void)context;
	(void)line;
}

/* What a user's error may be: a line of text and an exit code of ours. */
static void look_at(bool ok, const otp_error *err)
{
	if (ok ? err->exit_code != 0 : err->exit_code == 0 || !strstr(err->text, ": "))
		abort();
}

/* ---- texts ------------------------------------------------------------------------- */

static void fuzz_config(const uint8_t *data, size_t bytes)
{
	char *text = as_text(data, bytes);
	otp_error err = {0}, more = {0};
	otp_config c;
	otp_config_defaults(&c);
	bool ok = otp_config_parse(&c, text, "fuzz", &err);
	look_at(ok, &err);
	if (ok && otp_config_check(&c, &more)) {
		/* What was read is written as text that reads the same. */
		otp_config again;
		otp_config_defaults(&again);
		char *written = otp_config_text(&c, OTP_SCOPE_KEPT);
		if (!otp_config_parse(&again, written, "again", &err) ||
		    otp_config_difference(&c, &again, OTP_SCOPE_KEPT))
			abort();
		otp_free(written);
	}
	otp_free(text);
}

static void fuzz_spec(const uint8_t *data, size_t bytes)
{
	char *text = as_text(data, bytes);
	otp_error err = {0};
	otp_spec spec = {0};
	bool ok = otp_spec_parse(text, &spec, &err);
	look_at(ok, &err);
	if (ok) {
		otp_free(otp_spec_modifiers(&spec));
		otp_free(otp_spec_absolute(text));
		otp_spec_free(&spec);
	}
	otp_free(text);
}

static void fuzz_duration(const uint8_t *data, size_t bytes)
{
	char *text = as_text(data, bytes);
	otp_error err = {0};
	double seconds = 0;
	bool ok = otp_config_duration(text, "--max-time", &seconds, &err);
	look_at(ok, &err);
	if (ok && !(seconds >= 0 && seconds < 1e300))
		abort();
	otp_free(text);
}

/* Words are parted by newlines. */
static void fuzz_command_line(const uint8_t *data, size_t bytes)
{
	char *text = as_text(data, bytes), *rest = NULL, *words[200];
	int count = 0;
	for (char *word = strtok_r(text, "\n", &rest); word && count < 200;
	     word = strtok_r(NULL, "\n", &rest))
		words[count++] = word;
	otp_error err = {0};
	int number = 3;
	bool flag = false;
	double real = 1;
	uint64_t seed = 0;
	const char *said = NULL;
	const otp_arg args[] = {{"number", OTP_ARG_INT, &number, 1, 10, "an integer"},
				{"flag", OTP_ARG_FLAG, &flag, 0, 0, "a flag"},
				{"real", OTP_ARG_REAL, &real, 0, 0, "a number"},
				{"seed", OTP_ARG_SEED, &seed, 0, 0, "a seed"},
				{"said", OTP_ARG_TEXT, &said, 0, 0, "a text"}};
	static otp_settings_said settings;
	settings.count = 0;
	otp_command_line line = {.args = args,
				 .arg_count = sizeof args / sizeof *args,
				 .usage = "otplan fuzz WORDS",
				 .most_words = 4,
				 .settings = &settings};
	otp_config c;
	otp_config_defaults(&c);
	if (otp_args_read(count, words, &line, &err) && otp_options_apply(&settings, &c, &err))
		otp_config_check(&c, &err);
	otp_free(text);
}

/* ---- files ------------------------------------------------------------------------- */

/* Opened, read whole as far as it is small, and closed. */
static void fuzz_set(const char *name, const uint8_t *data, size_t bytes)
{
	otp_error err = {0};
	const char *path = as_file(name, data, bytes);
	otp_data_kind kind;
	int size;
	otp_dataset_look(path, &kind, &size, &err);
	err = (otp_error){0};
	otp_dataset *d = otp_dataset_open(path, 1, &err);
	look_at(d != NULL, &err);
	if (d) {
		otp_dataset_info info = otp_dataset_describe(d);
		bool vectors = info.kind == OTP_DATA_VECTORS;
		otp_preprocessing how = otp_preprocessing_square(8);
		bool ok = otp_dataset_prepare(d, &how, vectors ? 0 : 3, 1, &err);
		info = otp_dataset_describe(d);
		if (ok && info.count > 0 && (size_t)info.h * (size_t)info.w * (size_t)info.c < 1 << 24) {
			float *values =
			    otp_calloc((size_t)info.h * (size_t)info.w * (size_t)info.c, sizeof *values);
			for (int64_t i = 0; i < info.count && i < 3; i++)
				otp_dataset_get(d, (uint64_t)i, 0, values, &err);
			otp_free(values);
		}
		otp_dataset_close(d);
	}
}

static void fuzz_npy(const uint8_t *data, size_t bytes) { fuzz_set("in.npy", data, bytes); }
static void fuzz_npz(const uint8_t *data, size_t bytes) { fuzz_set("in.npz", data, bytes); }
static void fuzz_hdf5(const uint8_t *data, size_t bytes) { fuzz_set("in.h5", data, bytes); }
static void fuzz_idx(const uint8_t *data, size_t bytes)
{
	fuzz_set(bytes > 2 && data[0] == 0x1f && data[1] == 0x8b ? "in-idx3-ubyte.gz" : "in-idx3-ubyte", data,
		 bytes);
}

/* The content tells the format. */
static void fuzz_picture(const uint8_t *data, size_t bytes)
{
	otp_error err = {0};
	otp_image image = {0};
	bool ok = otp_image_read(as_file("in.png", data, bytes), &image, &err);
	look_at(ok, &err);
	if (ok && otp_image_values(&image) < 1 << 22) {
		otp_image_to_channels(&image, 3);
		otp_preprocessing how = otp_preprocessing_square(8);
		otp_preprocessing_apply(&how, &image);
	}
	if (ok)
		otp_image_free(&image);
}

static void fuzz_metrics(const uint8_t *data, size_t bytes)
{
	otp_error err = {0};
	otp_metrics *rows = NULL;
	size_t count = 0;
	bool ok = otp_metrics_read(as_file("in.jsonl", data, bytes), &rows, &count, &err);
	look_at(ok, &err);
	for (size_t i = 1; i < count; i++)
		if (rows[i].step <= rows[i - 1].step)
			abort();
	otp_free(rows);
}

static void fuzz_manifest(const uint8_t *data, size_t bytes)
{
	otp_error err = {0};
	as_file(".otplan-outputs.jsonl", data, bytes);
	otp_outputs *o = otp_outputs_new(folder, false);
	otp_outputs_plan(o, "out.png", "out_*.png");
	otp_outputs_plan_alone(o, "generated");
	look_at(otp_outputs_check(o, &err), &err);
	otp_outputs_free(o);
}

static void fuzz_model(const uint8_t *data, size_t bytes)
{
	const char *path = as_file("in.h5", data, bytes);
	otp_error err = {0};
	otp_stored_kind kind;
	otp_stored_identify(path, &kind, &err);
	otp_stored s = {0};
	err = (otp_error){0};
	bool ok = otp_model_read(path, &s, &err);
	look_at(ok, &err);
	if (ok)
		otp_stored_free(&s);
	err = (otp_error){0};
	otp_model_check(path, NULL, &err);
	err = (otp_error){0};
	s = (otp_stored){0};
	ok = otp_checkpoint_read(path, &s, &err);
	look_at(ok, &err);
	if (ok)
		otp_stored_free(&s);
}

/* ---- the table --------------------------------------------------------------------- */

static const target TARGETS[] = {
    {"config", fuzz_config},	 {"spec", fuzz_spec},
    {"duration", fuzz_duration}, {"command_line", fuzz_command_line},
    {"npy", fuzz_npy},		 {"npz", fuzz_npz},
    {"idx", fuzz_idx},		 {"hdf5", fuzz_hdf5},
    {"picture", fuzz_picture},	 {"metrics", fuzz_metrics},
    {"manifest", fuzz_manifest}, {"model", fuzz_model},
};
enum { TARGET_COUNT = sizeof TARGETS / sizeof *TARGETS };

static const target *chosen;

const char *fuzz_name(size_t i) { return i < TARGET_COUNT ? TARGETS[i].name : NULL; }

int fuzz_choose(const char *name)
{
	name = name ? name : getenv("OTP_FUZZ");
	chosen = NULL;
	for (size_t i = 0; name && i < TARGET_COUNT; i++)
		if (strcmp(TARGETS[i].name, name) == 0)
			chosen = &TARGETS[i];
	otp_log_to(silent, NULL);
	return chosen != NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (fuzz_choose(NULL))
		return 0;
	for (size_t i = 0; fuzz_name(i); i++)
		puts(fuzz_name(i));
	exit(2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	chosen->run(data, bytes);
	return 0;
}
