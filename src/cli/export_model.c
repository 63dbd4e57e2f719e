/* export_model: a generator as one file for programs that are not otplan. */
#include "cli/export.h"
#include "core/file.h"
#include "data/outputs.h"
#include "exchange/exchange.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef uint8_t *maker(const otp_generator *g, size_t *bytes, otp_error *err);

static const struct {
	const char *purpose, *ending;
	maker *make;
} FORMATS[] = {
    {"onnx", ".onnx", otp_exchange_onnx},
    {"safetensors", ".safetensors", otp_exchange_safetensors},
};
enum { FORMAT_COUNT = sizeof FORMATS / sizeof *FORMATS };

static int format_of(const char *purpose)
{
	for (int i = 0; i < FORMAT_COUNT; i++)
		if (strcmp(FORMATS[i].purpose, purpose) == 0)
			return i;
	return -1;
}

bool otp_export_takes(const char *purpose) { return format_of(purpose) >= 0; }

static bool check_ending(const char *out, int format, otp_error *err)
{
	size_t length = strlen(out), ending = strlen(FORMATS[format].ending);
	return (length > ending && strcasecmp(out + length - ending, FORMATS[format].ending) == 0) ||
	       otp_fail(err, out, "expected a name that ends with %s, for --for %s", FORMATS[format].ending,
			FORMATS[format].purpose);
}

static bool write_file(const otp_generator *g, const char *model, const char *out, int format, bool overwrite,
		       otp_error *err)
{
	char *folder = otp_strdup(out), *name = otp_strdup(out);
	otp_outputs *outputs = otp_outputs_new(dirname(folder), overwrite);
	otp_outputs_protect_file(outputs, model);
	otp_outputs_plan(outputs, basename(name), basename(name));
	size_t bytes = 0;
	uint8_t *file = otp_outputs_check(outputs, err) ? FORMATS[format].make(g, &bytes, err) : NULL;
	char *path = file ? otp_outputs_begin(outputs, 0, err) : NULL;
	bool ok = path && otp_file_write(path, file, bytes, err) && otp_outputs_end(outputs, 0, err);
	ok = file ? otp_outputs_finish(outputs, ok, err) : ok;
	if (ok)
		printf("exported step %lld, %lld weights, sigma %g: %s\n", (long long)g->facts.step,
		       (long long)g->params->trainable, g->facts.sigma, out);
	otp_free(path);
	otp_free(file);
	otp_outputs_free(outputs);
	otp_free(folder);
	otp_free(name);
	return ok;
}

int otp_export_model(const char *model, const char *out, const char *purpose, bool overwrite, otp_error *err)
{
	int format = format_of(purpose);
	otp_generator g = {0};
	char *path = check_ending(out, format, err) ? otp_generator_path(model, err) : NULL;
	if (path && otp_generator_read(path, &g, err))
		write_file(&g, path, out, format, overwrite, err);
	otp_generator_free(&g);
	otp_free(path);
	return err->exit_code;
}
