/* outputs: what may be written where. A command that reads data and writes files
 * names all inputs, plans all outputs, has the plan checked as a whole, and then
 * writes them one by one. Until the check, nothing is written.
 *
 *   no output replaces an input, or lies inside the folder of a data set that is read
 *   every output has a name of its own, inside the folder of outputs
 *   a file that is there is replaced where the folder's manifest says that otplan made it and it is
 *   unchanged since; any other with --overwrite alone
 *
 * The manifest, .otplan-outputs.jsonl, is described in docs/file-formats.md.
 */
#ifndef OTP_OUTPUTS_H
#define OTP_OUTPUTS_H

#include "data/dataset.h"

typedef struct otp_outputs otp_outputs;

/* All outputs lie below `folder`, which need not be there yet. */
otp_outputs *otp_outputs_new(const char *folder, bool overwrite);
void otp_outputs_free(otp_outputs *o);

/* What is read: a single file, or a set with all its files. */
void otp_outputs_protect_file(otp_outputs *o, const char *path);
void otp_outputs_protect_set(otp_outputs *o, const otp_dataset *d);

/* One more output, numbered from 0 in this order: `name` below the folder. `series` names what belongs
 * together
 * ("x_*.png"): what an earlier run made of a series and this one does not is removed at the end. */
void otp_outputs_plan(otp_outputs *o, const char *name, const char *series);
/* Nothing is made of this series, so that all that an earlier run made of it is removed. */
void otp_outputs_plan_none(otp_outputs *o, const char *series);
/* In this folder below the folder only planned outputs may lie afterwards. */
void otp_outputs_plan_alone(otp_outputs *o, const char *subfolder);

bool otp_outputs_check(otp_outputs *o, otp_error *err);

/* The path of output i. otp_free it. */
char *otp_outputs_path(const otp_outputs *o, size_t i);
/* The same, and its folder is made where it is missing; NULL on failure. */
char *otp_outputs_begin(otp_outputs *o, size_t i, otp_error *err);
/* Output i is there, whole. */
bool otp_outputs_end(otp_outputs *o, size_t i, otp_error *err);
/* The same in two, where another process wrote it: what was written, read back by whoever wrote it; and that
 * it is there, noted by the one who keeps the manifest. */
typedef struct otp_written {
	uint64_t output, bytes, digest;
} otp_written;
bool otp_outputs_read_back(const otp_outputs *o, size_t i, otp_written *written, otp_error *err);
bool otp_outputs_note(otp_outputs *o, const otp_written *written, otp_error *err);
/* After the last, also where the work failed (ok false): writes the manifest, and removes what earlier runs
 * left of the series planned where all went well. Returns ok, false where that fails. */
bool otp_outputs_finish(otp_outputs *o, bool ok, otp_error *err);

/* For who writes a folder of another kind: refuses one that lies inside the folder of a set that is read.
 * `where` names the option. */
bool otp_outputs_outside(const char *folder, const otp_dataset *d, const char *where, otp_error *err);

#endif
