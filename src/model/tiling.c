#include "model/tiling.h"
#include "core/base.h"

#include <math.h>

otp_tiling otp_tiling_of(int length, int tile, int stride)
{
	OTP_ASSERT(tile >= 1 && length >= tile && stride >= 1, "tiles of %d on %d", tile, length);
	int most = tile - tile / 2, step = stride <= most ? most / stride * stride : most;
	return (otp_tiling){length, tile, step, 1 + (length - tile + step - 1) / step};
}

int otp_tiling_start(const otp_tiling *t, int i)
{
	return i < t->count - 1 ? i * t->step : t->length - t->tile;
}

/* A tile is trusted most in its middle: sin^2, zero just outside. */
static double trust(const otp_tiling *t, int at)
{
	double s = sin(OTP_PI * (at + 0.5) / t->tile);
	return at >= 0 && at < t->tile ? s * s : 0;
}

void otp_tiling_window(const otp_tiling *t, int i, float *weight)
{
	enum { NEAR = 4 }; /* tiles further away never overlap: a step is more than a quarter of a tile */
	int start = otp_tiling_start(t, i);
	for (int x = 0; x < t->tile; x++) {
		double sum = 0;
		for (int j = i - NEAR; j <= i + NEAR; j++)
			if (j >= 0 && j < t->count)
				sum += trust(t, start + x - otp_tiling_start(t, j));
		weight[x] = (float)(trust(t, x) / sum);
	}
}
