#include "verify/problems.h"
#include "core/words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define GAUSSIAN(d_, lines, uvp)                                                                             \
	{                                                                                                    \
		.name = "gaussian-" #d_, .truth = OTP_TRUTH_GAUSSIAN, .d = d_, .law = "gaussian-source",     \
		.source = "synth:gaussian-source?d=" #d_, .target = "synth:gaussian-target?d=" #d_,          \
		.preset = "vector", .settings = lines, .bars = {                                             \
			{"l2_uvp", 0, uvp}                                                                   \
		}                                                                                            \
	}

/* Where a point goes to two sides and the target ends sharply: networks aimed
 * at the data whose first units bend as fast as the exact map does at the
 * edges, and a potential that learns from refined answers, since the generator
 * follows it too slowly. These answer at once, so momentum is safe: it damps the
 * potential's swing between the sides and allows it ten times the rate. Every
 * hidden matrix of the potential adds to that swing; one block has two. */
#define AIMED                                                                                                \
	SINGULAR "start = aimed\npotential-blocks = 1\nrefine = 2\n"                                         \
		 "beta1 = 0.9\nbeta2 = 0.99\nr1-end = 2e-3\nbatch = 512\nk-transport = 3\n"                  \
		 "anneal-fraction = 0.4\ndecay-from = 0.3\n"

/* In many dimensions most directions hold nothing, and squares keep the outputs out of them; the generator
 * has its edges in many directions to learn. */
#define HIGH                                                                                                 \
	AIMED "sigma-start = 0.5\nwidth = 256\npotential-width = 128\nlr_g = 1e-3\nlr_d = 1e-4\nsteps = "    \
	      "4000\n"

#define ONE_TO_MANY_256(m_, lines)                                                                           \
	{                                                                                                    \
		.name = "one-to-many-256-" #m_, .truth = OTP_TRUTH_ONE_TO_MANY, .d = 256, .m = m_,           \
		.law = "one-to-many-source", .source = "synth:one-to-many-source?d=256&m=" #m_ "",           \
		.target = "synth:one-to-many-target?d=256&m=" #m_ "", .preset = "vector",                    \
		.settings = HIGH "potential-quadratic = 256\nquadratic-gain = 70\n" lines,                   \
		.stratified = true, .bars = {                                                                \
			SIDES,                                                                               \
			{"off_support", 0, 0.05},                                                            \
			{"smoothed_cost_error", 0, 0.05}                                                     \
		}                                                                                            \
	}

#define SIDES                                                                                                \
	{"side_balance", 0.45, 0.55}, {"side_balance_point", 0, 0.05}, {"side_rms", 0, 0.05}, { "ks", 0, 0.1 }

/* What all share, beside the preset `vector`: a small network that a minute of
 * one core trains, R1 that has all but gone at the end (its bias on the
 * displacement is 2 tau r1), rates that fall early and far, because
 * the last of the error is the noise of the two players' steps. */
#define SHARED                                                                                               \
	"width = 64\npotential-width = 64\nk-transport = 1\n"                                                \
	"anneal-fraction = 0.5\ndecay-from = 0.2\ndecay-to = 0.005\nema = 0.999\n"

/* Sources without: tau 4 makes a step of the potential small beside what
 * decides between sides; pairs of +-eps keep a batch's sides even. */
#define SINGULAR                                                                                             \
	SHARED "sigma-start = 1\nsigma-end = 0.1\nnoise-pairs = on\n"                                        \
	       "tau = 4\nr1 = 0.03\nr1-end = 3e-4\nlr_g = 5e-4\nlr_d = 1e-4\npotential-gain = 3\n"

const otp_problem otp_problems[] = {
    GAUSSIAN(2, "steps = 3000\n", 1),
    GAUSSIAN(16, "steps = 3000\n", 1),
    GAUSSIAN(64, "steps = 2500\nwidth = 128\npotential-quadratic = 128\n", 3),
    GAUSSIAN(256, "steps = 2500\nwidth = 256\npotential-quadratic = 512\n", 5),
    {.name = "perpendicular-1",
     .truth = OTP_TRUTH_PERPENDICULAR,
     .d = 2,
     .m = 1,
     .source = "synth:perpendicular-source?m=1",
     .target = "synth:perpendicular-target?m=1",
     .preset = "vector",
     .settings = SINGULAR "steps = 3000\n",
     .stratified = true,
     .bars = {{"target_excess", -INFINITY, 0.02}, {"cost_error", 0, 0.03}, {"ks", 0, 0.1}}},
    {.name = "perpendicular-4",
     .truth = OTP_TRUTH_PERPENDICULAR,
     .d = 8,
     .m = 4,
     .source = "synth:perpendicular-source?m=4",
     .target = "synth:perpendicular-target?m=4",
     .preset = "vector",
     .settings = SINGULAR "steps = 4000\n",
     .stratified = true,
     .bars = {{"cost_error", 0, 0.12}, {"ks", 0, 0.1}, {"off_support", 0, 0.05}}},
    {.name = "one-to-many",
     .truth = OTP_TRUTH_ONE_TO_MANY,
     .d = 2,
     .m = 1,
     .law = "one-to-many-source",
     .source = "synth:one-to-many-source?m=1",
     .target = "synth:one-to-many-target?m=1",
     .preset = "vector",
     .settings = AIMED
     "aim-ends = 100\nbeta1 = 0\nk-transport = 5\nlr_g = 7e-4\nlr_d = 5e-5\nr1-end = 1e-3\nsteps = 3500\n",
     .stratified = true,
     .bars = {SIDES, {"target_excess", -INFINITY, 0.02}, {"cost_error", 0, 0.03}}},
    {.name = "one-to-many-16-4",
     .truth = OTP_TRUTH_ONE_TO_MANY,
     .d = 16,
     .m = 4,
     .law = "one-to-many-source",
     .source = "synth:one-to-many-source?d=16&m=4",
     .target = "synth:one-to-many-target?d=16&m=4",
     .preset = "vector",
     .settings = HIGH "potential-quadratic = 16\nquadratic-gain = 20\n",
     .stratified = true,
     .bars = {SIDES, {"off_support", 0, 0.05}, {"smoothed_cost_error", 0, 0.05}}},
    ONE_TO_MANY_256(2, "lr_d = 7e-5\nsteps = 3500\n"),
    ONE_TO_MANY_256(4, ""),
    ONE_TO_MANY_256(8, "width = 384\nk-transport = 4\nlr_g = 1.5e-3\n"),
    {.name = "parallel",
     .truth = OTP_TRUTH_PARALLEL,
     .d = 2,
     .m = 1,
     .source = "synth:parallel-source",
     .target = "synth:parallel-target",
     .preset = "vector",
     .settings = SINGULAR "steps = 3000\n",
     .stratified = true,
     .bars = {{"target_excess", -INFINITY, 0.02}, {"cost_error", 0, 0.03}}},
    {.name = "gaussian-to-8gaussians",
     .truth = OTP_TRUTH_SAMPLES,
     .d = 2,
     .source = "synth:gaussian?d=2",
     .target = "synth:8gaussians?d=2",
     .preset = "vector",
     .settings = "steps = 4000\n",
     .bars = {{"target_excess", -INFINITY, 0.05}, {"cost_error", 0, 0.1}}},
    {.name = "moons-to-spiral",
     .truth = OTP_TRUTH_SAMPLES,
     .d = 2,
     .source = "synth:moons?d=2",
     .target = "synth:spiral?d=2",
     .preset = "vector",
     .settings = "steps = 4000\n",
     .bars = {{"target_excess", -INFINITY, 0.05}, {"cost_error", 0, 0.1}}},
    {.name = "isoluminant",
     .truth = OTP_TRUTH_COLOURING,
     .d = 768,
     .source = "synth:digits",
     .target = "synth:digits-isoluminant",
     .preset = "quickstart",
     .settings = "",
     .bars = {{"hue_agreement", 0.9, 1},
	      {"hue_resultant", 0, 0.15},
	      {"chroma", 0.85, 1.1},
	      {"shape_ratio", 0, 0.15}}},
};
const int otp_problem_count = sizeof otp_problems / sizeof *otp_problems;

/* What a problem convex-D is made of; it lives as long as the program. */
typedef struct convex_problem {
	char name[24], source[40], target[40];
	otp_problem problem;
} convex_problem;

/* NULL where the name is no convex-D with D from 2 to 4096. Trained as a user's own points are: by the preset
 * alone. */
static const otp_problem *make_convex(const char *name)
{
	enum { MOST = 256 }; /* more than a command line names */
	static convex_problem made[MOST];
	int d = 0, length = 0, k = 0;
	if (sscanf(name, "convex-%4d%n", &d, &length) != 1 || name[length] || d < 2 || d > 4096)
		return NULL;
	while (k < MOST && made[k].name[0] && made[k].problem.d != d)
		k++;
	OTP_ASSERT(k < MOST, "%d problems convex-D", k);
	convex_problem *c = &made[k];
	snprintf(c->name, sizeof c->name, "convex-%d", d);
	snprintf(c->source, sizeof c->source, "synth:convex-source?d=%d", d);
	snprintf(c->target, sizeof c->target, "synth:convex-target?d=%d", d);
	c->problem = (otp_problem){.name = c->name,
				   .truth = OTP_TRUTH_CONVEX,
				   .d = d,
				   .law = "convex-source",
				   .source = c->source,
				   .target = c->target,
				   .preset = "vector",
				   .settings = "",
				   .bars = {{"l2_uvp", 0,
					     d <= 2    ? 1
					     : d <= 16 ? 3
						       : 10}}};
	return &c->problem;
}

const otp_problem *otp_problem_find(const char *name, otp_error *err)
{
	const otp_problem *convex = make_convex(name);
	if (convex)
		return convex;
	otp_word_search search = otp_word_search_for(name);
	for (int i = 0; i < otp_problem_count; i++) {
		if (strcmp(otp_problems[i].name, name) == 0)
			return &otp_problems[i];
		otp_word_consider(&search, otp_problems[i].name);
	}
	otp_fail(err, name, "is not a problem of verify%s%s",
		 search.nearest ? ", did you mean " : "; see otplan help verify",
		 search.nearest ? search.nearest : "");
	return NULL;
}

bool otp_problem_sliced(const otp_problem *p)
{
	enum { MOST_ASSIGNED_DIMENSION = 8 };
	return p->truth == OTP_TRUTH_COLOURING || p->d > MOST_ASSIGNED_DIMENSION;
}

bool otp_problem_configure(const otp_problem *p, otp_config *c, otp_error *err)
{
	otp_config_defaults(c);
	if (!otp_config_preset(c, p->preset, err) || !otp_config_parse(c, p->settings, p->name, err))
		return false;
	snprintf(c->preset, sizeof c->preset, "%s", p->preset);
	snprintf(c->source, sizeof c->source, "%s", p->source);
	snprintf(c->target, sizeof c->target, "%s", p->target);
	return true;
}
