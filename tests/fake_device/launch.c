/* launch.c: the own kernels, compiled for the shim, as work of the fake device. */
#include "fake_device/fake.h"

#include "cuda/cuda.h"
#include "shim/shim.h"

static void run_launch(void *argument)
{
	const otp_shim_launch *l = argument;
	otp_shim_run(l->grid, l->block, l->shared_bytes, l->body, l->bound);
}

static void release_launch(void *argument)
{
	otp_shim_launch *l = argument;
	l->release(l->bound);
	otp_free(l);
}

/* Kernels are loaded when they are first launched. */
static bool *loaded(void (*kernel)(void))
{
	enum { MOST_KERNELS = 4096 };
	static struct {
		void (*kernel)(void);
		bool loaded;
	} known[MOST_KERNELS];
	int i = 0;
	while (i < MOST_KERNELS && known[i].kernel && known[i].kernel != kernel)
		i++;
	OTP_ASSERT(i < MOST_KERNELS, "fake device: too many kernels");
	known[i].kernel = kernel;
	return &known[i].loaded;
}

static void issue_launch(cudaStream_t stream, const otp_shim_launch *launch)
{
	otp_fake_call call __attribute__((cleanup(otp_fake_leave))) = otp_fake_enter("launch");
	otp_fake_check_arguments(launch->name, launch->arguments, launch->argument_bytes);
	otp_shim_launch *kept = otp_calloc(1, sizeof *kept);
	*kept = *launch;
	if (call.refused) {
		release_launch(kept);
		otp_fake_fail(cudaErrorInvalidValue);
		return;
	}
	otp_fake_work work = {launch->name, run_launch, release_launch, kept,
			      (float)OTP_FAKE_MICROSECONDS / 1000};
	otp_fake_count_launch();
	otp_fake_issue(stream, work, loaded(launch->kernel));
}

void otp_shim_issue(const otp_device *device, const otp_shim_launch *launch)
{
	issue_launch(otp_cuda_stream(device), launch);
	otp_cuda_launched(device, launch->name, launch->file, launch->line);
}
