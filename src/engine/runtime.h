/* runtime: where programs run: a backend, one of its devices, the worker threads
 * that drive it, and the precision of its arithmetic. Shared by engine and samplers.
 */
#ifndef OTP_RUNTIME_H
#define OTP_RUNTIME_H

#include "core/pool.h"
#include "group/group.h"
#include "graph/op.h"

typedef struct otp_runtime {
	const otp_backend *backend;
	otp_device *device;
	otp_pool *pool;
	otp_precision precision; /* may be auto until it is settled */
	otp_group *group;	 /* whom a run is computed with; NULL: this process alone */
} otp_runtime;

/* device: auto, cpu, cuda[:i]; precision: a word of otp_precision; threads: 0 for what the device wants. */
/* local: of several processes on this machine, which one opens it: with a GPU each, one after another. */
bool otp_runtime_open(const char *device, int local, const char *precision, int threads, otp_runtime *runtime,
		      otp_error *err);
/* The device with those of the group's other processes, where the backend has such. They wait so long for
 * each other. All agree on an error. */
bool otp_runtime_connect(otp_runtime *runtime, int seconds, otp_error *err);
/* What precision auto means where a device computes in bfloat16: that for pictures, float32 for points. */
otp_precision otp_precision_settled(otp_precision asked, bool vectors, bool narrow);
/* Settles auto. On a CPU a trained model is used in float32, so that outputs do not depend on which CPU it
 * is. It is an error to ask an old GPU for TF32 or bfloat16; a CPU that has no bfloat16 computes float32. */
typedef enum otp_runtime_use { OTP_RUNTIME_TRAINS, OTP_RUNTIME_TRANSLATES } otp_runtime_use;
bool otp_runtime_settle(otp_runtime *runtime, bool vectors, otp_runtime_use use, otp_error *err);
void otp_runtime_close(otp_runtime *runtime);

#endif
