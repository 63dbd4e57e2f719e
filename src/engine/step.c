/* step: one update of one network. */
#include "engine/inside.h"

#include <string.h>

typedef struct step_task {
	otp_engine *e;
	otp_step_kind kind;
	otp_batch x, y;
	const otp_update *u;
	int slice; /* the first sample that is this process's */
	float numbers[OTP_HYPER_COUNT];
} step_task;

static void fill_words(const step_task *task, part_steps *part, int index)
{
	const otp_update *u = task->u;
	int noises_apart = task->e->settings.objective.noise_pairs ? 2 : 1;
	for (int i = 0; i < part->shard; i++) {
		uint32_t *words = part->words + (size_t)i * OTP_WORD_COUNT;
		int place = otp_cut_sample(&task->e->cut, index) + i;
		otp_stream s = otp_stream_make(u->seed, (uint32_t)(place / noises_apart), u->draw);
		memcpy(words + OTP_WORD_STREAM, s.word, sizeof s.word);
		words[OTP_WORD_SOURCE] = task->x.picks ? task->x.picks[place] : 0;
		words[OTP_WORD_TARGET] = task->y.picks ? task->y.picks[place] : 0;
		words[OTP_WORD_SLOT] = (uint32_t)(index * LOSS_SLOTS + task->e->recorded);
	}
}

static void write_samples(const step_task *task, otp_program *p, const otp_node *leaf, otp_batch b, int first)
{
	if (!leaf)
		return;
	OTP_ASSERT(b.values, "a step's samples %s are on the host, but none were given", leaf->name);
	first -= task->slice; /* what is on the host are this process's samples alone */
	otp_program_write(p, leaf, b.values + first * (otp_shape_count(leaf->shape) / leaf->shape.n));
}

/* +1 and -1 in turn, by the place in the whole batch, of the part whose first sample is `first`. */
static void write_signs(part_steps *part, otp_step_kind kind, int first)
{
	const otp_node *leaf = part->step[kind].in.signs;
	if (!leaf)
		return;
	for (int i = 0; i < part->shard; i++)
		part->signs[i] = (first + i) % 2 ? -1 : 1;
	otp_program_write(part->program[kind], leaf, part->signs);
}

/* Part `index` of the batch, its gradients to the maker's desk. */
static void run_part(void *context, maker *m, otp_step_kind kind, int index)
{
	const step_task *task = context;
	const otp_cut *cut = &task->e->cut;
	part_steps *part = steps_of(m, otp_cut_shard(cut, index));
	const otp_step_inputs *in = &part->step[kind].in;
	otp_program *p = part->program[kind];
	int first = otp_cut_sample(cut, index);
	fill_words(task, part, index);
	otp_program_write(p, in->words, part->words);
	otp_program_write(p, in->numbers, task->numbers);
	write_samples(task, p, in->x, task->x, first);
	write_samples(task, p, in->y, task->y, first);
	if (!part->signs_of[kind])
		write_signs(part, kind, first);
	part->signs_of[kind] = m->parts == 1; /* of one part they stay */
	otp_program_run(p);
}

static void run_sum(void *context, const row_sum *sum)
{
	(void)context;
	otp_program_run(sum->program);
}

static void run_step(void *argument, int worker)
{
	step_task task = *(const step_task *)argument;
	const block_work work = {run_part, run_sum, &task};
	for (int k = 0; k < task.e->makers[worker].blocks; k++)
		otp_makers_walk_block(task.e, worker, k, task.kind, &work);
}

static double power(double base, int64_t exponent)
{
	double result = 1;
	for (; exponent; exponent >>= 1, base *= base)
		if (exponent & 1)
			result *= base;
	return result;
}

static void fill_numbers(const otp_engine_settings *s, const otp_update *u, int slot, float *numbers)
{
	numbers[OTP_HYPER_CLIP] = (float)s->clip_norm;
	numbers[OTP_HYPER_SLOT] = (float)slot;
	numbers[OTP_HYPER_RATE] = (float)u->rate;
	numbers[OTP_HYPER_CORRECT1] = (float)(1 / (1 - power(s->beta1, u->count)));
	numbers[OTP_HYPER_CORRECT2] = (float)(1 / (1 - power(s->beta2, u->count)));
	numbers[OTP_HYPER_EMA] = (float)u->ema;
	numbers[OTP_NUMBER_KEEP] = (float)u->keep;
	numbers[OTP_NUMBER_SIGMA] = (float)u->sigma;
	numbers[OTP_NUMBER_R1] = (float)u->r1;
}

static void run_stage(const step_task *task, stage s, int worker)
{
	const update *u = &task->e->updates[task->kind];
	otp_program *p = u->program[s][worker];
	if (u->hyper[s])
		otp_program_write(p, u->hyper[s], task->numbers);
	otp_program_run(p);
}

static void run_squares(void *argument, int worker) { run_stage(argument, STAGE_SQUARES, worker); }
static void run_adam(void *argument, int worker) { run_stage(argument, STAGE_ADAM, worker); }

static void update_by_all(const step_task *task)
{
	otp_pool *pool = task->e->runtime->pool;
	step_task shared = *task;
	otp_engine *e = task->e;
	otp_network n = otp_step_network(task->kind);
	int64_t columns = e->params[n]->elements;
	bool exchanges = group_of(e) && !is_linked(e); /* what linked devices do in their programs */
	if (exchanges)
		otp_sharing_rows(group_of(e), &e->cut, otp_engine_floats(e, otp_grads_span(n)), columns);
	otp_pool_run(pool, run_squares, &shared);
	if (exchanges)
		otp_sharing_squares(group_of(e), otp_engine_floats(e, SPAN_GUARD) + squares_base(e, n),
				    columns);
	run_stage(task, STAGE_GUARD, 0);
	otp_pool_run(pool, run_adam, &shared);
	if (exchanges) {
		otp_sharing_columns(group_of(e), otp_engine_floats(e, otp_state_span(n)), columns);
		otp_engine_round_weights(e, n);
	}
}

static void step(step_task task)
{
	otp_engine *e = task.e;
	OTP_ASSERT(otp_engine_uses(&e->settings, task.kind),
		   "a potential step of a kind that was not announced");
	if (e->recorded == LOSS_SLOTS)
		otp_engine_fetch_losses(e);
	fill_numbers(&e->settings, task.u, e->recorded, task.numbers);
	int count;
	otp_engine_slice(e, &task.slice, &count);
	otp_pool_run(e->runtime->pool, run_step, &task);
	if (!updates_in_step(e))
		update_by_all(&task);
	e->kinds[e->recorded] = task.kind;
	e->counts[e->recorded++] = task.u->count;
}

void otp_engine_transport_step(otp_engine *e, otp_batch x, const otp_update *u)
{
	step((step_task){.e = e, .kind = OTP_STEP_TRANSPORT, .x = x, .u = u});
}

void otp_engine_potential_step(otp_engine *e, otp_batch x, otp_batch y, const otp_update *u)
{
	otp_step_kind kind = u->r1 > 0 ? OTP_STEP_POTENTIAL_R1 : OTP_STEP_POTENTIAL;
	step((step_task){.e = e, .kind = kind, .x = x, .y = y, .u = u});
}
