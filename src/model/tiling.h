/* tiling: one axis of a picture covered by overlapping tiles of the model's size. Their windows are smooth
 * and sum to one, so a picture is the sum of its tiles, each times its windows of both axes. */
#ifndef OTP_TILING_H
#define OTP_TILING_H

typedef struct otp_tiling {
	int length, tile; /* pixels, length >= tile */
	int step, count;  /* tile i starts at i * step, the last where it just fits */
} otp_tiling;

/* Neighbours overlap by half a tile at least: with less, a window falls so steeply that where tiles differ it
 * shows (tests/cli/fit.sh). Where that leaves room for it, steps are multiples of `stride`, the pixels of a
 * network's coarsest grid: then all tiles but the last see the same grid. */
otp_tiling otp_tiling_of(int length, int tile, int stride);
int otp_tiling_start(const otp_tiling *t, int i);
/* weight: `tile` floats, 1 where no other tile is. */
void otp_tiling_window(const otp_tiling *t, int i, float *weight);

#endif
