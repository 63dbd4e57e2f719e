/* matrix.c (cpu): matrix product through oneDNN or thin.c, softmax row by row. */
#include "cpu/cpu.h"
#include "cpu/dnn.h"
#include "cpu/thin.h"
#include "scalar.h"

/* Products with a thin side are bound to nothing: thin.c computes them. Small ones gain less from
 * bfloat16 than rounding their operands costs. */
enum { LEAST_BF16 = 1 << 20 };

static otp_dnn_matmul product_of(const otp_call *call)
{
	otp_shape a = call->in[0].shape, out = call->out.shape;
	bool ta = call->attr.matmul.ta;
	otp_dnn_matmul p = {.batch = (int64_t)a.n * a.h,
			    .m = out.w,
			    .n = out.c,
			    .k = ta ? a.w : a.c,
			    .ta = ta,
			    .tb = call->attr.matmul.tb};
	p.bf16 = call->precision == OTP_PRECISION_BF16 && p.m * p.n * p.k >= LEAST_BF16 && otp_dnn_has_bf16();
	return p;
}

static void bind_matmul(otp_call *call)
{
	otp_dnn_matmul p = product_of(call);
	if (!otp_thin_suits(p.m, p.n, p.k))
		call->bound = otp_dnn_matmul_new(&p);
}

static void run_thin(const otp_call *call)
{
	otp_dnn_matmul p = product_of(call);
	const float *a = call->in[0].data, *b = call->in[1].data;
	float *y = call->out.data;
	for (int64_t i = 0; i < p.batch; i++, a += p.m * p.k, b += p.k * p.n, y += p.m * p.n)
		otp_thin_product(y, a, b, p.m, p.n, p.k, p.ta, p.tb, call->scratch);
}

static void run_matmul(const otp_call *call)
{
	if (call->bound)
		otp_dnn_run(call->bound, call->in, call->out.data, call->scratch);
	else
		run_thin(call);
}

static void unbind_matmul(otp_call *call) { otp_dnn_free(call->bound); }

static size_t matmul_scratch(const otp_call *call)
{
	otp_dnn_matmul p = product_of(call);
	return call->bound ? otp_dnn_scratch_bytes(call->bound) : otp_thin_scratch_bytes(p.m, p.n, p.k);
}

const otp_kernel otp_cpu_matmul = {run_matmul, bind_matmul, unbind_matmul, matmul_scratch};

OTP_SIMD static void softmax_rows(float *y, const float *x, int64_t rows, int count)
{
	for (int64_t r = 0; r < rows; r++, x += count, y += count) {
		float largest = x[0], total = 0;
#pragma omp simd reduction(max : largest)
		for (int i = 0; i < count; i++)
			largest = x[i] > largest ? x[i] : largest;
#pragma omp simd reduction(+ : total)
		for (int i = 0; i < count; i++) {
			y[i] = otp_exp_f(x[i] - largest);
			total += y[i];
		}
		float share = 1.0f / total;
#pragma omp simd
		for (int i = 0; i < count; i++)
			y[i] *= share;
	}
}

OTP_CPU_KERNEL(softmax)
{
	otp_shape s = call->out.shape;
	softmax_rows(call->out.data, call->in[0].data, otp_shape_count(s) / s.c, s.c);
}

OTP_SIMD static void softmax_gate_rows(float *out, const float *y, const float *g, int64_t rows, int count)
{
	for (int64_t r = 0; r < rows; r++, y += count, g += count, out += count) {
		float inner = 0;
#pragma omp simd reduction(+ : inner)
		for (int i = 0; i < count; i++)
			inner += y[i] * g[i];
#pragma omp simd
		for (int i = 0; i < count; i++)
			out[i] = y[i] * (g[i] - inner);
	}
}

OTP_CPU_KERNEL(softmax_gate)
{
	otp_shape s = call->out.shape;
	softmax_gate_rows(call->out.data, call->in[0].data, call->in[1].data, otp_shape_count(s) / s.c, s.c);
}
