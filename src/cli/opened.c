#include "cli/opened.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

/* Of a machine's GPUs each process has its own. */
bool otp_opened_model(otp_opened *o, otp_group *group, const char *model, const char *device,
		      const char *precision, int threads, otp_error *err)
{
	memset(o, 0, sizeof *o);
	if (group && !threads)
		threads = otp_group_threads(group);
	if (!otp_runtime_open(device, otp_group_neighbour(group), precision, threads, &o->runtime, err))
		return false;
	o->runtime.group = group;
	return otp_translator_open(model, &o->runtime, &o->t, err);
}

static otp_dataset *keep(otp_opened *o, otp_dataset *d)
{
	OTP_ASSERT(o->set_count < OTP_OPENED_SETS, "%d sets", o->set_count);
	if (d)
		o->sets[o->set_count++] = d;
	return d;
}

otp_dataset *otp_opened_data(otp_opened *o, otp_side side, const char *spec, otp_error *err)
{
	return keep(o, otp_translator_open_data(&o->t, side, spec, err));
}

otp_dataset *otp_opened_side(otp_opened *o, otp_side side, bool *held_out, otp_error *err)
{
	return keep(o, otp_translator_open_side(&o->t, side, held_out, err));
}

otp_dataset *otp_opened_pictures(otp_opened *o, const char *spec, otp_error *err)
{
	return keep(o, otp_translator_open_pictures(&o->t, spec, err));
}

int otp_opened_close(otp_opened *o, const otp_error *err)
{
	int64_t undecoded = 0;
	for (int i = 0; i < o->set_count; i++) {
		undecoded += otp_dataset_describe(o->sets[i]).skipped;
		otp_dataset_close(o->sets[i]);
	}
	otp_translator_close(&o->t);
	otp_runtime_close(&o->runtime);
	return otp_exit_undecoded(undecoded, err);
}
