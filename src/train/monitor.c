#include "train/monitor.h"
#include "core/log.h"
#include "ot/assignment.h"
#include "ot/distance.h"
#include "ot/patches.h"
#include "train/evaluate.h"
#include "train/verdicts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* FLOOR_SAMPLES target samples are held against the one measured with. */
enum { INPUTS = 256, PICTURES = 64, MOST_FLOATS = 1 << 22, DIRECTIONS = 64, FLOOR_SAMPLES = 4 };

/* What the data alone says, found once. */
typedef struct facts {
	double floor, source_distance;
	double partners;  /* how far apart the partners of neighbouring sources lie (partners_apart) */
	double stretched; /* how far a map may have brought neighbours apart */
	double patch_floor, source_patch_distance; /* NAN for vectors */
	double target_rms, target_pair;		   /* rms distance from the mean; mean distance of two */
	double random_cost; /* E|x - y|^2 of independent x, y, as the potential sees it */
} facts;

struct otp_monitor {
	const otp_session *session;
	otp_sampler *sampler;
	size_t n, d;
	bool vectors;
	int every;
	float *x, *targets; /* (2n, d): every input twice; (n, d) */
	float *y, *eps;	    /* (2n, d): under the first noise, then under the second */
	float *others;	    /* (n, d): other inputs, vectors only */
	otp_stream *streams;
	facts facts;
	otp_patches *patches; /* of the targets; NULL for vectors */
	otp_metrics *history; /* of the steps that were measured */
	size_t count, room;
};

/* ---- distances ---- */

static double law_distance(const otp_monitor *m, const float *a, const float *b)
{
	return m->vectors ? otp_assignment_w2(a, b, (int)m->n, (int)m->d, NULL)
			  : otp_sliced_w2(a, b, m->n, m->d, DIRECTIONS, m->session->config.seed);
}

/* n pictures' patches against the targets' */
static double patch_distance(const otp_monitor *m, const float *pictures)
{
	return m->patches ? otp_patches_distance(m->patches, pictures) : NAN;
}

/* ---- data ---- */

/* Sample i of n in block `which` of `blocks`. Over a set with an end, or what is withheld of it, the blocks
 * interleave (it may be sorted), elsewhere they follow each other, far from what training draws. */
static uint64_t index_of(const otp_dataset *set, otp_side side, size_t n, size_t i, size_t which,
			 size_t blocks)
{
	otp_dataset_info info = otp_dataset_describe(set);
	uint64_t room = (uint64_t)otp_evaluate_room(&info);
	return otp_evaluate_index(
	    set, side, (int64_t)(room ? (i * blocks + which) * room / (n * blocks) : which * n + i));
}

static bool read_law(const otp_monitor *m, otp_side side, size_t which, size_t blocks, float *out,
		     otp_error *err)
{
	const otp_dataset *set = otp_session_measured(m->session, side);
	for (size_t i = 0; i < m->n; i++)
		if (!otp_dataset_get(set, index_of(set, side, m->n, i, which, blocks), 0, out + i * m->d,
				     err))
			return false;
	return true;
}

/* Whether the sample tells what spread over noise the plan should have; of pictures too little is known. */
static bool judges_noise(const otp_monitor *m) { return m->vectors && m->n > 2; }

/* The nearest other source of source i. */
static size_t neighbour(const otp_monitor *m, size_t i)
{
	size_t nearest = i;
	double least = INFINITY;
	for (size_t k = 0; k < m->n; k++) {
		double square = otp_squared_distance(m->x + i * m->d, m->x + k * m->d, m->d);
		if (k != i && square < least) {
			least = square;
			nearest = k;
		}
	}
	return nearest;
}

/* Mean distance of the partners that the best pairing with `targets` (n, d) gives to neighbouring sources, in
 * units of two targets' distance. */
static double partners_apart(const otp_monitor *m, const float *targets)
{
	size_t n = m->n, d = m->d;
	int *to = otp_calloc(n, sizeof *to);
	double sum = 0;
	otp_assignment_w2(m->x, targets, (int)n, (int)d, to);
	for (size_t i = 0; i < n; i++)
		sum += sqrt(otp_squared_distance(targets + (size_t)to[i] * d,
						 targets + (size_t)to[neighbour(m, i)] * d, d));
	otp_free(to);
	return sum / (double)n / m->facts.target_pair;
}

/* A map that stretches relative distances no more than twofold brings neighbours so far apart. */
static double stretched_apart(const otp_monitor *m)
{
	enum { STRETCH = 2 };
	double near = 0, far = 0;
	for (size_t i = 0; i < m->n; i++) {
		near += sqrt(otp_squared_distance(m->x + i * m->d, m->x + neighbour(m, i) * m->d, m->d));
		for (size_t k = 0; k < m->n; k++)
			far +=
			    sqrt(otp_squared_distance(m->x + i * m->d, m->x + k * m->d, m->d)) / (double)m->n;
	}
	return STRETCH * near / far;
}

/* How far apart two outputs of one input should be: how far apart the best pairing of the sample puts the
 * partners of neighbours, less what a map may account for. Where T is a map, what it accounts for itself is
 * known: it is paired with its outputs for other inputs, as many as there are targets. (In many dimensions
 * all neighbours are far, and the best pairing tears them apart whatever the plan is.) */
static double needed_spread(otp_monitor *m, double sigma, double noise_spread)
{
	const double map_like = 0.1;
	const facts *f = &m->facts;
	double needed = sqrt(fmax(0, f->partners * f->partners - f->stretched * f->stretched));
	if (noise_spread > map_like)
		return needed;
	otp_sampler_run(m->sampler, m->others, m->streams, (int64_t)m->n, sigma, m->y, m->eps);
	double own = fmax(f->stretched, partners_apart(m, m->y));
	return sqrt(fmax(0, f->partners * f->partners - own * own));
}

/* 0: without end. */
static int64_t room_of(const otp_session *s, otp_side side)
{
	otp_dataset_info info = otp_dataset_describe(otp_session_measured(s, side));
	return otp_evaluate_room(&info);
}

/* Networks with a scale play about the centres of both laws: the way between these costs nothing there. */
static double random_cost(const otp_monitor *m)
{
	size_t n = m->n, d = m->d;
	double cost = 0, way = 0;
	/* Past each other, so that a set beside itself is not paired with itself. */
	for (size_t i = 0; i < n; i++)
		cost += otp_squared_distance(m->x + i * d, m->targets + (i + n / 2) % n * d, d) / (double)n;
	for (size_t k = 0; k < d && otp_arch_scaled(&m->session->arch); k++) {
		double sum = 0;
		for (size_t i = 0; i < n; i++)
			sum += (double)m->targets[i * d + k] - (double)m->x[i * d + k];
		way += sum / (double)n * (sum / (double)n);
	}
	return cost - way;
}

static bool find_facts(otp_monitor *m, otp_error *err)
{
	facts *f = &m->facts;
	int64_t count = room_of(m->session, OTP_TARGET);
	size_t blocks = 1 + FLOOR_SAMPLES;
	if (count && (size_t)count / m->n < blocks)
		blocks = (size_t)count / m->n;
	if (!read_law(m, OTP_SOURCE, 0, 1, m->x, err) || !read_law(m, OTP_TARGET, 0, blocks, m->targets, err))
		return false;
	memcpy(m->x + m->n * m->d, m->x, m->n * m->d * sizeof *m->x);
	const otp_arch *a = &m->session->arch;
	if (!m->vectors)
		m->patches = otp_patches_new(m->targets, m->n, a->h, a->w, a->c, m->session->config.seed);
	for (size_t k = 1; k < blocks; k++) {
		if (!read_law(m, OTP_TARGET, k, blocks, m->y, err))
			return false;
		f->floor += law_distance(m, m->y, m->targets) / (double)(blocks - 1);
		f->patch_floor += patch_distance(m, m->y) / (double)(blocks - 1);
		f->target_pair += otp_mean_distance(m->y, m->targets, m->n, m->d) / (double)(blocks - 1);
	}
	f->target_rms = sqrt(otp_variance(m->targets, m->n, m->d));
	f->source_distance = law_distance(m, m->x, m->targets);
	f->source_patch_distance = patch_distance(m, m->x);
	f->random_cost = random_cost(m);
	if (!judges_noise(m))
		return true;
	f->partners = partners_apart(m, m->targets);
	f->stretched = stretched_apart(m);
	return read_law(m, OTP_SOURCE, 1, 2, m->others, err);
}

/* ---- measuring ---- */

/* Of the generator's passes at most one in 50 is the monitor's, for vectors one in 100: their distance takes
 * more time than the passes do. Either way that is below 3 % of a run's time, backward passes being dear. */
int otp_monitor_every(const otp_config *c, bool vectors)
{
	int64_t passes = vectors ? 2 * INPUTS * 100 : 2 * PICTURES * 50;
	int64_t of_a_step = (int64_t)c->batch * (c->k_transport + c->k_potential);
	int64_t least = (passes + of_a_step - 1) / of_a_step;
	int64_t every = (least + c->log_every - 1) / c->log_every * c->log_every;
	return (int)(every < INT32_MAX ? every : INT32_MAX);
}

static double smoothing_distance(const otp_monitor *m, double sigma)
{
	double keep = otp_smoothing_keep(m->session->smoothing, sigma), sum = 0;
	for (size_t i = 0; i < 2 * m->n * m->d; i++) {
		double from = keep * (double)m->x[i] + sigma * (double)m->eps[i];
		sum += (from - (double)m->y[i]) * (from - (double)m->y[i]);
	}
	return sum / (double)(2 * m->n);
}

static void measure(otp_monitor *m, otp_metrics *row)
{
	const facts *f = &m->facts;
	size_t nd = m->n * m->d;
	otp_sampler_run(m->sampler, m->x, m->streams, (int64_t)(2 * m->n), row->sigma, m->y, m->eps);
	row->measured_at = (double)row->step;
	row->transport_cost = otp_squared_distance(m->x, m->y, 2 * nd) / (double)(2 * m->n);
	row->identity_distance = sqrt(row->transport_cost / (double)m->d);
	row->target_distance = law_distance(m, m->y, m->targets);
	row->target_floor = f->floor;
	row->patch_distance = patch_distance(m, m->y);
	row->patch_floor = f->patch_floor;
	row->source_patch_distance = f->source_patch_distance;
	row->source_distance = f->source_distance;
	/* Who returns x' does nothing, and who takes the noise out of it neither. A projection shortens
	 * squared distances d-fold on average: so much a sliced distance asks for. */
	double moved = fmin(row->transport_cost, smoothing_distance(m, row->sigma));
	row->to_identity = sqrt(moved / (f->source_distance * (m->vectors ? 1 : (double)m->d)));
	row->output_spread = sqrt(otp_variance(m->y, 2 * m->n, m->d)) / f->target_rms;
	row->noise_spread = otp_mean_distance(m->y, m->y + nd, m->n, m->d) / f->target_pair;
	/* Of two draws half the squared distance is the variance. */
	row->diversity = sqrt(otp_squared_distance(m->y, m->y + nd, nd) / (double)(2 * nd));
	row->noise_needed = judges_noise(m) ? needed_spread(m, row->sigma, row->noise_spread) : NAN;
}

static void repeat(const otp_monitor *m, otp_metrics *row)
{
	if (m->count == 0)
		return;
	const otp_metrics *last = &m->history[m->count - 1];
	row->measured_at = last->measured_at;
	row->transport_cost = last->transport_cost;
	row->identity_distance = last->identity_distance;
	row->target_distance = last->target_distance;
	row->target_floor = last->target_floor;
	row->patch_distance = last->patch_distance;
	row->patch_floor = last->patch_floor;
	row->source_patch_distance = last->source_patch_distance;
	row->source_distance = last->source_distance;
	row->to_identity = last->to_identity;
	row->output_spread = last->output_spread;
	row->noise_spread = last->noise_spread;
	row->noise_needed = last->noise_needed;
	row->diversity = last->diversity;
	row->verdicts = last->verdicts;
}

static void remember(otp_monitor *m, const otp_metrics *row)
{
	m->history = otp_grown(m->history, m->count, &m->room, sizeof *m->history);
	m->history[m->count++] = *row;
}

/* One line for each verdict that appears or clears. */
static void announce(const otp_monitor *m, unsigned before, unsigned after)
{
	const otp_metrics *now = &m->history[m->count - 1];
	char figures[160], advice[320];
	for (otp_verdict v = 0; v < OTP_VERDICT_COUNT; v++) {
		bool was = before >> v & 1, is = after >> v & 1;
		if (was && !is)
			otp_log("verdict: no more %s at step %lld", otp_verdict_name(v),
				(long long)now->step);
		if (is && !was) {
			otp_verdict_figures(v, m->history, m->count, figures, sizeof figures);
			otp_verdict_advice(v, &m->session->config, now, advice, sizeof advice);
			otp_log("verdict: %s at step %lld: %s; try %s", otp_verdict_name(v),
				(long long)now->step, figures, advice);
		}
	}
}

void otp_monitor_recall(otp_monitor *m, const otp_metrics *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i].measured_at == (double)rows[i].step)
			remember(m, &rows[i]);
}

void otp_monitor_forget(otp_monitor *m, int64_t step)
{
	while (m->count > 0 && m->history[m->count - 1].step > step)
		m->count--;
}

static bool is_due(const otp_monitor *m, int64_t step)
{
	return step == 1 || step % m->every == 0 || step == m->session->config.steps;
}

void otp_monitor_look(otp_monitor *m, otp_metrics *row)
{
	double tau = m->session->config.tau, cost = m->facts.random_cost;
	row->potential_gap = cost > 0 ? row->potential_gap / (tau * cost) : NAN;
	row->potential_slope = cost > 0 ? sqrt(row->r1 / cost) / (2 * tau) : NAN;
	if (m->n == 0)
		return;
	if (!is_due(m, row->step)) {
		repeat(m, row);
		return;
	}
	measure(m, row);
	remember(m, row);
	unsigned before = m->count > 1 ? m->history[m->count - 2].verdicts : 0;
	row->verdicts = m->history[m->count - 1].verdicts =
	    otp_verdicts_next(&m->session->config, m->history, m->count);
	announce(m, before, row->verdicts);
}

bool otp_monitor_found_best(const otp_monitor *m, int64_t step)
{
	return m->count > 0 && m->history[m->count - 1].step == step &&
	       otp_metrics_best(m->history, m->count) == m->count - 1;
}

/* ---- set-up ---- */

static size_t values_of(const otp_arch *a) { return (size_t)a->h * (size_t)a->w * (size_t)a->c; }

static size_t batch_size(const otp_session *s)
{
	size_t n = s->arch.vectors ? INPUTS : PICTURES;
	int64_t sources = room_of(s, OTP_SOURCE), targets = room_of(s, OTP_TARGET);
	while (n > 1 && n * values_of(&s->arch) > MOST_FLOATS)
		n /= 2;
	if (sources && (size_t)sources < n)
		n = (size_t)sources;
	if (targets && (size_t)targets / 2 < n)
		n = (size_t)targets / 2;
	return n;
}

size_t otp_monitor_bytes(const otp_session *s)
{
	const otp_arch *a = &s->arch;
	size_t n = batch_size(s),
	       blocks = 2 + 1 + 2 + 2 + (a->vectors ? 1 : 0); /* x, targets, y, eps, others */
	size_t patches = a->vectors ? 0 : otp_patches_bytes(n, a->h, a->w);
	return blocks * n * values_of(a) * sizeof(float) + patches;
}

otp_monitor *otp_monitor_new(const otp_session *s, otp_sampler *sampler, otp_error *err)
{
	otp_monitor *m = otp_calloc(1, sizeof *m);
	m->session = s;
	m->sampler = sampler;
	m->vectors = s->arch.vectors;
	m->d = values_of(&s->arch);
	m->n = batch_size(s);
	m->every = otp_monitor_every(&s->config, m->vectors);
	m->x = otp_calloc(2 * m->n * m->d, sizeof *m->x);
	m->targets = otp_calloc(m->n * m->d, sizeof *m->targets);
	m->y = otp_calloc(2 * m->n * m->d, sizeof *m->y);
	m->eps = otp_calloc(2 * m->n * m->d, sizeof *m->eps);
	m->others = m->vectors ? otp_calloc(m->n * m->d, sizeof *m->others) : NULL;
	m->streams = otp_calloc(2 * m->n, sizeof *m->streams);
	for (size_t i = 0; i < 2 * m->n; i++)
		m->streams[i] = otp_stream_make(s->config.seed ^ 0x6d6f6e69746f72u, (uint32_t)(i % m->n),
						(uint32_t)(i / m->n));
	if (m->n == 0 || find_facts(m, err))
		return m;
	otp_monitor_free(m);
	return NULL;
}

void otp_monitor_free(otp_monitor *m)
{
	if (!m)
		return;
	otp_free(m->x);
	otp_free(m->targets);
	otp_free(m->y);
	otp_free(m->eps);
	otp_free(m->others);
	otp_free(m->streams);
	otp_free(m->history);
	otp_patches_free(m->patches);
	otp_free(m);
}
