/* together: a command whose items several processes make, each its share. Process 0 takes what was made,
 * keeps the files that hold more than one item, and speaks. A process alone does all of it in the same way.
 *
 * Item i is made by process i mod their number. What was made is handed over at meetings, to which all
 * processes come after a round of work, so that none runs far ahead; there they also agree to stop, where one
 * has met an error or a signal, and say how far they are.
 */
#ifndef OTP_CLI_TOGETHER_H
#define OTP_CLI_TOGETHER_H

#include "model/translator.h"

/* A command that several processes do: they join, and leave together. Its own errors are agreed on. */
typedef int otp_together_work(otp_group *group, int argc, char **argv, otp_error *err);
int otp_together_command(otp_together_work *work, int argc, char **argv, otp_error *err);

/* Processes that would compute other bits do not begin: those of another build, or of other instructions. */
bool otp_together_same_build(otp_group *g, otp_error *err);
bool otp_together_same_computing(otp_group *g, const otp_runtime *runtime, otp_error *err);
bool otp_together_same_digest(otp_group *g, const char *what, uint64_t digest, otp_error *err);
/* After a command that reads a model and a set was told to begin: whether all opened both (opened false: this
 * one did not), and are the same program, with the same words after the command's name, the same model and
 * set. */
bool otp_together_opened(const otp_translator *t, const otp_dataset *d, bool opened, int argc, char **argv,
			 otp_group *g, otp_error *err);

typedef struct otp_together otp_together;

typedef struct otp_shared_work {
	otp_group *group;
	const char *command, *done; /* "translate", "translated" */
	const char *items;	    /* what there are: "inputs" */
	int64_t count;
	/* In process 0: what otp_together_give had. False with err set ends the work. After an error all else
	 * that was made is taken too: it may be files, which somebody has to know of. */
	bool (*take)(void *context, int64_t number, const void *made, size_t bytes, otp_error *err);
	bool in_order; /* by numbers, which count up from 0 over all processes; else as it comes */
	void *context;
} otp_shared_work;

otp_together *otp_together_begin(const otp_shared_work *work);

/* The items of this process: so many, and the j-th of them. */
int64_t otp_together_share(const otp_group *g, int64_t count);
int64_t otp_together_item(const otp_group *g, int64_t j);

/* Handed to process 0 at the next meeting, as a copy. */
void otp_together_give(otp_together *t, int64_t number, const void *made, size_t bytes);
/* After every round, `done` (0 to 1) of this process's share. False with err set: all stop. */
bool otp_together_meet(otp_together *t, double done, otp_error *err);
/* When this process has made its share, or has failed (ok false): returns when all have. False, in all of
 * them, where one failed. */
bool otp_together_end(otp_together *t, bool ok, otp_error *err);

#endif
