# Is the CUDA backend built, and with what? Finds nvcc, cuDNN and NCCL, and turns the language on.
#   OTPLAN_BUILDS_CUDA        nvcc and cuDNN are here, and not too old
#   OTPLAN_HAS_CUDA_HEADERS   its host code can be compiled: without nvcc and a GPU, tests run it on a fake device
# -DCUDNN_ROOT, -DCUDAToolkit_ROOT and -DNCCL_ROOT name folders of other places than usual; PyTorch's packages have cuDNN and
# NCCL too (site-packages/nvidia/cudnn).
set(OTPLAN_LEAST_CUDA 12.0)
set(OTPLAN_LEAST_CUDNN 9)

# A program that can do without it is built all the same, but where the backend was asked for.
function(otplan_without_cuda why)
  if(OTPLAN_CUDA STREQUAL ON)
    message(FATAL_ERROR "OTPLAN_CUDA is ON, but ${why}")
  endif()
  message(STATUS "Without the CUDA backend: ${why}")
endfunction()

# The number that a macro of a header stands for, empty where it is none.
function(otplan_read_number number header macro)
  set(line)
  if(EXISTS ${header})
    file(STRINGS ${header} line REGEX "#define +${macro} +[0-9]+" LIMIT_COUNT 1)
  endif()
  string(REGEX REPLACE ".*${macro} +([0-9]+).*" "\\1" line "${line}")
  set(${number} ${line} PARENT_SCOPE)
endfunction()

if(NOT OTPLAN_CUDA STREQUAL OFF)
  include(CheckLanguage)
  check_language(CUDA)
endif()
get_filename_component(CUDA_BESIDE_NVCC "${CMAKE_CUDA_COMPILER}/../.." ABSOLUTE)
set(places ${CUDAToolkit_ROOT} ${CUDA_BESIDE_NVCC} /usr/local/cuda)
find_path(CUDA_INCLUDE_DIR cublasLt.h HINTS ${places} PATH_SUFFIXES include targets/x86_64-linux/include
  targets/sbsa-linux/include)
find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDNN_ROOT} ${places} PATH_SUFFIXES include)
find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 NAMES_PER_DIR HINTS ${CUDNN_ROOT} ${places} PATH_SUFFIXES lib64 lib)
# NCCL connects several GPUs. Its header says what the library takes, which is loaded when processes are connected.
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${NCCL_ROOT} ${places} PATH_SUFFIXES include)
find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 NAMES_PER_DIR HINTS ${NCCL_ROOT} ${places} PATH_SUFFIXES lib64 lib)

otplan_read_number(cuda "${CUDA_INCLUDE_DIR}/cuda_runtime_api.h" CUDART_VERSION)
otplan_read_number(cudnn "${CUDNN_INCLUDE_DIR}/cudnn_version.h" CUDNN_MAJOR)
if(cuda)
  math(EXPR major "${cuda} / 1000")
  math(EXPR minor "${cuda} % 1000 / 10")
  set(cuda ${major}.${minor})
endif()
if(cuda VERSION_GREATER_EQUAL OTPLAN_LEAST_CUDA AND cudnn VERSION_GREATER_EQUAL OTPLAN_LEAST_CUDNN)
  set(OTPLAN_HAS_CUDA_HEADERS ON)
endif()

if(NOT OTPLAN_CUDA STREQUAL OFF)
  if(NOT CMAKE_CUDA_COMPILER)
    otplan_without_cuda("nvcc is missing, or does not work with this compiler")
  elseif(NOT CUDA_INCLUDE_DIR)
    otplan_without_cuda("cublasLt.h is missing (-DCUDA_INCLUDE_DIR=FOLDER names where it lies)")
  elseif(NOT cuda VERSION_GREATER_EQUAL OTPLAN_LEAST_CUDA)
    otplan_without_cuda("CUDA ${cuda} is too old, expected ${OTPLAN_LEAST_CUDA} or later")
  elseif(NOT CUDNN_INCLUDE_DIR OR NOT CUDNN_LIBRARY)
    otplan_without_cuda("cuDNN is missing (-DCUDNN_ROOT=FOLDER names where it lies)")
  elseif(NOT OTPLAN_HAS_CUDA_HEADERS)
    otplan_without_cuda("cuDNN ${cudnn} is too old, expected ${OTPLAN_LEAST_CUDNN} or later")
  else()
    set(OTPLAN_BUILDS_CUDA ON)
  endif()
endif()

if(OTPLAN_BUILDS_CUDA)
  # As many of these as nvcc knows: 12.8 was the first with sm_100, CUDA 13 is without sm_70. sm_90's PTX serves what is
  # newer than the list: of the newest alone, sm_100 would be without an image.
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE known)
    foreach(architecture 70 75 80 90 100 120)
      if("${known}" MATCHES "compute_${architecture}\n")
        list(APPEND CMAKE_CUDA_ARCHITECTURES ${architecture}-real)
      endif()
    endforeach()
    list(APPEND CMAKE_CUDA_ARCHITECTURES 90-virtual)
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()
