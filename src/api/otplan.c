/* The public library over model/translator: errors become statuses, messages go
 * to the caller's log, and nothing that opening does outlives a failure. */
#include "otplan/otplan.h"
#include "core/log.h"
#include "core/memory.h"
#include "model/translator.h"

#include <hdf5.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct otplan_model {
	pthread_mutex_t lock; /* one translation at a time */
	otp_runtime runtime;
	otp_translator translator;
};

const char *otplan_version(void) { return OTPLAN_VERSION; }
int otplan_api_version(void) { return OTPLAN_API_VERSION; }

const char *otplan_status_text(otplan_status status)
{
	switch (status) {
	case OTPLAN_OK:
		return "success";
	case OTPLAN_BAD_ARGUMENT:
		return "bad argument";
	case OTPLAN_BAD_FILE:
		return "bad file";
	case OTPLAN_NO_DEVICE:
		return "no such device";
	case OTPLAN_NO_MEMORY:
		return "out of memory or threads";
	}
	return "unknown status";
}

static const otplan_options defaults = {.size = sizeof defaults, .device = "auto"};

/* The caller's struct may be shorter or longer than ours: fields are only ever added. */
static void copy_options(otplan_options *to, size_t to_size, const otplan_options *from, size_t from_size)
{
	memset(to, 0, to_size);
	memcpy(to, from, from_size < to_size ? from_size : to_size);
	to->size = to_size;
}

void otplan_options_init(otplan_options *options, size_t size)
{
	copy_options(options, size, &defaults, sizeof defaults);
}

/* ---- opening ---- */

enum { MOST_THREADS = 1024 };
/* The first version's fields: a smaller size is a mistake. */
#define LEAST_OPTIONS (offsetof(otplan_options, log_context) + sizeof(void *))

static otplan_status check_arguments(const char *path, const otplan_options *options, otp_error *err)
{
	const char *wrong = NULL;
	if (!path)
		wrong = "path is NULL";
	else if (options && options->size < LEAST_OPTIONS)
		wrong = "options.size is too small: call otplan_options_init first";
	else if (options && !options->device)
		wrong = "options.device is NULL";
	else if (options && (options->threads < 0 || options->threads > MOST_THREADS))
		wrong = "options.threads is not between 0 and 1024";
	else if (options && (unsigned)options->precision > OTPLAN_BF16)
		wrong = "options.precision is none of otplan_precision";
	if (!wrong)
		return OTPLAN_OK;
	otp_fail(err, "otplan_model_open", "%s", wrong);
	return OTPLAN_BAD_ARGUMENT;
}

/* For the small blocks of a model's opening when memory is out: lists, graphs, plans. */
static size_t reserve_bytes(int threads)
{
	long workers = threads ? threads : sysconf(_SC_NPROCESSORS_ONLN);
	return ((size_t)8 << 20) + ((size_t)(workers > 0 ? workers : 1) << 20);
}

/* HDF5 takes its memory itself, and would call a file damaged where it has none. */
enum { HDF5_BYTES = 16 << 20 };

static otplan_status open_model(const char *path, const otplan_options *o, otplan_model *m, otp_error *err)
{
	static const char *const PRECISIONS[] = {"f32", "tf32", "bf16"};
	if (!otp_runtime_open(o->device, 0, PRECISIONS[o->precision], o->threads, &m->runtime, err))
		return err->out_of_memory ? OTPLAN_NO_MEMORY : OTPLAN_NO_DEVICE;
	if (!otp_translator_open(path, &m->runtime, &m->translator, err))
		return err->out_of_memory ? OTPLAN_NO_MEMORY : OTPLAN_BAD_FILE;
	return OTPLAN_OK;
}

static void close_model(otplan_model *m)
{
	otp_translator_close(&m->translator);
	otp_runtime_close(&m->runtime);
	pthread_mutex_destroy(&m->lock);
	otp_free(m);
}

/* What the caller set up in HDF5 is as before afterwards; the library reads without its messages. */
typedef struct hdf5_errors {
	H5E_auto2_t print;
	void *context;
} hdf5_errors;

static hdf5_errors take_hdf5_errors(void)
{
	hdf5_errors before = {0};
	H5Eget_auto2(H5E_DEFAULT, &before.print, &before.context);
	return before;
}

/* With the reserve held: no failed allocation ends the process. */
static otplan_status open_reserved(const char *path, const otplan_options *o, otplan_model **model,
				   otp_error *err)
{
	size_t reserve = reserve_bytes(o->threads);
	if (!otp_reserve_hold(reserve) || !otp_memory_can_have(HDF5_BYTES)) {
		otp_reserve_drop();
		otp_fail_memory(err, path, reserve + HDF5_BYTES, "opening a model", otp_memory_available());
		return OTPLAN_NO_MEMORY;
	}
	otplan_model *m = otp_calloc(1, sizeof *m);
	pthread_mutex_init(&m->lock, NULL);
	hdf5_errors before = take_hdf5_errors();
	otplan_status status = open_model(path, o, m, err);
	H5Eset_auto2(H5E_DEFAULT, before.print, before.context);
	if (otp_reserve_drop() && status == OTPLAN_OK) {
		otp_fail_memory(err, path, reserve, "lists and plans", otp_memory_available());
		status = OTPLAN_NO_MEMORY;
	}
	if (status == OTPLAN_OK)
		*model = m;
	else
		close_model(m);
	return status;
}

/* While a model is opened, lines go to its options' log; at any other time to nobody. */
static void tell_nobody(void *context, const char *line)
{
	(void)context;
	(void)line;
}

otplan_status otplan_model_open(const char *path, const otplan_options *options, otplan_model **model,
				char *message)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	otp_error err = {0};
	if (message)
		*message = '\0';
	if (!model)
		return OTPLAN_BAD_ARGUMENT;
	*model = NULL;
	otplan_status status = check_arguments(path, options, &err);
	if (status == OTPLAN_OK) {
		otplan_options o = defaults;
		if (options)
			copy_options(&o, sizeof o, options, options->size);
		pthread_mutex_lock(&one);
		otp_log_to(o.log ? o.log : tell_nobody, o.log_context);
		status = open_reserved(path, &o, model, &err);
		otp_log_to(tell_nobody, NULL);
		pthread_mutex_unlock(&one);
	}
	if (message)
		snprintf(message, OTPLAN_MESSAGE_BYTES, "%s", err.text);
	return status;
}

void otplan_model_close(otplan_model *model)
{
	if (model)
		close_model(model);
}

/* ---- using ---- */

void otplan_model_shape(const otplan_model *model, int *height, int *width, int *channels)
{
	const otp_arch *a = &model->translator.arch;
	*height = a->h;
	*width = a->w;
	*channels = a->c;
}

double otplan_model_sigma(const otplan_model *model) { return model->translator.facts.sigma; }

/* Whether count * samples results fit into an object's size. */
static bool fits(const otplan_model *model, int64_t count, int samples)
{
	int64_t most = PTRDIFF_MAX / (int64_t)sizeof(float) / model->translator.sample_floats;
	return count <= most / samples;
}

otplan_status otplan_model_translate(otplan_model *model, const float *x, int64_t count, int samples,
				     uint64_t seed, float *y)
{
	if (!model || count < 0 || samples < 1 || !fits(model, count, samples) || (count && (!x || !y)))
		return OTPLAN_BAD_ARGUMENT;
	pthread_mutex_lock(&model->lock);
	otp_translator_run(&model->translator, x, count, samples, seed, y);
	pthread_mutex_unlock(&model->lock);
	return OTPLAN_OK;
}
