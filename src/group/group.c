#include "group/group.h"
#include "core/log.h"
#include "core/plugin.h"
#include "core/pool.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOST_BYTES = 64 };

/* Where a process runs, for whoever has to look at it. */
typedef struct place {
	char host[HOST_BYTES];
	int pid, workers;
} place;

struct otp_group {
	const otp_group_home *home;
	place *places; /* by rank */
	bool agreed;   /* that it failed */
	const char *advice;
};

/* A program is in one group; a thread that watches has no other way to it. */
static otp_group *own;

int otp_group_rank(const otp_group *g) { return g ? g->home->rank : 0; }
int otp_group_size(const otp_group *g) { return g ? g->home->size : 1; }

/* ---- joining ---- */

/* What launchers set. PMIx says no size: its processes ask MPI. */
static int number(const char *variable)
{
	const char *text = getenv(variable);
	return text ? atoi(text) : -1;
}

static int started(void)
{
	int open = number("OMPI_COMM_WORLD_SIZE"), pmi = number("PMI_SIZE");
	return open > 0 ? open : pmi > 0 ? pmi : getenv("PMIX_RANK") ? 0 : 1;
}

/* As torchrun starts them; 1: it did not. */
static int started_for_gpus(void)
{
	int count = number("WORLD_SIZE");
	return started() == 1 && getenv("RANK") && count > 1 ? count : 1;
}

bool otp_group_for_gpus(void) { return started_for_gpus() > 1; }

static int first_of(const char *const *variables, int count)
{
	for (int i = 0; i < count; i++)
		if (number(variables[i]) >= 0)
			return number(variables[i]);
	return 0;
}

static int started_rank(void)
{
	static const char *const RANKS[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"};
	return first_of(RANKS, 3);
}

/* Among the processes of this machine. */
static int started_neighbour(void)
{
	static const char *const RANKS[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"};
	return first_of(RANKS, 3);
}

void otp_group_end_others(void)
{
	/* Without success the launcher would end process 0 before it has spoken. */
	if (otp_group_for_gpus() ? number("RANK") > 0 : started() != 1 && started_rank() != 0)
		exit(OTP_EXIT_OK);
}

static void say_lost(int rank, int seconds)
{
	char who[HOST_BYTES + 40] = "";
	const char *advice = own && own->advice ? own->advice : "";
	if (own && own->places[rank].pid)
		snprintf(who, sizeof who, " (%s, pid %d)", own->places[rank].host, own->places[rank].pid);
	if (seconds)
		otp_log_error("process %d%s: nothing was heard of it for %d seconds; all end%s", rank, who,
			      seconds, advice);
	else
		otp_log_error("process %d%s: it ended; all end%s", rank, who, advice);
}

/* A plugin of MPI's, whose own plugins look for its symbols among the program's, or NCCL's. */
static const otp_group_home *load(const char *file, const char *variable, const char *what, int flags,
				  int seconds, otp_error *err)
{
	char path[OTP_PLUGIN_PATH], why[512] = "";
	otp_group_start *start = NULL;
	const otp_group_terms terms = {sizeof(otp_group_home), seconds, say_lost};
	if (!otp_plugin_find(file, variable, what, path, err))
		return NULL;
	void *plugin = dlopen(path, RTLD_NOW | flags);
	void *symbol = plugin ? dlsym(plugin, OTP_GROUP_START) : NULL;
	memcpy(&start, &symbol, sizeof start);
	if (!start) {
		const char *reason = plugin ? "it is of another build" : dlerror();
		otp_fail_machine(err, what, "%s cannot be loaded: %s", file, reason);
		return NULL;
	}
	const otp_group_home *home = start(&terms, why, sizeof why);
	if (!home)
		otp_fail_machine(err, what, "%s", why);
	return home;
}

static void share_places(otp_group *g)
{
	size_t at[g->home->size + 1];
	for (int r = 0; r <= g->home->size; r++)
		at[r] = (size_t)r * sizeof *g->places;
	g->home->all_gather(g->places, at);
}

static otp_group *new_group(const otp_group_home *home)
{
	otp_group *g = otp_calloc(1, sizeof *g);
	g->home = home;
	g->places = otp_calloc((size_t)home->size, sizeof *g->places);
	place *here = &g->places[home->rank];
	gethostname(here->host, HOST_BYTES - 1);
	here->pid = (int)getpid();
	here->workers = 1;
	share_places(g);
	return g;
}

static bool enter(const otp_group_home *home, otp_group **group, otp_error *err)
{
	if (!home)
		return false;
	if (home->size == 1) {
		home->leave();
		return true;
	}
	otp_log_hush(home->rank != 0);
	if (home->rank != 0 && !freopen("/dev/null", "w", stdout))
		return otp_fail_machine(err, "/dev/null", "cannot be opened");
	*group = own = new_group(home);
	return true;
}

static bool refuse_cpus(otp_error *err)
{
	int count = started_for_gpus();
	if (count == 1)
		return true;
	otp_group_end_others();
	return otp_fail(err, "WORLD_SIZE",
			"and RANK start processes that train on a GPU each (--device cuda); on CPUs type: "
			"mpirun -n %d otplan ...",
			count);
}

bool otp_group_join(otp_group **group, otp_error *err)
{
	*group = NULL;
	if (started() == 1)
		return refuse_cpus(err);
	otp_log_hush(started_rank() != 0);
	bool open_mpi = number("PMI_SIZE") < 0;
	const otp_group_home *home = load(open_mpi ? "otplan_openmpi.so" : "otplan_mpich.so",
					  "OTPLAN_MPI_PLUGIN", "MPI", RTLD_GLOBAL, 0, err);
	if (!home && started_neighbour() > 0)
		exit(OTP_EXIT_OK); /* the first process of this machine says it */
	return enter(home, group, err);
}

bool otp_group_join_gpus(otp_group **group, bool gpu, int seconds, otp_error *err)
{
	*group = NULL;
	if (!gpu)
		return refuse_cpus(err);
	otp_log_hush(number("RANK") != 0);
	return enter(load("otplan_cuda.so", "OTPLAN_CUDA_PLUGIN", "CUDA", RTLD_LOCAL, seconds, err), group,
		     err);
}

bool otp_group_on_gpus(const otp_group *g) { return g && g->home->on_gpus; }

bool otp_group_refuse(const char *command, otp_error *err)
{
	otp_group_end_others();
	return started() <= 1 ||
	       otp_fail(err, command, "is not split over processes: start it without mpirun or srun");
}

static void tell(const otp_group *g, const otp_error *err)
{
	const place *p = &g->places[g->home->rank];
	if (g->home->rank == 0)
		otp_log_error("%s", err->text);
	else
		otp_log_error("process %d (%s): %s", g->home->rank, p->host, err->text);
}

void otp_group_leave(otp_group *g, otp_error *err)
{
	if (!g)
		return;
	/* Now: the launcher ends the others as soon as one has ended without success. */
	fflush(stdout);
	if (err->exit_code && *err->text)
		tell(g, err);
	if (err->exit_code && !g->agreed)
		g->home->abort(err->exit_code);
	err->text[0] = 0;
	g->home->leave();
	own = NULL;
	otp_free(g->places);
	otp_free(g);
}

/* ---- workers ---- */

int otp_group_neighbour(const otp_group *g) { return g ? g->home->local : 0; }

int otp_group_threads(const otp_group *g)
{
	int cores = otp_cores(), sharing = g ? g->home->neighbours : 1;
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	if ((long)cores * sharing > online) /* not bound to cores of its own */
		cores /= sharing;
	return cores > 0 ? cores : 1;
}

void otp_group_set_workers(otp_group *g, int workers)
{
	if (!g)
		return;
	g->places[g->home->rank].workers = workers;
	share_places(g);
}

int otp_group_workers_before(const otp_group *g, int rank)
{
	int sum = 0;
	for (int r = 0; g && r < rank; r++)
		sum += g->places[r].workers;
	return sum;
}

/* ---- collectives ---- */

void otp_group_exchange(const otp_group *g, const otp_piece *send, int sends, const otp_piece *receive,
			int receives)
{
	if (g)
		g->home->exchange(send, sends, receive, receives);
}

void otp_group_all_gather(const otp_group *g, void *memory, const size_t *at)
{
	if (g)
		g->home->all_gather(memory, at);
}

void otp_group_broadcast(const otp_group *g, void *memory, size_t bytes)
{
	if (g)
		g->home->broadcast(memory, bytes);
}

void otp_group_gather(const otp_group *g, const void *given, size_t bytes, char **all, size_t *at)
{
	int size = otp_group_size(g), rank = otp_group_rank(g);
	size_t counts[size], places[size + 1];
	for (int r = 0; r <= size; r++)
		places[r] = (size_t)r * sizeof *counts;
	counts[rank] = bytes;
	otp_group_all_gather(g, counts, places);
	at[0] = 0;
	for (int r = 0; r < size; r++)
		at[r + 1] = at[r] + counts[r];
	*all = rank == 0 ? otp_calloc(at[size] + 1, 1) : NULL;
	otp_piece send = {0, (void *)given, bytes}, receive[size];
	for (int r = 1; *all && r < size; r++)
		receive[r] = (otp_piece){r, *all + at[r], counts[r]};
	if (*all && bytes)
		memcpy(*all, given, bytes);
	otp_group_exchange(g, &send, rank > 0, receive + 1, rank > 0 ? 0 : size - 1);
}

int otp_group_most(const otp_group *g, int value)
{
	int size = otp_group_size(g), most = value;
	int values[size];
	size_t at[size + 1];
	for (int r = 0; r <= size; r++)
		at[r] = (size_t)r * sizeof *values;
	values[otp_group_rank(g)] = value;
	otp_group_all_gather(g, values, at);
	for (int r = 0; r < size; r++)
		most = values[r] > most ? values[r] : most;
	return most;
}

bool otp_group_agree(otp_group *g, bool ok, otp_error *err)
{
	if (!g)
		return ok;
	int size = g->home->size, failed = size - otp_group_most(g, ok ? 0 : size - g->home->rank);
	if (failed == size)
		return true;
	otp_error theirs = *err;
	size_t at[size + 1];
	otp_error *all = otp_calloc((size_t)size, sizeof *all);
	all[g->home->rank] = theirs;
	for (int r = 0; r <= size; r++)
		at[r] = (size_t)r * sizeof *all;
	g->home->all_gather(all, at);
	*err = all[failed];
	if (failed > 0)
		snprintf(err->text, sizeof err->text, "process %d (%.*s): %.900s", failed, HOST_BYTES,
			 g->places[failed].host, all[failed].text);
	if (g->home->rank > 0)
		err->text[0] = 0; /* process 0 says it */
	otp_free(all);
	g->agreed = err->exit_code != 0;
	return false;
}

bool otp_group_same(otp_group *g, const char *what, const char *text, otp_error *err)
{
	enum { MOST = 512 };
	char first[MOST] = "";
	if (!g)
		return true;
	snprintf(first, sizeof first, "%s", text);
	g->home->broadcast(first, sizeof first);
	bool same = strncmp(first, text, MOST - 1) == 0;
	if (!same)
		otp_fail(err, "processes differ", "%s is %.300s, that of process 0 (%s) is %.300s", what,
			 text, g->places[0].host, first);
	return otp_group_agree(g, same, err);
}

void otp_group_watch(otp_group *g, int seconds, const char *advice)
{
	if (!g)
		return;
	g->advice = advice;
	g->home->watch(seconds);
}
