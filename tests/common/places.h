/* places: the product's backends, and beside them the own CUDA kernels on the
 * host. A program that uses them is linked with the shim. */
#ifndef OTP_COMMON_PLACES_H
#define OTP_COMMON_PLACES_H

#include "engine/engine.h"

static const double FLOAT_UNIT = 0x1p-24, DOUBLE_UNIT = 0x1p-53;

typedef struct place {
	const otp_backend *backend;
	otp_device *device;
} place;

/* By the product's name, or "shim". */
const otp_backend *find_backend(const char *name, otp_error *err);

/* Fails the test where it cannot be opened. */
place place_open(const char *name);

/* The same for an engine, with so many threads. */
bool work_open(const char *backend_name, int threads, otp_runtime *work, otp_error *err);

/* The plugin says whether there is one that can be used. */
bool has_gpu(void);

/* The unit roundoff of what it computes in. */
double unit_of(const otp_backend *backend);

/* Device memory as doubles, with all the digits that the backend has. otp_free it. */
double *fetch(const otp_backend *backend, otp_device *device, const void *memory, int64_t count);

#endif
