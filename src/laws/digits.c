/* digits: glyphs as lines, elliptic arcs and curves in the unit square, bent a
 * little, placed by a random affine map, drawn as the distance to the stroke.
 */
#include "laws/digits.h"

#include "core/base.h"

#include <math.h>

/* A part of a glyph. x to the right, y down, angles in degrees clockwise from
 * the right. LINE and CURVE start where the part before ended, unless it was MOVE. */
typedef struct part {
	enum { END, MOVE, LINE, CURVE, ARC } kind;
	float a, b, c, d, e,
	    f; /* MOVE, LINE: x, y. CURVE: control x, y, end x, y. ARC: centre, radii, from, to */
} part;

enum { MOST_PARTS = 6, MOST_POINTS = 96 };

static const part glyphs[10][MOST_PARTS] = {
    {{ARC, .50f, .50f, .26f, .38f, 0, 360}},
    {{MOVE, .34f, .28f}, {LINE, .54f, .12f}, {LINE, .54f, .88f}},
    {{ARC, .49f, .34f, .24f, .22f, -165, 25}, {CURVE, .62f, .60f, .24f, .88f}, {LINE, .78f, .88f}},
    {{ARC, .47f, .31f, .24f, .19f, -150, 90}, {ARC, .47f, .69f, .28f, .19f, -90, 150}},
    {{MOVE, .60f, .88f}, {LINE, .60f, .12f}, {LINE, .21f, .63f}, {LINE, .80f, .63f}},
    {{MOVE, .74f, .12f}, {LINE, .34f, .12f}, {LINE, .30f, .46f}, {ARC, .48f, .63f, .27f, .25f, -135, 145}},
    {{MOVE, .66f, .12f}, {CURVE, .26f, .28f, .26f, .64f}, {ARC, .50f, .66f, .24f, .22f, -180, 180}},
    {{MOVE, .21f, .13f}, {LINE, .79f, .13f}, {CURVE, .50f, .48f, .42f, .88f}},
    {{ARC, .50f, .30f, .20f, .18f, 90, 450}, {ARC, .50f, .68f, .25f, .20f, -90, 270}},
    {{ARC, .50f, .34f, .24f, .22f, 0, 360}, {CURVE, .74f, .66f, .60f, .88f}},
};

typedef struct stroke {
	int count;
	struct point {
		float x, y;
		bool joined; /* to the point before */
	} at[MOST_POINTS];
} stroke;

static void add(stroke *s, float x, float y, bool joined)
{
	OTP_ASSERT(s->count < MOST_POINTS, "a glyph of more than %d points", MOST_POINTS);
	bool first = s->count == 0;
	s->at[s->count++] = (struct point){x, y, joined && !first};
}

static void add_curve(stroke *s, const part *p)
{
	struct point from = s->at[s->count - 1];
	for (int i = 1; i <= 10; i++) {
		float t = (float)i / 10, u = 1 - t;
		add(s, u * u * from.x + 2 * u * t * p->a + t * t * p->c,
		    u * u * from.y + 2 * u * t * p->b + t * t * p->d, true);
	}
}

/* An arc is joined to what stands before it: the two bowls of 3 and 8 touch, the
 * neck of 5 runs on. */
static void add_arc(stroke *s, const part *p)
{
	int steps = (int)ceilf(fabsf(p->f - p->e) / 15);
	for (int i = 0; i <= steps; i++) {
		float angle = (p->e + (p->f - p->e) * (float)i / (float)steps) * (float)OTP_PI / 180;
		add(s, p->a + p->c * cosf(angle), p->b + p->d * sinf(angle), true);
	}
}

static void flatten(const part *glyph, stroke *s)
{
	s->count = 0;
	for (int i = 0; i < MOST_PARTS && glyph[i].kind != END; i++) {
		const part *p = &glyph[i];
		switch (p->kind) {
		case MOVE:
			add(s, p->a, p->b, false);
			break;
		case LINE:
			add(s, p->a, p->b, true);
			break;
		case CURVE:
			add_curve(s, p);
			break;
		case ARC:
			add_arc(s, p);
			break;
		case END:
			break;
		}
	}
}

/* ---- randomness ---------------------------------------------------------------- */

enum draw {
	LABEL,
	ANGLE,
	SLANT,
	SCALE_X,
	SCALE_Y,
	SHIFT_X,
	SHIFT_Y,
	WIDTH,
	SHADE,
	BEND_X,
	BEND_Y,
	PHASE_X,
	PHASE_Y
};

static float between(otp_stream stream, enum draw what, float low, float high)
{
	return low + (high - low) * otp_random_uniform(stream, OTP_PURPOSE_SYNTH, what);
}

int otp_digit_label(otp_stream stream)
{
	return (int)(10 * otp_random_uniform(stream, OTP_PURPOSE_SYNTH, LABEL));
}

/* Bend by half a wave along each axis, then slant, turn, scale and shift about the centre. */
static void place(stroke *s, otp_stream stream)
{
	float angle = between(stream, ANGLE, -.2f, .2f), slant = between(stream, SLANT, -.28f, .16f);
	float scale_x = between(stream, SCALE_X, .78f, 1.08f),
	      scale_y = between(stream, SCALE_Y, .82f, 1.04f);
	float shift_x = between(stream, SHIFT_X, -.05f, .05f),
	      shift_y = between(stream, SHIFT_Y, -.04f, .04f);
	float bend_x = between(stream, BEND_X, -.05f, .05f), bend_y = between(stream, BEND_Y, -.04f, .04f);
	float phase_x = between(stream, PHASE_X, 0, (float)(2 * OTP_PI)),
	      phase_y = between(stream, PHASE_Y, 0, (float)(2 * OTP_PI));
	for (int i = 0; i < s->count; i++) {
		struct point *p = &s->at[i];
		float x = p->x - .5f + bend_x * sinf(4 * p->y + phase_x);
		float y = p->y - .5f + bend_y * sinf(4 * p->x + phase_y);
		x = scale_x * (x + slant * y);
		y = scale_y * y;
		p->x = .5f + shift_x + cosf(angle) * x - sinf(angle) * y;
		p->y = .5f + shift_y + sinf(angle) * x + cosf(angle) * y;
	}
}

/* ---- drawing --------------------------------------------------------------------- */

/* Lower v, which holds squared distances in pixels, near the segment a-b; pixels
 * further than `reach` keep what they have. */
static void approach(float *v, int size, struct point a, struct point b, float reach)
{
	float ax = a.x * (float)size - .5f, ay = a.y * (float)size - .5f;
	float dx = (b.x - a.x) * (float)size, dy = (b.y - a.y) * (float)size;
	float length2 = fmaxf(dx * dx + dy * dy, 1e-12f);
	int x0 = (int)fmaxf(0, ceilf(fminf(ax, ax + dx) - reach));
	int y0 = (int)fmaxf(0, ceilf(fminf(ay, ay + dy) - reach));
	int x1 = (int)fminf((float)size - 1, floorf(fmaxf(ax, ax + dx) + reach));
	int y1 = (int)fminf((float)size - 1, floorf(fmaxf(ay, ay + dy) + reach));
	for (int y = y0; y <= y1; y++)
		for (int x = x0; x <= x1; x++) {
			float px = (float)x - ax, py = (float)y - ay;
			float t = fminf(1, fmaxf(0, (px * dx + py * dy) / length2));
			float qx = px - t * dx, qy = py - t * dy;
			v[y * size + x] = fminf(v[y * size + x], qx * qx + qy * qy);
		}
}

void otp_digit_draw(otp_stream stream, int size, float *v)
{
	stroke s;
	flatten(glyphs[otp_digit_label(stream)], &s);
	place(&s, stream);

	/* The edge falls from full to nothing over a pixel and a half: soft, and
	 * a stroke thinner than a pixel keeps its weight. */
	const float soft = 1.5f, far = 1e12f;
	float half_width = between(stream, WIDTH, .038f, .075f) * (float)size;
	float shade = between(stream, SHADE, .7f, 1), reach = half_width + soft;
	for (int i = 0; i < size * size; i++)
		v[i] = far;
	for (int i = 1; i < s.count; i++)
		if (s.at[i].joined)
			approach(v, size, s.at[i - 1], s.at[i], reach);
	for (int i = 0; i < size * size; i++) {
		float cover = (half_width - sqrtf(v[i])) / soft + .5f;
		v[i] = shade * fminf(1, fmaxf(0, cover));
	}
}
