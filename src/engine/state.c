/* state: what an engine has learned, and what its steps reported. */
#include "engine/inside.h"

#include <float.h>
#include <string.h>

/* ---- state ---- */

void otp_engine_init(otp_engine *e, uint64_t seed)
{
	for (otp_network n = 0; n < OTP_NETWORKS; n++) {
		int64_t elements = e->params[n]->elements;
		float *state = otp_calloc((size_t)(elements * otp_engine_rows(n)), sizeof *state);
		otp_params_init(e->params[n], seed, n, state + OTP_ROW_PARAM * elements);
		if (otp_engine_rows(n) > OTP_ROW_EMA)
			memcpy(state + OTP_ROW_EMA * elements, state, (size_t)elements * sizeof *state);
		otp_engine_write(e, n, state);
		otp_free(state);
	}
	otp_engine_set_guard(e, NULL);
}

void otp_engine_round_weights(otp_engine *e, otp_network network)
{
	const otp_runtime *at = e->runtime;
	otp_rounded rounded = e->rounded[otp_state_span(network)];
	if (rounded.memory)
		at->backend->upload(at->device, rounded.memory, OTP_BF16,
				    otp_engine_floats(e, otp_state_span(network)), rounded.elements);
}

/* The own columns of what a linked device keeps beside the weights, between it and a whole state on the host.
 */
static void each_own(otp_engine *e, otp_network network, float *state,
		     void (*move)(otp_engine *e, void *device, float *host, int64_t count))
{
	int64_t columns = e->params[network]->elements, count = own_columns(e, network);
	float *kept = (float *)otp_engine_state(e, network) + columns;
	for (int row = 1; row < otp_engine_rows(network) && count > 0; row++)
		move(e, kept + (row - 1) * count, state + row * columns + first_column(e, network), count);
}

static void up(otp_engine *e, void *device, float *host, int64_t count)
{
	e->runtime->backend->upload(e->runtime->device, device, OTP_F32, host, count);
}

static void down(otp_engine *e, void *device, float *host, int64_t count)
{
	e->runtime->backend->download(e->runtime->device, host, OTP_F32, device, count);
}

/* A state on the host with the own columns alone; memory that is not touched is not taken. */
static float *read_own(otp_engine *e, otp_network network)
{
	float *own = otp_calloc_for("a copy of the weights", (size_t)e->params[network]->elements,
				    (size_t)otp_engine_rows(network) * sizeof *own);
	otp_engine_wait(e);
	down(e, otp_engine_state(e, network), own, e->params[network]->elements);
	each_own(e, network, own, down);
	return own;
}

void otp_engine_read(otp_engine *e, otp_network network, float *state)
{
	const otp_runtime *at = e->runtime;
	size_t count = (size_t)(e->params[network]->elements * otp_engine_rows(network));
	if (is_linked(e)) {
		float *own = read_own(e, network);
		memcpy(state, own, count * sizeof *own);
		otp_free(own);
		return;
	}
	at->backend->wait(at->device);
	at->backend->download(at->device, state, OTP_F32, otp_engine_state(e, network), (int64_t)count);
}

/* All weights, and the own columns of what is kept beside them. */
static void write_linked(otp_engine *e, otp_network network, const float *given)
{
	const otp_runtime *at = e->runtime;
	otp_rounded rounded = e->rounded[otp_state_span(network)];
	float *state = (float *)given; /* which is read alone */
	up(e, otp_engine_state(e, network), state, e->params[network]->elements);
	if (rounded.memory)
		at->backend->upload(at->device, rounded.memory, OTP_BF16, state, rounded.elements);
	each_own(e, network, state, up);
	otp_engine_wait(e);
}

/* All weights, and the own columns of what is kept beside them. */
static void write_own(otp_engine *e, otp_network network, const float *state)
{
	const otp_group *g = group_of(e);
	int64_t columns = e->params[network]->elements,
		at = otp_sharing_column(g, columns, otp_group_rank(g));
	int64_t count = otp_sharing_column(g, columns, otp_group_rank(g) + 1) - at;
	float *own = otp_engine_floats(e, otp_state_span(network));
	memcpy(own, state, (size_t)columns * sizeof *own);
	for (int row = 1; row < otp_engine_rows(network); row++)
		memcpy(own + row * columns + at, state + row * columns + at, (size_t)count * sizeof *own);
	otp_engine_round_weights(e, network);
}

void otp_engine_collect(otp_engine *e, otp_network network, float *state)
{
	if (!group_of(e)) {
		otp_engine_read(e, network, state);
		return;
	}
	int64_t columns = e->params[network]->elements;
	float *read = is_linked(e) ? read_own(e, network) : NULL;
	const float *own = read ? read : otp_engine_floats(e, otp_state_span(network));
	if (state)
		memcpy(state, own, (size_t)columns * sizeof *own);
	otp_sharing_collect(group_of(e), own + columns, state ? state + columns : NULL,
			    otp_engine_rows(network) - 1, columns);
	otp_free(read);
}

void otp_engine_deal(otp_engine *e, otp_network network, const float *state)
{
	if (!group_of(e)) {
		otp_engine_write(e, network, state);
		return;
	}
	int64_t columns = e->params[network]->elements;
	float *read = is_linked(e) ? read_own(e, network) : NULL;
	float *own = read ? read : otp_engine_floats(e, otp_state_span(network));
	if (state)
		memcpy(own, state, (size_t)columns * sizeof *own);
	otp_group_broadcast(group_of(e), own, (size_t)columns * sizeof *own);
	otp_sharing_deal(group_of(e), state ? state + columns : NULL, own + columns,
			 otp_engine_rows(network) - 1, columns);
	if (read)
		write_linked(e, network, read);
	else
		otp_engine_round_weights(e, network);
	otp_free(read);
}

void otp_engine_collect_average(otp_engine *e)
{
	if (!group_of(e))
		return;
	int64_t columns = e->params[OTP_TRANSPORT]->elements;
	if (is_linked(e)) {
		float *read = read_own(e, OTP_TRANSPORT), *average = read + OTP_ROW_EMA * columns;
		otp_sharing_collect(group_of(e), average, average, 1, columns);
		if (otp_group_leads(group_of(e)))
			up(e, e->average, average, columns);
		otp_engine_wait(e);
		otp_free(read);
		return;
	}
	float *average = otp_engine_floats(e, otp_state_span(OTP_TRANSPORT)) + OTP_ROW_EMA * columns;
	otp_sharing_collect(group_of(e), average, average, 1, columns);
}

void otp_engine_read_average(otp_engine *e, float *average)
{
	const otp_runtime *at = e->runtime;
	int64_t base;
	char *memory = otp_engine_average(e, &base);
	at->backend->wait(at->device);
	at->backend->download(at->device, average, OTP_F32,
			      memory + (size_t)base * at->backend->element_bytes[OTP_F32],
			      e->params[OTP_TRANSPORT]->elements);
}

void otp_engine_slice(const otp_engine *e, int *first, int *count)
{
	*first = otp_cut_sample(&e->cut, otp_cut_part(&e->cut, e->first_block));
	*count = otp_cut_sample(&e->cut, otp_cut_part(&e->cut, e->last_block)) - *first;
}

void otp_engine_write(otp_engine *e, otp_network network, const float *state)
{
	if (group_of(e)) {
		(is_linked(e) ? write_linked : write_own)(e, network, state);
		return;
	}
	const otp_runtime *at = e->runtime;
	otp_rounded rounded = e->rounded[otp_state_span(network)];
	at->backend->upload(at->device, otp_engine_state(e, network), OTP_F32, state,
			    e->params[network]->elements * otp_engine_rows(network));
	if (rounded.memory)
		at->backend->upload(at->device, rounded.memory, OTP_BF16,
				    state + OTP_ROW_PARAM * e->params[network]->elements, rounded.elements);
	at->backend->wait(at->device);
}

void otp_engine_load(otp_engine *e, otp_side side, int64_t first, int64_t count, const uint32_t *words)
{
	const otp_runtime *at = e->runtime;
	int64_t each = otp_engine_picture_words(e, side);
	char *data = e->spans[otp_data_span(side)];
	at->backend->upload(at->device, data + (size_t)(first * each) * at->backend->element_bytes[OTP_F32],
			    OTP_U32, words, count * each);
}

void otp_engine_wait(otp_engine *e) { e->runtime->backend->wait(e->runtime->device); }

/* ---- losses ---- */

static void download_guard(otp_engine *e, float *guard, int values)
{
	const otp_runtime *at = e->runtime;
	at->backend->download(at->device, guard, OTP_F32, e->spans[SPAN_GUARD], values);
}

/* Steps in the ring that were updates: all but the first that was refused, and those after it. */
static int find_refused(otp_engine *e)
{
	float guard[OTP_GUARD_HEAD];
	if (e->refused)
		return 0;
	download_guard(e, guard, OTP_GUARD_HEAD);
	int slot = (int)guard[OTP_GUARD_STOPPED] - 1;
	if (slot < 0)
		return e->recorded;
	e->refused = true;
	float bound = guard[OTP_GUARD_BOUND];
	e->refusal = (otp_refusal){e->kinds[slot], e->counts[slot], (double)guard[OTP_GUARD_NORM],
				   bound < FLT_MAX ? (double)(bound / EXPLOSION) : 0};
	return slot;
}

void otp_engine_fetch_losses(otp_engine *e)
{
	const otp_runtime *at = e->runtime;
	const int64_t ring = (int64_t)LOSS_SLOTS * OTP_REPORT_COUNT;
	at->backend->wait(at->device);
	int first = otp_cut_part(&e->cut, e->first_block), last = otp_cut_part(&e->cut, e->last_block);
	for (int i = first; i < last; i++)
		at->backend->download(at->device, e->fetched + i * ring, OTP_F32,
				      (char *)e->spans[SPAN_LOSSES] +
					  (size_t)(i * ring) * at->backend->element_bytes[OTP_F32],
				      (int64_t)e->recorded * OTP_REPORT_COUNT);
	otp_sharing_reports(group_of(e), &e->cut, e->fetched, ring);
	int updates = find_refused(e);
	for (int slot = 0; slot < updates; slot++) {
		otp_step_kind kind = e->kinds[slot];
		e->losses.count[kind]++;
		for (int k = 0; k < OTP_REPORT_COUNT; k++) {
			double mean = 0;
			for (int i = 0; i < e->cut.parts; i++)
				mean += (double)e->fetched[i * ring + slot * OTP_REPORT_COUNT + k];
			e->losses.sum[kind][k] += mean;
		}
	}
	e->recorded = 0;
}

otp_losses otp_engine_losses(otp_engine *e)
{
	if (e->recorded)
		otp_engine_fetch_losses(e);
	return e->losses;
}

void otp_engine_set_losses(otp_engine *e, const otp_losses *losses)
{
	e->recorded = 0;
	e->losses = losses ? *losses : (otp_losses){0};
}

const otp_refusal *otp_engine_refusal(const otp_engine *e) { return e->refused ? &e->refusal : NULL; }

void otp_engine_read_guard(otp_engine *e, float *guard)
{
	otp_engine_wait(e);
	download_guard(e, guard, OTP_GUARD_VALUES);
}

void otp_engine_set_guard(otp_engine *e, const float *guard)
{
	const otp_runtime *at = e->runtime;
	const float fresh[OTP_GUARD_VALUES] = {0};
	e->refused = false;
	at->backend->upload(at->device, e->spans[SPAN_GUARD], OTP_F32, guard ? guard : fresh,
			    OTP_GUARD_VALUES);
}

/* One value of every block, `stride` apart, added as adam adds them. */
static float sum_column(const float *values, int64_t stride, int blocks)
{
	float stack[OTP_TREE_LEVELS], sum = values[0];
	int depth = 0;
	for (int i = 1; i < blocks; i++) {
		stack[depth++] = sum;
		sum = values[i * stride];
		for (int merges = otp_tree_merges(i, blocks); merges > 0; merges--)
			sum = stack[--depth] + sum;
	}
	return sum;
}

void otp_engine_read_grads(otp_engine *e, otp_network network, float *grads)
{
	const otp_runtime *at = e->runtime;
	int64_t elements = e->params[network]->elements;
	int blocks = summed_rows(e);
	float *rows = otp_calloc((size_t)(elements * blocks), sizeof *rows);
	at->backend->wait(at->device);
	int span = otp_grads_span(network);
	at->backend->download(at->device, rows, otp_engine_span_type(e, span), e->spans[span],
			      elements * blocks);
	for (int64_t k = 0; k < elements; k++)
		grads[k] = sum_column(rows + k, elements, blocks);
	otp_free(rows);
}
