#include "train/verdicts.h"
#include "config/settings.h"
#include "report/figures.h"
#include "train/monitor.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- bounds, with what was seen on each side (docs/diagnosis.md has the runs) ---- */

/* Every run begins at the identity, without spread over noise: nothing is said before so much of it. */
static const double GRACE = 0.1;

/* A healthy run ends at 0.8 to 1.1 (images: more), one whose tau holds it down at 0.02. At 0.2 T makes 4 % of
 * the squared distance, so at least (1 - 0.2)^2 = 64 % of the target distance must be left: FAR is below
 * that. */
static const double STILL = 0.2, FAR = 0.5;

/* A plan that reaches the target has 1. R1 at 2 tau r1 = 1 would halve displacements; collapsed runs had
 * less than 0.3. */
static const double NARROW = 0.5;

/* What the best pairing asks for is 0.75 (one to many) or 0.99 (perpendicular), and 0 to 0.03 where the plan
 * is a map; plans that split have 0.9 to 1.05 of it, plain maps 0. Where it cannot be told (images), hardly
 * any spread (the quickstart has 0.7) beside a target that is not reached. */
static const double SPLIT = 0.3, SPLIT_SHARE = 0.25, NO_SPREAD = 0.05, UNREACHED = 0.25;

/* In units of tau and the cost of a random pairing. A potential that is exact has a slope of at most 1 and
 * no gap; healthy runs with noise had gaps up to 0.7 and slopes up to 2.5. A small tau makes both larger
 * without harm, hence the second condition: larger by GROWTH than ever in the first half of the steps so far.
 * Adam moves weights by its rate at every step, so what grows without bound at least doubles in that time. */
static const double STEEP = 10, GROWTH = 1.5;

/* A worse plan at a sigma smaller by LOWER than the one at which it was good (REACHED). Either further from
 * the target, by RISE of the way: one plan's distance to samples varied by up to 0.1. Or dearer, for vectors,
 * whose best pairing's cost is known: it was within CHEAP of that and is beyond DEAR, while healthy runs
 * stayed within 1.08 of it from there on and plain maps had 1.3. */
static const double LOWER = 1.25, REACHED = 0.5, RISE = 0.2, CHEAP = 1.1, DEAR = 1.2;

/* Of photos a run that learns had 0.45 of the way left after 200 of 8,000 steps; one of 120 steps had all of
 * it. */
static const double UNMOVED = 0.9;

/* ---- conditions at the last row ---- */

typedef struct history {
	const otp_config *config;
	const otp_metrics *rows, *last;
	size_t count;
	bool standing; /* whether the verdict in question stands */
} history;

double otp_verdict_left(const otp_metrics *row)
{
	return (row->target_distance - row->target_floor) / (row->source_distance - row->target_floor);
}

/* Source and target differ by more than samples of one law do. */
static bool laws_differ(const otp_metrics *row) { return row->source_distance > 1.5 * row->target_floor; }

static bool is_young(const history *h) { return (double)h->last->step < GRACE * h->config->steps; }

static bool is_still(const otp_metrics *row)
{
	return laws_differ(row) && row->to_identity < STILL && otp_verdict_left(row) > FAR;
}

static bool identity(const history *h) { return !is_young(h) && is_still(h->last); }

/* Sources may be narrow themselves: who returns them is judged for that. */
static bool modes(const history *h)
{
	return !is_young(h) && !is_still(h->last) && h->last->output_spread < NARROW;
}

static bool noise(const history *h)
{
	const otp_metrics *r = h->last;
	if (is_young(h) || is_still(r) || r->output_spread < NARROW)
		return false;
	if (isfinite(r->noise_needed))
		return r->noise_needed > SPLIT && r->noise_spread < SPLIT_SHARE * r->noise_needed;
	return r->sigma > 0 && r->noise_spread < NO_SPREAD && laws_differ(r) &&
	       otp_verdict_left(r) > UNREACHED;
}

static double steepness(const otp_metrics *row)
{
	double gap = fabs(row->potential_gap);
	return row->potential_slope > gap ? row->potential_slope : gap; /* without R1 there is no slope */
}

static bool runaway(const history *h)
{
	double now = steepness(h->last), before = 0;
	for (size_t i = 0; i < h->count && 2 * h->rows[i].step <= h->last->step; i++)
		before = fmax(before, steepness(&h->rows[i]));
	return now > STEEP && (h->standing || (!is_young(h) && now > GROWTH * before));
}

/* The best row at about the last row's sigma, or at larger ones; NULL where there is none. */
static const otp_metrics *best_row(const otp_metrics *rows, size_t count, bool at_larger)
{
	const otp_metrics *best = NULL;
	for (size_t i = 0; i < count; i++)
		if ((rows[i].sigma > LOWER * rows[count - 1].sigma) == at_larger &&
		    (!best || rows[i].target_distance < best->target_distance))
			best = &rows[i];
	return best;
}

static double dearness(const otp_metrics *row)
{
	bool exact = isfinite(row->noise_needed);
	return exact ? row->transport_cost / row->source_distance : NAN;
}

static bool annealing(const history *h)
{
	const otp_metrics *before = best_row(h->rows, h->count, true),
			  *here = best_row(h->rows, h->count, false);
	if (!before || !laws_differ(h->last) || is_still(h->last) || otp_verdict_left(before) > REACHED)
		return false;
	return otp_verdict_left(here) > otp_verdict_left(before) + RISE ||
	       (dearness(before) < CHEAP && dearness(h->last) > DEAR);
}

/* Pictures that learn show it in their patches: slices of whole ones hardly move. */
static bool by_patches(const otp_metrics *row) { return isfinite(row->source_patch_distance); }

static double way_left(const otp_metrics *row)
{
	return by_patches(row) ? (row->patch_distance - row->patch_floor) /
				     (row->source_patch_distance - row->patch_floor)
			       : otp_verdict_left(row);
}

static bool sides_differ(const otp_metrics *row)
{
	return by_patches(row) ? row->source_patch_distance > 1.5 * row->patch_floor : laws_differ(row);
}

/* No step so far came nearer, and no other verdict says why. */
static bool unlearned(const history *h)
{
	if (is_young(h) || !sides_differ(h->last) || identity(h) || modes(h) || noise(h))
		return false;
	for (size_t i = 0; i < h->count; i++)
		if (way_left(&h->rows[i]) <= UNMOVED)
			return false;
	return isfinite(way_left(h->last));
}

static bool holds(otp_verdict v, const otp_config *c, const otp_metrics *rows, size_t count, bool standing)
{
	static bool (*const conditions[OTP_VERDICT_COUNT])(const history *) = {
	    [OTP_VERDICT_IDENTITY] = identity,	 [OTP_VERDICT_MODES] = modes,
	    [OTP_VERDICT_NOISE] = noise,	 [OTP_VERDICT_RUNAWAY] = runaway,
	    [OTP_VERDICT_ANNEALING] = annealing, [OTP_VERDICT_UNLEARNED] = unlearned,
	};
	history h = {c, rows, &rows[count - 1], count, standing};
	return conditions[v](&h);
}

unsigned otp_verdicts_next(const otp_config *c, const otp_metrics *rows, size_t count)
{
	unsigned before = count > 1 ? rows[count - 2].verdicts : 0, after = before;
	if (count < OTP_VERDICT_PERSISTENCE)
		return before;
	for (otp_verdict v = 0; v < OTP_VERDICT_COUNT; v++) {
		bool standing = before >> v & 1, turns = true;
		for (size_t back = 0; turns && back < OTP_VERDICT_PERSISTENCE; back++)
			turns = holds(v, c, rows, count - back, standing) != standing;
		if (turns)
			after ^= 1u << v;
	}
	return after;
}

/* ---- words ---- */

void otp_verdict_figures(otp_verdict v, const otp_metrics *rows, size_t count, char *text, size_t bytes)
{
	const otp_metrics *r = &rows[count - 1], *before = best_row(rows, count, true);
	double left = 100 * fmax(0, otp_verdict_left(r));
	switch (v) {
	case OTP_VERDICT_IDENTITY:
		snprintf(text, bytes,
			 "T moves by %.2f of what it must at least, %.0f %% of the way to the target is left",
			 r->to_identity, left);
		break;
	case OTP_VERDICT_MODES:
		snprintf(text, bytes, "the outputs' spread is %.2f of the target's", r->output_spread);
		break;
	case OTP_VERDICT_NOISE:
		if (isfinite(r->noise_needed))
			snprintf(text, bytes, "the spread over noise is %.3f, the best pairing asks for %.2f",
				 r->noise_spread, r->noise_needed);
		else
			snprintf(text, bytes,
				 "the spread over noise is %.3f, %.0f %% of the way to the target is left",
				 r->noise_spread, left);
		break;
	case OTP_VERDICT_RUNAWAY:
		snprintf(text, bytes, "V(y) - V(T) is %.3g times what a random pairing costs",
			 r->potential_gap);
		if (isfinite(r->potential_slope)) {
			size_t used = strlen(text);
			snprintf(text + used, bytes - used, ", V's slope %.3g times what that accounts for",
				 r->potential_slope);
		}
		break;
	case OTP_VERDICT_UNLEARNED:
		snprintf(text, bytes, "%s is %.3g, that of the sources %.3g, the floor %.3g",
			 otp_figure_find(by_patches(r) ? "patch_distance" : "target_distance")->name,
			 by_patches(r) ? r->patch_distance : r->target_distance,
			 by_patches(r) ? r->source_patch_distance : r->source_distance,
			 by_patches(r) ? r->patch_floor : r->target_floor);
		break;
	default:
		snprintf(text, bytes,
			 "at sigma %.3g %.0f %% of the way to the target is left at a cost of %.3g, at %.3g "
			 "it was "
			 "%.0f %% at %.3g",
			 r->sigma, left, r->transport_cost, before ? before->sigma : NAN,
			 before ? 100 * fmax(0, otp_verdict_left(before)) : NAN,
			 before ? before->transport_cost : NAN);
	}
}

/* Appends a suggestion, separated from those before. */
static void suggest(char *text, size_t bytes, const char *fmt, ...) OTP_PRINTF(3, 4);
static void suggest(char *text, size_t bytes, const char *fmt, ...)
{
	size_t used = strlen(text);
	if (used)
		used += (size_t)snprintf(text + used, bytes - used, "; ");
	va_list arguments;
	va_start(arguments, fmt);
	if (used < bytes)
		vsnprintf(text + used, bytes - used, fmt, arguments);
	va_end(arguments);
}

/* "--key old -> new", new brought into the option's range; nothing where that leaves it as it is. */
static void suggest_value(char *text, size_t bytes, const char *key, double old, double new, double least,
			  double most)
{
	char from[32], to[32];
	snprintf(from, sizeof from, "%.3g", old);
	snprintf(to, sizeof to, "%.3g", fmin(fmax(new, least), most));
	if (strcmp(from, to) != 0)
		suggest(text, bytes, "--%s %s -> %s", key, from, to);
}

/* R1 shrinks displacements by about 1 / (1 + 2 tau r1): 5 % are little. */
static const double R1_BIAS = 0.05;

static void suggest_tau(const otp_config *c, double factor, char *text, size_t bytes)
{
	suggest_value(text, bytes, "tau", c->tau, factor * c->tau, 1e-8, 1e6);
}

static void against_standing_still(const otp_config *c, const otp_metrics *r, char *text, size_t bytes)
{
	double r1 = otp_settings_r1(c, r->step), bias = 2 * c->tau * r1;
	if (bias > 4 * R1_BIAS)
		suggest(text, bytes, "--r1-end %.2g (R1 shrinks what T moves by to 1/%.3g)",
			R1_BIAS / (2 * c->tau), 1 + bias);
	suggest_tau(c, 0.1, text, bytes);
	suggest_value(text, bytes, "lr_d", c->lr_d, 3 * c->lr_d, 0, 10);
}

static void against_few_modes(const otp_config *c, char *text, size_t bytes)
{
	suggest_value(text, bytes, "k-transport", c->k_transport, floor(c->k_transport / 2.0), 1, 1000);
	suggest_tau(c, 10, text, bytes);
	suggest_value(text, bytes, "lr_g", c->lr_g, c->lr_g / 3, 0, 10);
	if (c->lr_d < c->lr_g)
		suggest_value(text, bytes, "lr_d", c->lr_d, fmin(c->lr_g, 3 * c->lr_d), 0, 10);
	if (6 * c->tau * c->r1 < R1_BIAS)
		suggest_value(text, bytes, "r1", c->r1, c->r1 > 0 ? 3 * c->r1 : R1_BIAS / c->tau, 0, 1e6);
}

static void against_one_answer(const otp_config *c, char *text, size_t bytes)
{
	bool plain = c->formulation == OTP_FORMULATION_OTM;
	if (plain)
		suggest(text, bytes, "--formulation otm -> otp (a plain map gives every input one answer)");
	else if (!c->condition_noise)
		suggest(text, bytes, "--condition-noise off -> on");
	double sigma = otp_settings_sigma(c, c->steps);
	if (!plain && sigma < 0.05)
		suggest_value(text, bytes, "sigma-end", sigma, 0.1, 0, c->sigma_start);
	suggest_value(text, bytes, "k-transport", c->k_transport, c->k_transport + 2, 1, 1000);
	if (!plain)
		suggest_tau(c, 4, text, bytes);
	if (!plain && !c->noise_pairs)
		suggest(text, bytes, "--noise-pairs on");
}

static void against_running_away(const otp_config *c, char *text, size_t bytes)
{
	suggest_value(text, bytes, "r1", c->r1, fmax(5 * c->r1, 2 * R1_BIAS / c->tau), 0, 1e6);
	if (c->r1 <= 0)
		suggest(text, bytes, "--r1-end %.2g", fmin(R1_BIAS / (2 * c->tau), 1e6));
	suggest_value(text, bytes, "r1-every", c->r1_every, 1, 1, 1000);
	suggest_value(text, bytes, "lr_d", c->lr_d, c->lr_g > 0 ? fmin(c->lr_d / 4, c->lr_g) : c->lr_d / 4, 0,
		      10);
}

static void suggest_steps(const otp_config *c, int factor, char *text, size_t bytes)
{
	long long more = (long long)factor * c->steps;
	suggest(text, bytes, "--steps %d -> %lld", c->steps, more < 1000000000 ? more : 1000000000);
}

static void against_a_slow_start(const otp_config *c, char *text, size_t bytes)
{
	suggest_steps(c, 4, text, bytes);
	suggest_value(text, bytes, "lr_g", c->lr_g, 3 * c->lr_g, 0, 10);
	suggest_value(text, bytes, "lr_d", c->lr_d, 3 * c->lr_d, 0, 10);
	suggest_tau(c, 0.3, text, bytes);
}

static void against_haste(const otp_config *c, char *text, size_t bytes)
{
	if (c->anneal_fraction < 0.9)
		suggest_value(text, bytes, "anneal-fraction", c->anneal_fraction,
			      fmax(0.5, 2 * c->anneal_fraction), 0, 0.9);
	/* Rates that are gone before sigma has arrived leave the networks behind. */
	if (c->decay != OTP_DECAY_CONSTANT && c->decay_from < c->anneal_fraction)
		suggest_value(text, bytes, "decay-from", c->decay_from, c->anneal_fraction, 0, 0.9);
	double sigma = otp_settings_sigma(c, c->steps);
	if (c->anneal != OTP_ANNEAL_GEOMETRIC && sigma > 0)
		suggest(text, bytes, "--anneal %s -> geometric", OTP_CHOICE_NAME(otp_anneal, c->anneal));
	suggest_steps(c, 2, text, bytes);
	suggest_value(text, bytes, "sigma-end", sigma, fmax(0.05, 2 * sigma), 0, c->sigma_start);
}

void otp_verdict_advice(otp_verdict v, const otp_config *c, const otp_metrics *row, char *text, size_t bytes)
{
	text[0] = 0;
	switch (v) {
	case OTP_VERDICT_IDENTITY:
		against_standing_still(c, row, text, bytes);
		break;
	case OTP_VERDICT_MODES:
		against_few_modes(c, text, bytes);
		break;
	case OTP_VERDICT_NOISE:
		against_one_answer(c, text, bytes);
		break;
	case OTP_VERDICT_RUNAWAY:
		against_running_away(c, text, bytes);
		break;
	case OTP_VERDICT_UNLEARNED:
		against_a_slow_start(c, text, bytes);
		break;
	default:
		against_haste(c, text, bytes);
	}
}

/* ---- the whole ---- */

bool otp_verdicts_say(const otp_config *c, bool vectors, const otp_metrics *rows, size_t count, char *text,
		      size_t bytes)
{
	if (count < OTP_VERDICT_PERSISTENCE) {
		int every = otp_monitor_every(c, vectors);
		snprintf(
		    text, bytes,
		    "too few steps to judge: measured %zu of the %d times that a verdict takes; it measures "
		    "every %d steps, so train %d or more (--steps)",
		    count, OTP_VERDICT_PERSISTENCE, every, OTP_VERDICT_PERSISTENCE * every);
		return false;
	}
	const otp_metrics *first = &rows[0], *last = &rows[count - 1];
	if (last->verdicts) {
		otp_verdicts_text(last->verdicts, text, bytes);
		return false;
	}
	bool patches = isfinite(last->patch_distance);
	snprintf(text, bytes,
		 "nothing stands against it in %zu measurements; %s was %.3g at step %lld, %.3g at step "
		 "%lld (floor %.3g)",
		 count, otp_figure_find(patches ? "patch_distance" : "target_distance")->name,
		 patches ? first->patch_distance : first->target_distance, (long long)first->step,
		 patches ? last->patch_distance : last->target_distance, (long long)last->step,
		 patches ? last->patch_floor : last->target_floor);
	return true;
}
