/* bench_floor: how far a step is from what the machine could do: its calls'
 * bytes and operations at the peaks of a memory copy and a matrix product. */
#ifndef OTP_BENCH_FLOOR_H
#define OTP_BENCH_FLOOR_H

#include "engine/engine.h"

#include <cjson/cJSON.h>

/* Where a peak is 0, it is measured, all workers together, in the device's precision. */
void otp_bench_peaks(otp_runtime *runtime, otp_peaks *peaks);

/* A step's floor in milliseconds. */
double otp_bench_floor_ms(const otp_engine *e, otp_step_kind kind, otp_peaks peaks);
/* By op: {"conv2d": {"calls", "gbytes", "gflops", "floor_ms"}, ...}, what costs nothing left out. */
cJSON *otp_bench_floor_json(const otp_engine *e, otp_step_kind kind, otp_peaks peaks);

#endif
