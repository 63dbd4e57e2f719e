#include "cuda/compile.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 4 };

typedef struct made {
	otp_dnn_choice choice;
	char *text;
	size_t bytes;
} made;

struct otp_compile_job {
	char key[OTP_DNN_NAME];
	bool is_conv;
	otp_dnn_conv conv;
	otp_dnn_attention attention;
	otp_dnn_choice wanted; /* that one alone; of no mode: the first `most` that can be built */
	int most, count;
	made made[OTP_DNN_COMPILED_ATTENTION];
};

/* ---- the list ---- */

static bool is_listed(const otp_compile_list *list, const char *key)
{
	for (int i = 0; i < list->count; i++)
		if (strcmp(list->jobs[i].key, key) == 0)
			return true;
	return false;
}

/* expected: what is taken where nothing was chosen before. */
static void add(otp_compile_list *list, otp_compile_job *job, otp_dnn_choice expected)
{
	size_t bytes;
	job->wanted = otp_dnn_find_choice(list->device, job->key);
	otp_dnn_choice look = job->wanted.mode < 0 ? expected : job->wanted;
	if (job->wanted.mode == OTP_DNN_NONE_WANTED || is_listed(list, job->key) ||
	    otp_dnn_has_plan(list->device, job->key) ||
	    (look.mode >= 0 && otp_dnn_find_text(list->device, job->key, look, &bytes)))
		return;
	size_t old = (size_t)list->count * sizeof *job;
	list->jobs = otp_realloc(list->jobs, old, old + sizeof *job);
	list->jobs[list->count++] = *job;
}

void otp_compile_add_conv(otp_compile_list *list, const otp_dnn_conv *conv)
{
	otp_compile_job job = {.is_conv = true, .conv = *conv, .most = OTP_DNN_COMPILED_CONV};
	otp_dnn_name(conv, job.key);
	add(list, &job, (otp_dnn_choice){-1, -1});
}

void otp_compile_add_attention(otp_compile_list *list, const otp_dnn_attention *attention)
{
	otp_compile_job job = {.attention = *attention, .most = OTP_DNN_COMPILED_ATTENTION};
	otp_dnn_choice first = {CUDNN_HEUR_MODE_A, 0}, none = {-1, -1};
	bool keeping = attention->pass == OTP_DNN_ATTENTION_KEEPING;
	if (keeping)
		job.most = OTP_DNN_COMPILED_KEEPING;
	otp_dnn_name_attention(attention, job.key);
	add(list, &job, keeping ? first : none);
}

/* ---- compiling ---- */

static bool is_wanted(const otp_compile_job *job, otp_dnn_choice c)
{
	return job->wanted.mode < 0 || (job->wanted.mode == c.mode && job->wanted.rank == c.rank);
}

static void compile_candidate(otp_compile_job *job, cudnnHandle_t handle, const otp_dnn_candidate *c)
{
	int64_t workspace_bytes;
	made m = {.choice = c->choice};
	cudnnBackendDescriptor_t plan = otp_dnn_build_with(handle, c, &workspace_bytes);
	if (!plan)
		return;
	m.text = otp_dnn_plan_text(plan, &m.bytes);
	if (m.text)
		job->made[job->count++] = m;
	CUDNN_CHECK(cudnnBackendDestroyDescriptor(plan));
}

/* A convolution is not compiled where an engine is ready for it. */
static void compile(otp_compile_job *job, cudnnHandle_t handle)
{
	otp_dnn_graph g;
	otp_dnn_candidate list[OTP_DNN_MOST_CANDIDATES];
	bool good = job->is_conv ? otp_dnn_graph_init(&g, &job->conv, handle)
				 : otp_dnn_attention_init(&g, &job->attention, handle);
	if (!good)
		return;
	bool rounds = !job->is_conv || otp_dnn_rounds(&job->conv);
	int ready = job->is_conv ? otp_dnn_candidates(&g, rounds, false, list) : 0;
	otp_dnn_drop_candidates(list, ready);
	int count = ready ? 0 : otp_dnn_candidates(&g, rounds, true, list);
	for (int i = 0; i < count && job->count < job->most; i++)
		if (is_wanted(job, list[i].choice))
			compile_candidate(job, handle, &list[i]);
	otp_dnn_drop_candidates(list, count);
	otp_dnn_graph_free(&g);
}

/* ---- threads ---- */

typedef struct team {
	otp_compile_list *list;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int begun, done;
	pthread_t threads[MOST_THREADS];
	int started;
} team;

static otp_compile_job *next_job(team *t)
{
	pthread_mutex_lock(&t->lock);
	otp_compile_job *job = t->begun < t->list->count ? &t->list->jobs[t->begun++] : NULL;
	pthread_mutex_unlock(&t->lock);
	return job;
}

static void finish_job(team *t)
{
	pthread_mutex_lock(&t->lock);
	t->done++;
	pthread_cond_signal(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

static void *work(void *argument)
{
	team *t = argument;
	otp_cuda_note note;
	otp_error ignored = {0};
	cudnnHandle_t handle = NULL;
	otp_cuda_start_note(&note);
	CUDA_CHECK(cudaSetDevice(t->list->device->index));
	CUDNN_CHECK(cudnnCreate(&handle));
	for (otp_compile_job *job; (job = next_job(t)); finish_job(t))
		if (handle)
			compile(job, handle);
	if (handle)
		CUDNN_CHECK(cudnnDestroy(handle));
	otp_cuda_end_note(&note, &ignored);
	return NULL;
}

/* Tells how far they are. */
static void watch(team *t)
{
	otp_builds *builds = &t->list->device->builds;
	pthread_mutex_lock(&t->lock);
	while (t->done < t->list->count) {
		struct timespec until;
		otp_cuda_compiling(builds, t->done, t->list->count);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		pthread_cond_timedwait(&t->changed, &t->lock, &until);
	}
	pthread_mutex_unlock(&t->lock);
}

static void start(team *t)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	int wanted = t->list->count < MOST_THREADS ? t->list->count : MOST_THREADS;
	for (int i = 0; i < wanted && (i == 0 || i < cores); i++)
		t->started += pthread_create(&t->threads[t->started], NULL, work, t) == 0;
}

static void hold_made(otp_compile_list *list)
{
	for (int i = 0; i < list->count; i++) {
		otp_compile_job *job = &list->jobs[i];
		for (int k = 0; k < job->count; k++)
			otp_dnn_hold_text(list->device, job->key, job->made[k].choice, job->made[k].text,
					  job->made[k].bytes);
		otp_cuda_compiled(&list->device->builds, job->count);
	}
}

void otp_compile_all(otp_compile_list *list)
{
	team t = {.list = list, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	if (!list->count)
		return;
	start(&t);
	if (t.started)
		watch(&t);
	for (int i = 0; i < t.started; i++)
		pthread_join(t.threads[i], NULL);
	hold_made(list);
	otp_free(list->jobs);
	*list = (otp_compile_list){list->device};
}
