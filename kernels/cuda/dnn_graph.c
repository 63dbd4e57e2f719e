/* dnn_graph.c: a convolution as a cuDNN operation graph, and the engines that
 * heuristics propose for a graph. Needs no device. */
#include "cuda/describe.h"

#include <stdlib.h>
#include <string.h>

static cudnnDataType_t type_of(bool bf16) { return bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT; }

/* cuDNN names dimensions (n, c, h, w) whatever the strides say; ours say NHWC, pixels `apart` elements apart.
 */
static bool make_rows(otp_dnn_graph *g, otp_shape s, int apart, cudnnDataType_t type, int64_t id,
		      tensor_place place, cudnnBackendDescriptor_t *tensor)
{
	const int64_t size[4] = {s.n, s.c, s.h, s.w};
	const int64_t step[4] = {(int64_t)s.h * s.w * apart, 1, (int64_t)s.w * apart, apart};
	return make_strided(g, size, step, type, id, place, tensor);
}

static bool make_tensor(otp_dnn_graph *g, otp_shape s, cudnnDataType_t type, int64_t id, tensor_place place,
			cudnnBackendDescriptor_t *tensor)
{
	return make_rows(g, s, s.c, type, id, place, tensor);
}

static bool make_geometry(otp_dnn_graph *g, const otp_dnn_conv *conv, cudnnBackendDescriptor_t *geometry)
{
	const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
	const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
	const int64_t dimensions = 2, pad[2] = {conv->pad, conv->pad}, dilation[2] = {1, 1};
	const int64_t stride[2] = {conv->stride, conv->stride};
	cudnnBackendDescriptor_t d = *geometry = make(g, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
	return put(d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dimensions) &&
	       put(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums) &&
	       put(d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode) &&
	       put(d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad) &&
	       put(d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad) &&
	       put(d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride) &&
	       put(d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation) && finish(d);
}

/* How the three convolution operations name the same things. */
static const struct {
	cudnnBackendDescriptorType_t type;
	cudnnBackendAttributeName_t role[3], geometry, alpha, beta;
} operations[] = {
    [OTP_DNN_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
			 {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
			  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
			  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y},
			 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
			 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
			 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [OTP_DNN_DGRAD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
		       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
			CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
			CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY},
		       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
		       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
		       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [OTP_DNN_WGRAD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
		       {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
			CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
			CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY},
		       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
		       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
		       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

otp_dnn_role otp_dnn_result(const otp_dnn_conv *conv)
{
	return conv->direction == OTP_DNN_FORWARD ? OTP_DNN_Y
	       : conv->direction == OTP_DNN_DGRAD ? OTP_DNN_X
						  : OTP_DNN_W;
}

bool otp_dnn_takes(const otp_dnn_conv *conv, otp_dnn_role role)
{
	return role <= OTP_DNN_Y || (role == OTP_DNN_BIAS && conv->after.bias) ||
	       (role == OTP_DNN_RESIDUAL && conv->after.residual) ||
	       (role == OTP_DNN_SCALE && conv->after.bias && conv->after.scale != 1);
}

static bool make_convolution(otp_dnn_graph *g, const otp_dnn_conv *conv, cudnnBackendDescriptor_t tensors[3],
			     cudnnBackendDescriptor_t *operation)
{
	const float one = 1, zero = 0;
	const otp_shape shape[3] = {conv->x, conv->w, conv->y};
	cudnnBackendDescriptor_t geometry;
	for (int role = 0; role < 3; role++) {
		bool result = role == (int)otp_dnn_result(conv), between = result && conv->after.bias;
		bool narrow = result ? conv->bf16_out && !between : conv->bf16_in;
		if (!make_tensor(g, shape[role], type_of(narrow), between ? OTP_DNN_ROLES : role,
				 between ? BETWEEN : IN_MEMORY, &tensors[role]))
			return false;
	}
	if (!make_geometry(g, conv, &geometry))
		return false;
	cudnnBackendDescriptor_t d = *operation = make(g, operations[conv->direction].type);
	for (int role = 0; role < 3; role++)
		if (!put_descriptor(d, operations[conv->direction].role[role], tensors[role]))
			return false;
	return put_descriptor(d, operations[conv->direction].geometry, geometry) &&
	       put(d, operations[conv->direction].alpha, CUDNN_TYPE_FLOAT, 1, &one) &&
	       put(d, operations[conv->direction].beta, CUDNN_TYPE_FLOAT, 1, &zero) && finish(d);
}

/* One step of what follows a convolution: an operation on what there is so far and, where it takes one, on a
 * second operand. */
typedef struct follower {
	cudnnPointwiseMode_t mode;
	otp_dnn_role operand;
	otp_shape shape; /* the operand's; without elements: none */
	bool bf16;
	int step; /* otp_tensor's */
} follower;

enum { MOST_FOLLOWERS = 4 };

static int list_followers(const otp_dnn_conv *conv, follower list[MOST_FOLLOWERS])
{
	const otp_dnn_epilogue *after = &conv->after;
	int count = 0;
	if (after->bias)
		list[count++] = (follower){CUDNN_POINTWISE_ADD, OTP_DNN_BIAS, {1, 1, 1, conv->y.c}, false};
	if (after->residual)
		list[count++] = (follower){CUDNN_POINTWISE_ADD, OTP_DNN_RESIDUAL, conv->y,
					   after->bf16_residual, conv->r_step};
	if (otp_dnn_takes(conv, OTP_DNN_SCALE))
		list[count++] = (follower){CUDNN_POINTWISE_MUL, OTP_DNN_SCALE, {1, 1, 1, 1}, false};
	if (after->bias && after->slope != 1)
		list[count++] = (follower){.mode = CUDNN_POINTWISE_RELU_FWD};
	return count;
}

static bool make_formula(otp_dnn_graph *g, const otp_dnn_conv *conv, cudnnPointwiseMode_t mode,
			 cudnnBackendDescriptor_t *formula)
{
	const cudnnDataType_t type = CUDNN_DATA_FLOAT;
	const double slope = (double)conv->after.slope;
	cudnnBackendDescriptor_t d = *formula = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
	return put(d, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode) &&
	       put(d, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type) &&
	       (mode != CUDNN_POINTWISE_RELU_FWD ||
		put(d, CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE, 1, &slope)) &&
	       finish(d);
}

/* `from` is what there is so far, and then what the follower makes of it: y if it is the last. */
static bool make_follower(otp_dnn_graph *g, const otp_dnn_conv *conv, const follower *f, bool last,
			  cudnnBackendDescriptor_t *from, cudnnBackendDescriptor_t *operation)
{
	cudnnBackendDescriptor_t second = NULL, to, formula;
	bool narrow = last && conv->bf16_out, takes = f->shape.c > 0;
	int second_step = f->step ? f->step : f->shape.c,
	    step = last && conv->y_step ? conv->y_step : conv->y.c;
	if (takes && !make_rows(g, f->shape, second_step, type_of(f->bf16), f->operand,
				f->operand == OTP_DNN_SCALE ? BY_VALUE : IN_MEMORY, &second))
		return false;
	if (!make_rows(g, conv->y, step, type_of(narrow), last ? OTP_DNN_Y : OTP_DNN_ROLES + g->count,
		       last ? IN_MEMORY : BETWEEN, &to) ||
	    !make_formula(g, conv, f->mode, &formula))
		return false;
	cudnnBackendDescriptor_t d = *operation = make(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
	bool good = put_descriptor(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, formula) &&
		    put_descriptor(d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *from) &&
		    (!takes || put_descriptor(d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, second)) &&
		    put_descriptor(d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to) && finish(d);
	*from = to;
	return good;
}

static bool build(otp_dnn_graph *g, const otp_dnn_conv *conv, cudnnHandle_t handle)
{
	cudnnBackendDescriptor_t tensors[3], operation[1 + MOST_FOLLOWERS];
	follower followers[MOST_FOLLOWERS];
	int count = list_followers(conv, followers);
	if (!make_convolution(g, conv, tensors, &operation[0]))
		return false;
	cudnnBackendDescriptor_t from = tensors[OTP_DNN_Y];
	for (int i = 0; i < count; i++)
		if (!make_follower(g, conv, &followers[i], i + 1 == count, &from, &operation[1 + i]))
			return false;
	return make_whole(g, operation, 1 + count, handle);
}

bool otp_dnn_graph_init(otp_dnn_graph *g, const otp_dnn_conv *conv, cudnnHandle_t handle)
{
	OTP_ASSERT(!conv->after.bias || conv->direction == OTP_DNN_FORWARD, "cudnn: a bias on a gradient");
	*g = (otp_dnn_graph){.count = 0};
	if (build(g, conv, handle))
		return true;
	otp_dnn_graph_free(g);
	return false;
}

void otp_dnn_graph_free(otp_dnn_graph *g)
{
	while (g->count > 0)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(g->made[--g->count]));
}

cudnnBackendDescriptor_t otp_dnn_graph_whole(const otp_dnn_graph *g) { return g->made[g->count - 1]; }

/* ---- candidates ---- */

enum { MOST_NOTES = CUDNN_NUMERICAL_NOTE_TYPE_COUNT + CUDNN_BEHAVIOR_NOTE_TYPE_COUNT };

typedef struct engine_notes {
	bool numerical[CUDNN_NUMERICAL_NOTE_TYPE_COUNT], behaviour[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
} engine_notes;

static bool read_notes(cudnnBackendDescriptor_t engine, engine_notes *notes)
{
	cudnnBackendNumericalNote_t numerical[MOST_NOTES];
	cudnnBackendBehaviorNote_t behaviour[MOST_NOTES];
	int64_t numerical_count = 0, behaviour_count = 0;
	*notes = (engine_notes){{false}, {false}};
	if (cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
				     MOST_NOTES, &numerical_count, numerical) != CUDNN_STATUS_SUCCESS ||
	    cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
				     MOST_NOTES, &behaviour_count, behaviour) != CUDNN_STATUS_SUCCESS)
		return false;
	for (int64_t i = 0; i < numerical_count; i++)
		if ((unsigned)numerical[i] < CUDNN_NUMERICAL_NOTE_TYPE_COUNT)
			notes->numerical[numerical[i]] = true;
	for (int64_t i = 0; i < behaviour_count; i++)
		if ((unsigned)behaviour[i] < CUDNN_BEHAVIOR_NOTE_TYPE_COUNT)
			notes->behaviour[behaviour[i]] = true;
	return true;
}

bool otp_dnn_rounds(const otp_dnn_conv *conv) { return conv->tf32 || conv->bf16_in; }

bool otp_dnn_bits_may_vary(void)
{
	const char *asked = getenv("OTPLAN_CUDA_NONDETERMINISTIC");
	return asked && *asked && strcmp(asked, "0") != 0;
}

/* Never: sums in less than float32, transforms that lose digits; other bits from run to run only where asked
 * for. Tensor cores round float32 operands, to TF32 or less: only where that was asked for. */
bool otp_dnn_engine_allowed(cudnnBackendDescriptor_t engine, bool rounds, bool *compiles)
{
	engine_notes notes;
	if (!read_notes(engine, &notes))
		return false;
	*compiles = notes.behaviour[CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION];
	const bool *n = notes.numerical;
	bool winograd = n[CUDNN_NUMERICAL_NOTE_WINOGRAD] || n[CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4] ||
			n[CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6] ||
			n[CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13];
	bool narrow = n[CUDNN_NUMERICAL_NOTE_TENSOR_CORE] || n[CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS];
	return (!n[CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC] || otp_dnn_bits_may_vary()) &&
	       !n[CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION] && !n[CUDNN_NUMERICAL_NOTE_FFT] &&
	       !winograd && (!narrow || rounds);
}

static uint64_t mixed(uint64_t digest, uint64_t value)
{
	return (digest ^ value) * 0x100000001b3u; /* as FNV-1a does of bytes */
}

static uint64_t digest_knobs(cudnnBackendDescriptor_t config)
{
	enum { MOST = 32 };
	cudnnBackendDescriptor_t knob[MOST];
	int64_t count = 0, found;
	int made = 0;
	uint64_t digest = 0xcbf29ce484222325u;
	for (; made < MOST; made++)
		if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &knob[made]) !=
		    CUDNN_STATUS_SUCCESS)
			break;
	if (cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
				     made, &count, knob) != CUDNN_STATUS_SUCCESS)
		count = 0;
	for (int i = 0; i < made; i++) {
		cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_COUNTS;
		int64_t value = -1;
		if (i < count &&
		    cudnnBackendGetAttribute(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE,
					     1, &found, &type) == CUDNN_STATUS_SUCCESS &&
		    cudnnBackendGetAttribute(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1,
					     &found, &value) == CUDNN_STATUS_SUCCESS)
			digest = mixed(mixed(digest, (uint64_t)type), (uint64_t)value);
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(knob[i]));
	}
	return digest;
}

/* Whether the candidate's engine is allowed; which it is, and whether it compiles. */
static bool read_engine(otp_dnn_candidate *c, bool rounds)
{
	cudnnBackendDescriptor_t engine = NULL;
	int64_t found = 0;
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
	if (!engine)
		return false;
	bool good =
	    cudnnBackendGetAttribute(c->config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
				     &found, &engine) == CUDNN_STATUS_SUCCESS &&
	    cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &found,
				     &c->engine) == CUDNN_STATUS_SUCCESS &&
	    otp_dnn_engine_allowed(engine, rounds, &c->compiled);
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(engine));
	return good;
}

static bool ask_heuristics(const otp_dnn_graph *g, cudnnBackendHeurMode_t mode,
			   cudnnBackendDescriptor_t *heuristics)
{
	CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, heuristics));
	return put_descriptor(*heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, otp_dnn_graph_whole(g)) &&
	       put(*heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode) &&
	       (!g->described ||
		put_descriptor(*heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, g->described)) &&
	       finish(*heuristics);
}

/* All that one mode proposes, best first. */
static int read_proposals(cudnnBackendDescriptor_t heuristics, cudnnBackendDescriptor_t *config, int most)
{
	int64_t count = 0;
	int made = 0;
	for (; made < most; made++) {
		config[made] = NULL;
		CUDNN_CHECK(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[made]));
		if (!config[made])
			break;
	}
	if (cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
				     made, &count, config) != CUDNN_STATUS_SUCCESS)
		count = 0;
	count = count < made ? count : made; /* more may exist than were asked for */
	for (int i = (int)count; i < made; i++)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(config[i]));
	return (int)count;
}

static bool listed(const otp_dnn_candidate *list, int count, const otp_dnn_candidate *c)
{
	for (int i = 0; i < count; i++)
		if (list[i].engine == c->engine && list[i].adjustment == c->adjustment)
			return true;
	return false;
}

/* What one mode proposes, added to the list if it is allowed and not there yet. */
static int add_proposals(const otp_dnn_graph *g, cudnnBackendHeurMode_t mode, bool rounds, bool compiled,
			 otp_dnn_candidate *list, int count)
{
	enum { MOST = OTP_DNN_MOST_CANDIDATES / 3 };
	cudnnBackendDescriptor_t heuristics = NULL, config[MOST];
	int proposed = ask_heuristics(g, mode, &heuristics) ? read_proposals(heuristics, config, MOST) : 0;
	if (heuristics)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(heuristics));
	for (int rank = 0; rank < proposed; rank++) {
		otp_dnn_candidate c = {.config = config[rank], .choice = {(int)mode, rank}};
		bool good = read_engine(&c, rounds) && c.compiled == compiled;
		if (good) {
			c.adjustment = digest_knobs(c.config);
			good = !listed(list, count, &c);
		}
		if (good)
			list[count++] = c;
		else
			CUDNN_CHECK(cudnnBackendDestroyDescriptor(c.config));
	}
	return count;
}

/* Most of what heuristics propose is one engine with other knobs: those that are timed at all would be of it
 * alone. */
static void take_turns(otp_dnn_candidate *list, int count)
{
	otp_dnn_candidate ordered[OTP_DNN_MOST_CANDIDATES];
	int turn[OTP_DNN_MOST_CANDIDATES], done = 0; /* how many of its engine are before it */
	for (int i = 0; i < count; i++) {
		turn[i] = 0;
		for (int j = 0; j < i; j++)
			turn[i] += list[j].engine == list[i].engine;
	}
	for (int t = 0; done < count; t++)
		for (int i = 0; i < count; i++)
			if (turn[i] == t)
				ordered[done++] = list[i];
	for (int i = 0; i < count; i++)
		list[i] = ordered[i];
}

int otp_dnn_candidates(const otp_dnn_graph *g, bool rounds, bool compiled,
		       otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES])
{
	static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B,
						       CUDNN_HEUR_MODE_FALLBACK};
	int count = 0;
	for (int m = 0; m < 3; m++)
		count = add_proposals(g, modes[m], rounds, compiled, list, count);
	take_turns(list, count);
	return count;
}

void otp_dnn_drop_candidates(const otp_dnn_candidate *list, int count)
{
	for (int i = 0; i < count; i++)
		CUDNN_CHECK(cudnnBackendDestroyDescriptor(list[i].config));
}
