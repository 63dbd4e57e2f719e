/* exchange: a generator for programs that are not otplan.
 *
 * onnx         what it computes, with its weights (github.com/onnx/onnx, operator set 17)
 * safetensors  its weights alone, by name (github.com/huggingface/safetensors)
 *
 * Both hold tensors as PyTorch lays them out: pictures (N, c, h, w), convolutions (out, in, kh, kw).
 */
#ifndef OTP_EXCHANGE_H
#define OTP_EXCHANGE_H

#include "model/generator.h"

/* The bytes of a file, for otp_free; NULL with err set where they are more than the format may hold.
 *
 * As ONNX: y = T(x, eps, z) for any number N of samples, float32. x and y: (N, c, h, w), black -1 and white
 * 1, or (N, d) vectors; eps, by which x is smoothed with the model's sigma: of x's shape; z: (N, latent);
 * both standard normal, and left out where the generator has no use for them. */
uint8_t *otp_exchange_onnx(const otp_generator *g, size_t *bytes, otp_error *err);
/* As safetensors: dense layers (out, in), vectors (c). What is known of the model lies in __metadata__. */
uint8_t *otp_exchange_safetensors(const otp_generator *g, size_t *bytes, otp_error *err);

/* What is known of a model, as text: each of them to `add`, in order. */
typedef void otp_exchange_add(void *to, const char *key, const char *value);
void otp_exchange_facts(const otp_generator *g, otp_exchange_add *add, void *to);

/* (n, h, w, c) -> (n, c, h, w) */
void otp_exchange_turn(const float *from, otp_shape shape, float *to);

#endif
