/* convolution: the triple, and what the networks fuse with it. */
#include "check_ops/harness.h"

typedef struct conv_size {
	int n, h, w, in, out, kh, kw, stride, pad;
	bool bench;
} conv_size;

/* One pixel, one channel, image channels, odd sizes, kernels as large as the
 * image, strides that leave a remainder, patches of an image, blocks of 16 and not; then what the
 * networks spend their time in. */
static const conv_size conv_sizes[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 0, false},	      {2, 5, 7, 3, 8, 3, 3, 1, 1, false},
    {3, 6, 6, 7, 5, 3, 3, 2, 1, false},	      {2, 8, 8, 16, 32, 4, 4, 2, 1, false},
    {2, 4, 4, 33, 17, 1, 1, 1, 0, false},     {4, 4, 4, 12, 1, 4, 4, 1, 0, false},
    {2, 9, 8, 32, 3, 3, 3, 1, 1, false},      {2, 7, 8, 16, 16, 3, 2, 2, 0, false},
    {2, 8, 12, 3, 16, 6, 6, 2, 2, false},     {1, 16, 16, 3, 24, 12, 12, 4, 4, false},
    {1, 16, 16, 64, 32, 3, 3, 1, 1, false},   {16, 32, 32, 64, 64, 3, 3, 1, 1, true},
    {16, 16, 16, 128, 128, 3, 3, 1, 1, true}, {16, 64, 64, 32, 32, 3, 3, 1, 1, true},
    {16, 64, 64, 3, 32, 3, 3, 1, 1, true},    {16, 64, 64, 32, 3, 3, 3, 1, 1, true},
    {16, 32, 32, 64, 128, 4, 4, 2, 1, true},  {16, 32, 32, 64, 64, 1, 1, 1, 0, true},
    {16, 64, 64, 3, 64, 6, 6, 2, 2, true},    {16, 64, 64, 3, 64, 12, 12, 4, 4, true},
};

/* Behind what is copied into a concat of channels, and out of there again. */
static otp_node *build_as_part(const test_case *t, otp_node *const *in)
{
	otp_node *y = otp_node_new(t->op, t->attr, in, t->count);
	otp_node *other = otp_spread(otp_affine(in[2], 1, 1), y->shape),
		 *both = otp_concat(other, y, OTP_AXIS_C);
	return otp_slice(both, OTP_AXIS_C, y->shape.c, y->shape.c);
}

static void check_conv(otp_op op, float slope, float scale)
{
	for (size_t k = 0; k < sizeof conv_sizes / sizeof *conv_sizes; k++) {
		conv_size s = conv_sizes[k];
		otp_shape x = {s.n, s.h, s.w, s.in}, w = {s.out, s.kh, s.kw, s.in};
		otp_shape y = {s.n, (s.h + 2 * s.pad - s.kh) / s.stride + 1,
			       (s.w + 2 * s.pad - s.kw) / s.stride + 1, s.out};
		double taps = (double)s.kh * s.kw, pixels = (double)s.n * y.h * y.w;
		test_case t = {.op = op,
			       .count = 2,
			       .bound = BY_ABS,
			       .order = 2,
			       .bf16 = true,
			       .bench_only = s.bench,
			       .one_mixture = 1 + (int)k,
			       .flops = 2 * taps * s.in * s.out * pixels};
		t.attr.conv.stride = s.stride;
		t.attr.conv.pad = s.pad;
		t.in[0] = op == OTP_OP_conv2d_dgrad ? y : x;
		t.in[1] = op == OTP_OP_conv2d_wgrad ? y : w;
		if (op == OTP_OP_conv2d_bias || op == OTP_OP_conv2d_merge)
			t.in[t.count++] = otp_shape4(1, 1, 1, s.out);
		if (op == OTP_OP_conv2d_merge)
			t.in[t.count++] = y;
		t.attr.conv.slope = slope;
		t.attr.conv.scale = scale;
		t.attr.conv.h = op == OTP_OP_conv2d_dgrad ? s.h : op == OTP_OP_conv2d_wgrad ? s.kh : 0;
		t.attr.conv.w = op == OTP_OP_conv2d_dgrad ? s.w : op == OTP_OP_conv2d_wgrad ? s.kw : 0;
		t.roundings =
		    1 +
		    (op == OTP_OP_conv2d_wgrad ? pixels : taps * (op == OTP_OP_conv2d_dgrad ? s.out : s.in));
		/* A product with the slope, which brings errors no further apart; a term more, and a product.
		 */
		t.roundings += op == OTP_OP_conv2d_merge ? 2 : op == OTP_OP_conv2d_bias && slope != 1 ? 1 : 0;
		run_case(t);
		if (op == OTP_OP_conv2d_bias || op == OTP_OP_conv2d_merge) {
			t.build = build_as_part; /* a result, and a residual, in rows of wider tensors */
			t.apart = op == OTP_OP_conv2d_merge ? 1 << 3 : 0;
			t.in[3].c *= 3;
			run_case(t);
		}
	}
}

void check_conv2d(void) { check_conv(OTP_OP_conv2d, 0, 0); }
/* With these inputs no sum lies within a finite difference's reach of the kink, or the check of gradients
 * would fail. */
void check_conv2d_bias(void)
{
	check_conv(OTP_OP_conv2d_bias, 1, 0);
	check_conv(OTP_OP_conv2d_bias, 0.2f, 0);
}
void check_conv2d_merge(void) { check_conv(OTP_OP_conv2d_merge, 0, 0.70710678f); }
void check_conv2d_dgrad(void) { check_conv(OTP_OP_conv2d_dgrad, 0, 0); }
void check_conv2d_wgrad(void) { check_conv(OTP_OP_conv2d_wgrad, 0, 0); }
