/* The consumer's own copy of a library that is also inside libotplan. */
#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>
