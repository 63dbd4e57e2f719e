/* group: the processes that compute one run together. NULL is a group too: this process alone, for which all
 * calls do nothing or copy nothing.
 *
 * Process 0 writes files and speaks to the person; the others say errors alone. What every process must do,
 * or not do, is agreed on: an error that only one has met is then all of theirs. One that is not agreed on
 * ends them all.
 */
#ifndef OTP_GROUP_H
#define OTP_GROUP_H

#include "core/base.h"
#include "group/home.h"

typedef struct otp_group otp_group;

/* Joins the processes that mpirun or srun started beside this one; *group stays NULL where there are none. */
bool otp_group_join(otp_group **group, otp_error *err);
/* Whether they are said to be started as torchrun starts them, by RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR
 * and MASTER_PORT. Then this joins them instead, each with a GPU; of a run on CPUs they are refused with what
 * to type. It waits so long for the others. */
bool otp_group_for_gpus(void);
bool otp_group_join_gpus(otp_group **group, bool gpu, int seconds, otp_error *err);
/* Of what process 0 does alone: the others end here, without a word. */
void otp_group_end_others(void);
/* Of a command that is not split over processes: refuses to be started several times at once, which process 0
 * says. */
bool otp_group_refuse(const char *command, otp_error *err);
/* When all processes end. Says the error's line, and takes it away; one that was not agreed on ends all at
 * once. */
void otp_group_leave(otp_group *g, otp_error *err);

int otp_group_rank(const otp_group *g); /* 0 alone */
int otp_group_size(const otp_group *g); /* 1 alone */
static inline bool otp_group_leads(const otp_group *g) { return otp_group_rank(g) == 0; }

bool otp_group_on_gpus(const otp_group *g); /* it was started for GPUs alone */
/* Its place among the processes of this machine. */
int otp_group_neighbour(const otp_group *g);
/* Threads of a process for which nobody said a number: the cores that it may use, or its share of them. */
int otp_group_threads(const otp_group *g);
/* How many workers this process has; then, how many the processes before `rank` have (rank size: all). */
void otp_group_set_workers(otp_group *g, int workers);
int otp_group_workers_before(const otp_group *g, int rank);

/* ---- collective: every process calls these alike ---- */

void otp_group_exchange(const otp_group *g, const otp_piece *send, int sends, const otp_piece *receive,
			int receives);
/* In place: bytes [at[r], at[r + 1]) come from process r; at has size + 1 elements. */
void otp_group_all_gather(const otp_group *g, void *memory, const size_t *at);
void otp_group_broadcast(const otp_group *g, void *memory, size_t bytes);
/* Process 0 gets what all give: *all (otp_free it), of which bytes [at[r], at[r + 1]) are process r's. For
 * the others *all is NULL. at has size + 1 elements. */
void otp_group_gather(const otp_group *g, const void *given, size_t bytes, char **all, size_t *at);
/* The largest of the processes' values. */
int otp_group_most(const otp_group *g, int value);
/* Whether all processes are fine. Otherwise the error of the first that is not is every process's. */
bool otp_group_agree(otp_group *g, bool ok, otp_error *err);
/* Whether all have the same text; `what` says of what, as in "instruction set". */
bool otp_group_same(otp_group *g, const char *what, const char *text, otp_error *err);
/* A process of which nothing is heard for so many seconds is named, and all end; `advice` ends that line. */
void otp_group_watch(otp_group *g, int seconds, const char *advice);

#endif
