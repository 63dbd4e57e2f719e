/* probe.cu: convolutions one output element a thread, in double: slow, and so
 * plain that it can be trusted. A plan of cuDNN's must agree with it on a few
 * thousand elements before it is used. */
#include "cuda/launch.cuh"
#include "cuda/probe.h"

namespace otp_probing
{

struct sums {
	double value, size; /* sum of products; of their absolute values */
};

/* An otp_probe as the kernel reads it. */
struct geometry {
	otp_shape x, w, y;
	view x_data, w_data, y_data;
	otp_probe_into into;
	int stride, pad;
};

__device__ void add_product(sums &s, float a, float b)
{
	double product = (double)a * (double)b;
	s.value += product;
	s.size += product < 0 ? -product : product;
}

__device__ otp_shape unravel(int64_t element, otp_shape s)
{
	otp_shape i;
	i.c = (int)(element % s.c);
	element /= s.c;
	i.w = (int)(element % s.w);
	element /= s.w;
	i.h = (int)(element % s.h);
	i.n = (int)(element / s.h);
	return i;
}

__device__ float element_of(view data, otp_shape s, int n, int h, int w, int c)
{
	return get(data, (((int64_t)n * s.h + h) * s.w + w) * s.c + c);
}

__device__ bool in_image(int h, int w, otp_shape s) { return h >= 0 && h < s.h && w >= 0 && w < s.w; }

__device__ sums into_y(const geometry &p, otp_shape at)
{
	sums s = {0, 0};
	for (int kh = 0; kh < p.w.h; kh++)
		for (int kw = 0; kw < p.w.w; kw++) {
			int h = at.h * p.stride + kh - p.pad, w = at.w * p.stride + kw - p.pad;
			for (int c = 0; in_image(h, w, p.x) && c < p.x.c; c++)
				add_product(s, element_of(p.x_data, p.x, at.n, h, w, c),
					    element_of(p.w_data, p.w, at.c, kh, kw, c));
		}
	return s;
}

__device__ sums into_x(const geometry &p, otp_shape at)
{
	sums s = {0, 0};
	for (int kh = 0; kh < p.w.h; kh++)
		for (int kw = 0; kw < p.w.w; kw++) {
			int h = at.h + p.pad - kh, w = at.w + p.pad - kw;
			bool met = h % p.stride == 0 && w % p.stride == 0;
			h /= p.stride;
			w /= p.stride;
			for (int c = 0; met && in_image(h, w, p.y) && c < p.y.c; c++)
				add_product(s, element_of(p.y_data, p.y, at.n, h, w, c),
					    element_of(p.w_data, p.w, c, kh, kw, at.c));
		}
	return s;
}

__device__ sums into_w(const geometry &p, otp_shape at)
{
	sums s = {0, 0};
	for (int n = 0; n < p.y.n; n++)
		for (int h = 0; h < p.y.h; h++)
			for (int w = 0; w < p.y.w; w++) {
				int xh = h * p.stride + at.h - p.pad, xw = w * p.stride + at.w - p.pad;
				if (in_image(xh, xw, p.x))
					add_product(s, element_of(p.x_data, p.x, n, xh, xw, at.c),
						    element_of(p.y_data, p.y, n, h, w, at.n));
			}
	return s;
}

OTP_GLOBAL probe_convolution(geometry p, int64_t count, int64_t step, view value, float *size)
{
	for (int64_t i = otp_first_item(); i < count; i += otp_item_step()) {
		int64_t element = i * step;
		sums s = p.into == OTP_PROBE_Y	 ? into_y(p, unravel(element, p.y))
			 : p.into == OTP_PROBE_X ? into_x(p, unravel(element, p.x))
						 : into_w(p, unravel(element, p.w));
		put(value, i, (float)s.value);
		if (size)
			size[i] = (float)s.size;
	}
}

OTP_GLOBAL probe_fill(float *y, int64_t count, uint32_t which)
{
	otp_stream stream = {{which, 0, 0, 0}};
	for (int64_t i = otp_first_item(); i < count; i += otp_item_step())
		y[i] = 2 * otp_random_uniform(stream, OTP_PURPOSE_SYNTH, (uint32_t)i) - 1;
}

} // namespace otp_probing

using namespace otp_probing;

void otp_cuda_probe(const otp_call *call, const otp_probe *p, int64_t count, int64_t step,
		    const otp_tensor *value, float *size)
{
	geometry g = {p->x.shape,    p->w.shape, p->y.shape, view_of(p->x), view_of(p->w),
		      view_of(p->y), p->into,	 p->stride,  p->pad};
	OTP_LAUNCH(call, probe_convolution, otp_blocks(count), OTP_THREADS, 0, g, count, step,
		   view_of(*value), size);
}

void otp_cuda_fill(const otp_call *call, float *y, int64_t count, uint32_t which)
{
	OTP_LAUNCH(call, probe_fill, otp_blocks(count), OTP_THREADS, 0, y, count, which);
}
