/* work: the least that a call costs on a machine of known peaks: every byte that
 * it must read or write moved once, every multiplication and addition done. */
#ifndef OTP_WORK_H
#define OTP_WORK_H

#include "graph/program.h"

/* Bandwidth depends on where data lie: what a small call moves may be in a cache. Size l is that of calls of
 * at least otp_peak_bytes[l] bytes, and fewer than the next. */
enum { OTP_PEAK_SIZES = 6 };
extern const double otp_peak_bytes[OTP_PEAK_SIZES];

typedef struct otp_peaks {
	double flops_per_s, bytes_per_s[OTP_PEAK_SIZES];
} otp_peaks;

typedef struct otp_work {
	int calls;
	double bytes, flops;
	double floor_s; /* sum over calls of the larger of both shares */
} otp_work;

/* Bytes, and for convolutions and matrix products two operations a multiplication; pointwise
 * arithmetic hides behind memory and is not counted. */
otp_work otp_work_of_call(const otp_call *call, const size_t element_bytes[OTP_TYPE_COUNT], otp_peaks peaks);

/* A program's calls, added to `by_op`: [OTP_OP_COUNT]. */
void otp_program_add_work(const otp_program *p, otp_peaks peaks, otp_work *by_op);

#endif
