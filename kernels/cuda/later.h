/* later.h: what cuDNN 9's header names only since some version, by the numbers that it has there (NVIDIA's
 * cudnn_graph.h; numbers stay). Built with an older header, the plugin so still asks a newer library for it;
 * an older library refuses, and what was to be done is done in another way.
 */
#ifndef OTP_CUDA_LATER_H
#define OTP_CUDA_LATER_H

#include <cudnn.h>

#if CUDNN_VERSION < 90800
#define CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR ((cudnnBackendDescriptorType_t)38)
#define CUDNN_ATTR_ENGINEHEUR_DEVICEPROP ((cudnnBackendAttributeName_t)204)
#define CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP ((cudnnBackendAttributeName_t)407)
#define CUDNN_ATTR_DEVICEPROP_HANDLE ((cudnnBackendAttributeName_t)2701)
#define CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION ((cudnnBackendAttributeName_t)2702)
#endif

#if CUDNN_VERSION < 91300
#define CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR ((cudnnBackendDescriptorType_t)41)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC ((cudnnBackendAttributeName_t)2800)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC ((cudnnBackendAttributeName_t)2801)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC ((cudnnBackendAttributeName_t)2802)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC ((cudnnBackendAttributeName_t)2803)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC ((cudnnBackendAttributeName_t)2804)
#define CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC ((cudnnBackendAttributeName_t)2805)
#endif

#endif
