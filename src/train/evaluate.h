/* evaluate: what a sampler's plan looks like against data. */
#ifndef OTP_EVALUATE_H
#define OTP_EVALUATE_H

#include "data/dataset.h"
#include "engine/sampler.h"
#include "group/group.h"
#include "nn/roles.h"
#include "ot/colouring.h"

typedef struct otp_evaluation {
	int64_t n;
	double transport_cost;	/* E |x - T|^2, from x, summed over values */
	double target_distance; /* W2^2 between outputs and targets: sliced for images, exact for vectors */
	double floor;		/* the same between two fresh target samples */
	double source_distance; /* ... between sources and targets: what doing nothing leaves */
	double patch_distance;	/* images: the same of patches of every scale, in the target's variance */
	double patch_floor;	/* ... between two fresh target samples */
	double source_patch_distance; /* ... between sources and targets */
	bool exact;		      /* vectors: by assignment, on a subsample where n is large */
	double identity_distance;     /* rms of T - x over all values */
	double diversity;	      /* rms spread of a value over samples of one input */
	bool grey_source;	      /* source pictures are grey: the next are measured */
	double grey_rmse;	      /* grey of the output against grey of the input, in [0, 1] units */
	bool isoluminant; /* the target law is the isoluminant colouring: all of colouring is measured */
	otp_colouring colouring; /* hue_resultant for every grey source in colour */
} otp_evaluation;

typedef struct otp_evaluate_options {
	int64_t n;     /* inputs measured; fewer where the data has fewer */
	int per_input; /* samples of one input, for the resultant */
	uint64_t seed;
	double sigma;
	/* Processes that draw the samples together: all call this alike, process 0 alone has what is
	 * measured. NULL: this process does all. */
	otp_group *group;
} otp_evaluate_options;

/* Both sets must be prepared to the sampler's shape. */
bool otp_evaluate(otp_sampler *s, const otp_dataset *source, const otp_dataset *target,
		  const otp_evaluate_options *o, otp_evaluation *out, otp_error *err);

/* How many inputs are measured where `most` are asked for: at most what the source has, and half of the
 * target, whose halves are compared with each other. */
int64_t otp_evaluate_count(const otp_dataset_info *source, const otp_dataset_info *target, int64_t most);
/* A line, where halving the targets leaves fewer inputs than were asked for and there are. */
void otp_evaluate_say_count(const otp_dataset_info *source, const otp_dataset_info *target, int64_t asked);
/* How many samples of the plan are drawn for that. */
int64_t otp_evaluate_draws(int64_t n, int per_input);
/* Bytes of memory that measuring n samples of that architecture takes, with so many of one input. */
size_t otp_evaluate_bytes(int64_t n, int per_input, const otp_arch *arch);

/* Outputs against known images: of a benchmark's map, or of pictures that are paired after all. */
typedef struct otp_map_error {
	int64_t n;
	double transport_cost; /* E |x - T|^2 */
	double cost_error;     /* |E |x - T|^2 - E |x - T*|^2| */
	double l2_uvp;	       /* 100 E |T - T*|^2 / Var(T*), in per cent (Korotin et al. 2021) */
	double cosine; /* between the displacements T - x and T* - x, over all samples at once; 1 is exact */
} otp_map_error;

/* Row i of `truth` is the exact image of row i of `source`: fixed sets of one length. Where pictures could
 * not be decoded, those of the same name belong together. The first options->n pairs are measured; 0: all. */
bool otp_evaluate_map(otp_sampler *s, const otp_dataset *source, const otp_dataset *truth,
		      const otp_evaluate_options *o, otp_map_error *out, otp_error *err);

/* Index of the i-th evaluation sample of a side: far from what training and the other side draw where fresh
 * samples can be had, else of those that are withheld, else from the start. */
uint64_t otp_evaluate_index(const otp_dataset *d, otp_side side, int64_t i);
/* How many such samples there are; 0: without end. */
int64_t otp_evaluate_room(const otp_dataset_info *info);

#endif
