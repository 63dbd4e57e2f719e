#include "otplan/otplan.h"
#include "model/translator.h"

#include <stdio.h>

struct otplan_model {
	otp_runtime runtime;
	otp_translator translator;
};

const char *otplan_version(void) { return OTPLAN_VERSION; }

otplan_model *otplan_model_open(const char *path, const char *device, int threads, char *message,
				size_t bytes)
{
	otp_error err = {0};
	otplan_model *m = otp_calloc(1, sizeof *m);
	if (otp_runtime_open(device, "f32", threads, &m->runtime, &err) &&
	    otp_translator_open(path, &m->runtime, &m->translator, &err))
		return m;
	otp_runtime_close(&m->runtime);
	otp_free(m);
	if (bytes)
		snprintf(message, bytes, "%s", err.text);
	return NULL;
}

void otplan_model_close(otplan_model *model)
{
	if (!model)
		return;
	otp_translator_close(&model->translator);
	otp_runtime_close(&model->runtime);
	otp_free(model);
}

void otplan_model_shape(const otplan_model *model, int *height, int *width, int *channels)
{
	const otp_arch *a = &model->translator.arch;
	*height = a->h;
	*width = a->w;
	*channels = a->c;
}

void otplan_model_translate(otplan_model *model, const float *x, int64_t count, int samples, uint64_t seed,
			    float *y)
{
	otp_translator_run(&model->translator, x, count, samples, seed, y);
}
