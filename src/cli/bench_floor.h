/* bench_floor: how far a step is from what the machine could do: its calls'
 * bytes and operations at the highest rates that this machine was seen to
 * reach in simple programs, with all workers at work. */
#ifndef OTP_BENCH_FLOOR_H
#define OTP_BENCH_FLOOR_H

#include "engine/engine.h"

#include <cjson/cJSON.h>

/* What is 0 is measured, all workers together, in the device's precision. */
void otp_bench_peaks(otp_runtime *runtime, otp_peaks *peaks);
/* One bandwidth whatever a call moves. */
void otp_bench_set_bandwidth(otp_peaks *peaks, double bytes_per_s);

/* A step's floor in milliseconds. */
double otp_bench_floor_ms(const otp_engine *e, otp_step_kind kind, otp_peaks peaks);
/* By op: {"conv2d": {"calls", "gbytes", "gflops", "floor_ms"}, ...}, what costs nothing left out. */
cJSON *otp_bench_floor_json(const otp_engine *e, otp_step_kind kind, otp_peaks peaks);

#endif
